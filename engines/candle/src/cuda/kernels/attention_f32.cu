// Block-sparse streaming attention in f32 with true f32 products: the tensor cores would round the operands to 10 bits of mantissa.
//
// 256 threads as 16 x 16, each with 4 x 4 scores of the 64 x 64 tile and 4 rows of the output. K and V take turns in one tile of shared
// memory; P passes through another. The same schedule as `attention_halves.cu`.

#define Q_STRIDE (HEAD_DIM + 4)
#define V_STRIDE (VALUE_DIM + 4)
#define P_STRIDE (TILE + 4)
#define KV_STRIDE (HEAD_DIM > VALUE_DIM ? Q_STRIDE : V_STRIDE)

__device__ inline float dot(float4 a, float4 b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// Over the 16 lanes that share rows.
__device__ inline float row_maximum(float x) {
    for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, step));
    return x;
}

__device__ inline float row_sum(float x) {
    for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(WHOLE_WARP, x, step);
    return x;
}

// o += p v for four rows; columns are 16 apart, so that neighbours read neighbours.
__device__ inline void multiply_values(float o[4][VALUE_DIM / 16], const float *p_rows, const float *v_tile, int x) {
    for (int key = 0; key < TILE; key += 4) {
        float weights[4][4];
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            float4 four = *(const float4 *)(p_rows + i * P_STRIDE + key);
            weights[i][0] = four.x, weights[i][1] = four.y, weights[i][2] = four.z, weights[i][3] = four.w;
        }
        #pragma unroll
        for (int of_four = 0; of_four < 4; of_four++) {
            #pragma unroll
            for (int c = 0; c < VALUE_DIM / 16; c++) {
                float value = v_tile[(key + of_four) * V_STRIDE + x + 16 * c];
                for (int i = 0; i < 4; i++) o[i][c] = fmaf(weights[i][of_four], value, o[i][c]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) attention(Parameters p) {
    float *q_tile = (float *)shared_memory, *kv_tile = q_tile + TILE * Q_STRIDE, *p_tile = kv_tile + TILE * KV_STRIDE;
    int x = threadIdx.x % 16, first_row = threadIdx.x / 16 * 4, head = blockIdx.y, batch = blockIdx.z;
    int first_query = blockIdx.x * TILE, key_head = head / p.group;
    const float *k = p.k + batch * p.k_batch + key_head * p.k_head, *v = p.v + batch * p.v_batch + key_head * p.v_head;
    const float *q = p.q + batch * p.q_batch + head * p.q_head + first_query * p.q_row;
    load_tile<HEAD_DIM, 4>(q_tile, q, p.q_row, fewer(TILE, p.queries - first_query), p.head_dim, 0);
    float o[4][VALUE_DIM / 16] = {}, maximum[4] = {LOWEST, LOWEST, LOWEST, LOWEST}, sum[4] = {};
    for (unsigned at = p.offsets[blockIdx.x]; at < p.offsets[blockIdx.x + 1]; at++) {
        int first_key = p.tiles[2 * at] * TILE, rows = fewer(TILE, p.keys - first_key);
        unsigned mask = p.tiles[2 * at + 1];
        __syncthreads();
        load_tile<HEAD_DIM, 4>(kv_tile, k + first_key * p.k_row, p.k_row, rows, p.head_dim, 0);
        __syncthreads();
        float s[4][4] = {};
        for (int d = 0; d < HEAD_DIM; d += 4) {
            float4 queries[4];
            #pragma unroll
            for (int i = 0; i < 4; i++) queries[i] = *(const float4 *)(q_tile + (first_row + i) * Q_STRIDE + d);
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                float4 key = *(const float4 *)(kv_tile + (x + 16 * j) * Q_STRIDE + d);
                for (int i = 0; i < 4; i++) s[i][j] = dot(queries[i], key, s[i][j]);
            }
        }
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            float highest = maximum[i];
            for (int j = 0; j < 4; j++) {
                s[i][j] = score(p, s[i][j], head, batch, first_query, first_row + i, first_key, x + 16 * j, mask);
                highest = fmaxf(highest, s[i][j]);
            }
            highest = row_maximum(highest);
            float factor = expf(maximum[i] - highest);
            maximum[i] = highest;
            sum[i] *= factor;
            for (int c = 0; c < VALUE_DIM / 16; c++) o[i][c] *= factor;
            for (int j = 0; j < 4; j++) {
                float weight = expf(s[i][j] - highest);
                sum[i] += weight;
                p_tile[(first_row + i) * P_STRIDE + x + 16 * j] = weight;
            }
        }
        __syncthreads();
        const float *kept = p.key_mask ? p.key_mask + (i64)batch * p.keys + first_key : 0;
        load_tile<VALUE_DIM, 4>(kv_tile, v + first_key * p.v_row, p.v_row, rows, p.value_dim, kept);
        __syncthreads();
        multiply_values(o, p_tile + first_row * P_STRIDE, kv_tile, x);
    }
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        float total = row_sum(sum[i]);
        int query = first_query + first_row + i;
        if (query >= p.queries) continue;
        i64 row = ((i64)batch * p.heads + head) * p.queries + query;
        if (p.log_sum_exp && x == 0) p.log_sum_exp[row] = maximum[i] + logf(total);
        // A row that saw no key gives zeros.
        float divisor = total == 0.0f ? 1.0f : total;
        for (int c = 0; c < VALUE_DIM / 16; c++) {
            if (x + 16 * c < p.value_dim) p.out[row * p.value_dim + x + 16 * c] = o[i][c] / divisor;
        }
    }
}
