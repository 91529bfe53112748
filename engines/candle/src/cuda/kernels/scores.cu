// Block-sparse attention, what both kernels share: the tiles to visit, and what becomes of a score.
//
// A block of threads does 64 queries of one head. `offsets` says where the list of a block's key tiles starts in `tiles`, which has two
// numbers a tile: which keys, and which mask (all ones: every pair takes part). A mask is 64 rows of 64 bits. Tiles that the pattern
// skips are not listed. Rows of q, k and v have stride 1 within; the other strides are given, so that no operand is copied.

#define TILE 64
#define NO_MASK 0xffffffffu

struct Parameters {
    element *out;                    // [batch, heads, queries, value_dim]
    float *log_sum_exp;              // [batch, heads, queries], or null
    const element *q, *k, *v;        // [batch, heads, rows, width] by strides
    const unsigned *offsets, *tiles;
    const u64 *masks;
    const float *bias;               // by pair, by strides, or null
    const float *distance;           // [heads, 2 reach + 1], or null
    const float *key_mask;           // [batch, keys], or null
    i64 q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, bias_batch, bias_head, bias_row, bias_key;
    int heads, group, queries, keys, head_dim, value_dim, query_offset, reach;
    float scale, cap;                // no cap: 0
};

// Copies up to 64 rows into shared memory, whose rows are WIDTH + PADDING elements apart, and zeros where there is nothing; also where a
// key is masked, because a value that nobody sees may be a NaN, which 0 does not make harmless.
template <int WIDTH, int PADDING>
__device__ inline void load_tile(element *to, const element *from, i64 stride, int rows, int width, const float *kept) {
    const int at_once = 16 / sizeof(element);
    if (((u64)from % 16 == 0) && (stride * sizeof(element)) % 16 == 0 && width % at_once == 0) {
        for (int at = threadIdx.x; at < TILE * (WIDTH / at_once); at += blockDim.x) {
            int row = at / (WIDTH / at_once), column = at % (WIDTH / at_once) * at_once;
            uint4 value = {0, 0, 0, 0};
            if (row < rows && column < width && (!kept || kept[row] != 0.0f)) value = *(const uint4 *)(from + row * stride + column);
            *(uint4 *)(to + row * (WIDTH + PADDING) + column) = value;
        }
    } else {
        for (int at = threadIdx.x; at < TILE * WIDTH; at += blockDim.x) {
            int row = at / WIDTH, column = at % WIDTH;
            bool there = row < rows && column < width && (!kept || kept[row] != 0.0f);
            to[row * (WIDTH + PADDING) + column] = there ? from[row * stride + column] : (element)0;
        }
    }
}

// The score of a query and a key, given their places in the tile and q k: scaled, capped, biased, masked.
__device__ inline float score(const Parameters &p, float product, int head, int batch, int first_query, int row, int first_key, int column,
                              unsigned mask) {
    int query = first_query + row, key = first_key + column;
    if (query >= p.queries || key >= p.keys) return MINUS_INFINITY;
    float s = product * p.scale;
    if (p.cap > 0.0f) s = p.cap * tanhf(s / p.cap);
    if (p.bias) s += p.bias[batch * p.bias_batch + head * p.bias_head + query * p.bias_row + key * p.bias_key];
    if (p.distance) {
        i64 entry = (i64)key - query - p.query_offset + p.reach, last = 2 * (i64)p.reach;
        s += p.distance[head * (last + 1) + (entry < 0 ? 0 : entry > last ? last : entry)];
    }
    bool seen = mask == NO_MASK || (p.masks[(i64)mask * TILE + row] >> column & 1);
    if (p.key_mask && p.key_mask[(i64)batch * p.keys + key] == 0.0f) seen = false;
    return seen ? s : MINUS_INFINITY;
}

__device__ inline int fewer(int a, int b) { return a < b ? a : b; }
