// What all kernels share. ELEMENT, given by who compiles, is 0 for f32, 1 for bf16, 2 for f16; sums are in f32.

typedef unsigned long long u64;
typedef long long i64;

#if ELEMENT == 0
typedef float element;
__device__ inline float widen(element x) { return x; }
__device__ inline element narrow(float x) { return x; }
#else
typedef unsigned short element;
#if ELEMENT == 1
__device__ inline float widen(element x) { return __int_as_float((int)x << 16); }
__device__ inline element narrow(float x) { return float_to_bf16(x); }
#else
__device__ inline float widen(element x) { return f16_to_float(x); }
__device__ inline element narrow(float x) { return float_to_f16(x); }
#endif
#endif

// Running maxima start here, not at minus infinity: a row of which everything is masked then has exp(-inf - LOWEST) = 0, and no NaN.
#define LOWEST (-3.402823466e38f)
#define MINUS_INFINITY __int_as_float((int)0xff800000u)
#define WHOLE_WARP 0xffffffffu
