// Softmax of rows in f32, one block of threads a row, by exactly the recurrence that is asked for. A row of only minus infinity gives zeros;
// a NaN makes its row NaN, through the sum.

#define NAIVE 0
#define STABLE 1
#define ONLINE 2

struct Parameters {
    element *out;
    const element *x;
    int width, algorithm;
};

extern "C" __global__ void __launch_bounds__(32 * WARPS) softmax(Parameters p) {
    const element *x = p.x + (i64)blockIdx.x * p.width;
    element *out = p.out + (i64)blockIdx.x * p.width;
    float maximum = LOWEST, sum = 0.0f, highest;
    if (p.algorithm == ONLINE) {
        // One pass: each thread's maximum and sum, brought together at the end.
        for (int at = threadIdx.x; at < p.width; at += blockDim.x) {
            float value = widen(x[at]), higher = fmaxf(maximum, value);
            if (higher != maximum) sum *= expf(maximum - higher);
            sum += expf(value - higher);
            maximum = higher;
        }
        highest = block_maximum(maximum);
        sum *= expf(maximum - highest);
        maximum = highest;
    } else {
        highest = p.algorithm == NAIVE ? MINUS_INFINITY : LOWEST;
        for (int at = threadIdx.x; at < p.width; at += blockDim.x) highest = fmaxf(highest, widen(x[at]));
        highest = block_maximum(highest);
        maximum = p.algorithm == NAIVE ? 0.0f : highest;
        for (int at = threadIdx.x; at < p.width; at += blockDim.x) sum += expf(widen(x[at]) - maximum);
    }
    sum = block_sum(sum);
    // A shifted sum is 0 only where all is masked; the naive one also where everything underflows, and then divides 0 by 0.
    bool masked = sum == 0.0f && (p.algorithm != NAIVE || highest == MINUS_INFINITY);
    for (int at = threadIdx.x; at < p.width; at += blockDim.x) {
        out[at] = narrow(masked ? 0.0f : expf(widen(x[at]) - maximum) / sum);
    }
}
