// Block-sparse streaming attention in bf16 and f16, both products on the tensor cores with sums in f32.
//
// Four warps, each with 16 of the 64 queries: scores, running maximum and sum, and the output stay in registers (FlashAttention-2's
// division of work: warps never exchange anything). P is rounded to the element type before it meets V, as the instruction asks.
// Traded away: no asynchronous copies and no Hopper-only instructions, so that one source serves from compute capability 8.0 on; and a
// decode step keeps one block a head busy.

#define Q_STRIDE (HEAD_DIM + 8)
#define V_STRIDE (VALUE_DIM + 8)

__device__ inline float exponential(float x) { return exp2f(x * 1.44269504f); }

__device__ inline unsigned pair(float low, float high) { return (unsigned)narrow(low) | (unsigned)narrow(high) << 16; }

// The scores of a warp's 16 queries with 64 keys: c[j][e] is row lane / 4 + 8 (e / 2), column 8 j + 2 (lane % 4) + e % 2.
__device__ inline void multiply_queries(float s[8][4], const element *q_rows, const element *k_tile, int lane) {
    for (int d = 0; d < HEAD_DIM; d += 16) {
        unsigned a[4];
        load_four_tiles(a, q_rows + (lane & 15) * Q_STRIDE + d + (lane >> 4) * 8);
        #pragma unroll
        for (int j = 0; j < 8; j += 2) {
            unsigned b[4];
            load_four_tiles(b, k_tile + (j * 8 + (lane >> 4) * 8 + (lane & 7)) * Q_STRIDE + d + (lane >> 3 & 1) * 8);
            multiply_tiles(s[j], a, b);
            multiply_tiles(s[j + 1], a, b + 2);
        }
    }
}

// o += p v for the same 16 queries.
__device__ inline void multiply_values(float o[VALUE_DIM / 8][4], float s[8][4], const element *v_tile, int lane) {
    #pragma unroll
    for (int j = 0; j < 8; j += 2) {
        unsigned a[4] = {pair(s[j][0], s[j][1]), pair(s[j][2], s[j][3]), pair(s[j + 1][0], s[j + 1][1]), pair(s[j + 1][2], s[j + 1][3])};
        #pragma unroll
        for (int c = 0; c < VALUE_DIM / 8; c += 2) {
            unsigned b[4];
            load_four_tiles_transposed(b, v_tile + (j * 8 + (lane & 15)) * V_STRIDE + c * 8 + (lane >> 4) * 8);
            multiply_tiles(o[c], a, b);
            multiply_tiles(o[c + 1], a, b + 2);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) attention(Parameters p) {
    element *q_tile = (element *)shared_memory, *k_tile = q_tile + TILE * Q_STRIDE, *v_tile = k_tile + TILE * Q_STRIDE;
    int lane = threadIdx.x % 32, first_row = threadIdx.x / 32 * 16, head = blockIdx.y, batch = blockIdx.z;
    int first_query = blockIdx.x * TILE, key_head = head / p.group;
    const element *k = p.k + batch * p.k_batch + key_head * p.k_head, *v = p.v + batch * p.v_batch + key_head * p.v_head;
    const element *q = p.q + batch * p.q_batch + head * p.q_head + first_query * p.q_row;
    load_tile<HEAD_DIM, 8>(q_tile, q, p.q_row, fewer(TILE, p.queries - first_query), p.head_dim, 0);
    float o[VALUE_DIM / 8][4] = {}, maximum[2] = {LOWEST, LOWEST}, sum[2] = {0.0f, 0.0f};
    for (unsigned at = p.offsets[blockIdx.x]; at < p.offsets[blockIdx.x + 1]; at++) {
        int first_key = p.tiles[2 * at] * TILE, rows = fewer(TILE, p.keys - first_key);
        unsigned mask = p.tiles[2 * at + 1];
        __syncthreads();
        load_tile<HEAD_DIM, 8>(k_tile, k + first_key * p.k_row, p.k_row, rows, p.head_dim, 0);
        const float *kept = p.key_mask ? p.key_mask + (i64)batch * p.keys + first_key : 0;
        load_tile<VALUE_DIM, 8>(v_tile, v + first_key * p.v_row, p.v_row, rows, p.value_dim, kept);
        __syncthreads();
        float s[8][4] = {};
        multiply_queries(s, q_tile + first_row * Q_STRIDE, k_tile, lane);
        float highest[2] = {maximum[0], maximum[1]};
        #pragma unroll
        for (int at_score = 0; at_score < 32; at_score++) {
            int j = at_score / 4, e = at_score % 4, row = first_row + lane / 4 + e / 2 * 8, column = j * 8 + lane % 4 * 2 + e % 2;
            s[j][e] = score(p, s[j][e], head, batch, first_query, row, first_key, column, mask);
            highest[e / 2] = fmaxf(highest[e / 2], s[j][e]);
        }
        #pragma unroll
        for (int half = 0; half < 2; half++) {
            // The four lanes that share a row.
            highest[half] = fmaxf(highest[half], __shfl_xor_sync(WHOLE_WARP, highest[half], 1));
            highest[half] = fmaxf(highest[half], __shfl_xor_sync(WHOLE_WARP, highest[half], 2));
            float factor = exponential(maximum[half] - highest[half]);
            sum[half] *= factor;
            maximum[half] = highest[half];
            for (int c = 0; c < VALUE_DIM / 8; c++) {
                o[c][2 * half] *= factor;
                o[c][2 * half + 1] *= factor;
            }
            for (int j = 0; j < 8; j++) {
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    s[j][e] = exponential(s[j][e] - highest[half]);
                    sum[half] += s[j][e];
                }
            }
        }
        multiply_values(o, s, v_tile, lane);
    }
    #pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = sum[half];
        total += __shfl_xor_sync(WHOLE_WARP, total, 1);
        total += __shfl_xor_sync(WHOLE_WARP, total, 2);
        int query = first_query + first_row + lane / 4 + 8 * half;
        if (query >= p.queries) continue;
        i64 row = ((i64)batch * p.heads + head) * p.queries + query;
        if (p.log_sum_exp && lane % 4 == 0) p.log_sum_exp[row] = maximum[half] + logf(total);
        // A row that saw no key gives zeros.
        float divisor = total == 0.0f ? 1.0f : total;
        for (int c = 0; c < VALUE_DIM / 8; c++) {
            for (int e = 0; e < 2; e++) {
                int column = c * 8 + lane % 4 * 2 + e;
                if (column < p.value_dim) p.out[row * p.value_dim + column] = narrow(o[c][2 * half + e] / divisor);
            }
        }
    }
}
