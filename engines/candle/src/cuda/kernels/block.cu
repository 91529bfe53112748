// Sums and maxima over a block of threads that shares a row: over warps by shuffles, and once through shared memory.

#define WARPS 8

// Both are called by all threads of a block, which may read the result at once and call again.
__device__ inline float block_sum(float x) {
    float *of_warps = (float *)shared_memory;
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(WHOLE_WARP, x, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    float all = 0.0f;
    for (int warp = 0; warp < WARPS; warp++) all += of_warps[warp];
    return all;
}

__device__ inline float block_maximum(float x) {
    float *of_warps = (float *)shared_memory;
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, step));
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    float all = of_warps[0];
    for (int warp = 1; warp < WARPS; warp++) all = fmaxf(all, of_warps[warp]);
    return all;
}

