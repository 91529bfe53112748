// y = x W^T + bias with W as int4 codes, dequantised in registers: a decode step is bound by reading the weight, and this reads an eighth
// of what f32 would. Eight codes a word, the first lowest; a row of W starts at a word.
//
// A warp does one output for up to eight rows of x, which it reads from the cache. Traded away: with many rows the work is bound by
// arithmetic, and the tensor cores lie idle here.

#define WARPS 4
#define ROWS 8

struct Parameters {
    float *out;                      // [rows, outputs]
    const element *x;                // [rows, inputs]
    const unsigned *codes;
    const float *scales;             // [outputs, groups]
    const float *bias;               // or null
    int rows, inputs, outputs, group;
};

extern "C" __global__ void __launch_bounds__(32 * WARPS) int4_linear(Parameters p) {
    // One dimension of blocks, outputs first: the other dimensions of a grid end at 65,535.
    int across = (p.outputs + WARPS - 1) / WARPS, lane = threadIdx.x % 32;
    int output = blockIdx.x % across * WARPS + threadIdx.x / 32, first_row = blockIdx.x / across * ROWS;
    // A whole warp leaves, so that the shuffles below stay complete; nothing here waits for other warps.
    if (output >= p.outputs) return;
    int words = (p.inputs + 7) / 8, groups = (p.inputs + p.group - 1) / p.group;
    const unsigned *row_codes = p.codes + (i64)output * words;
    const float *row_scales = p.scales + (i64)output * groups;
    float sums[ROWS] = {};
    for (int word = lane; word < words; word += 32) {
        unsigned packed = row_codes[word];
        // One scale serves all eight where groups are whole words.
        bool shared = p.group % 8 == 0;
        float values[8], scale = shared ? row_scales[word * 8 / p.group] : 0.0f;
        #pragma unroll
        for (int at = 0; at < 8; at++) {
            // Up to the top and down again: the sign comes along.
            int code = (int)(packed << (28 - 4 * at)) >> 28, input = word * 8 + at;
            values[at] = input < p.inputs ? code * (shared ? scale : row_scales[input / p.group]) : 0.0f;
        }
        int in_word = p.inputs - word * 8 < 8 ? p.inputs - word * 8 : 8;
        #pragma unroll
        for (int row = 0; row < ROWS; row++) {
            if (first_row + row >= p.rows) break;
            const element *activations = p.x + (i64)(first_row + row) * p.inputs + word * 8;
            #pragma unroll
            for (int at = 0; at < 8; at++) {
                if (at < in_word) sums[row] = fmaf(values[at], widen(activations[at]), sums[row]);
            }
        }
    }
    #pragma unroll
    for (int row = 0; row < ROWS; row++) {
        for (int step = 16; step > 0; step /= 2) sums[row] += __shfl_xor_sync(WHOLE_WARP, sums[row], step);
        if (lane == 0 && first_row + row < p.rows) {
            p.out[(i64)(first_row + row) * p.outputs + output] = sums[row] + (p.bias ? p.bias[output] : 0.0f);
        }
    }
}
