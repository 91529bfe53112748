// Layer, RMS and group norms of rows, alone or of a sum with a residual: one block of threads a row. The row is kept in shared memory
// where it fits, so that memory is read once; the variance is of differences from the mean, in a pass over what is kept. A group of a
// group norm is a row here.

struct Parameters {
    element *out, *sum;              // the sum itself, or null
    const element *x, *residual;     // or null
    const float *gamma, *beta;       // or null
    int width, groups, rms, kept;
    float epsilon;
};

__device__ inline float summand(const Parameters &p, i64 at) {
    return p.residual ? widen(p.x[at]) + widen(p.residual[at]) : widen(p.x[at]);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) add_norm(Parameters p) {
    float *row = (float *)shared_memory + WARPS;
    i64 start = (i64)blockIdx.x * p.width;
    int first = blockIdx.x % p.groups * p.width;
    float total = 0.0f;
    for (int at = threadIdx.x; at < p.width; at += blockDim.x) {
        float value = summand(p, start + at);
        if (p.kept) row[at] = value;
        if (p.sum) p.sum[start + at] = narrow(value);
        total += value;
    }
    float mean = p.rms ? 0.0f : block_sum(total) / p.width, squares = 0.0f;
    for (int at = threadIdx.x; at < p.width; at += blockDim.x) {
        float difference = (p.kept ? row[at] : summand(p, start + at)) - mean;
        squares += difference * difference;
    }
    float deviation = sqrtf(block_sum(squares) / p.width + p.epsilon);
    for (int at = threadIdx.x; at < p.width; at += blockDim.x) {
        float value = ((p.kept ? row[at] : summand(p, start + at)) - mean) / deviation;
        if (p.gamma) value *= p.gamma[first + at];
        if (p.beta) value += p.beta[first + at];
        p.out[start + at] = narrow(value);
    }
}
