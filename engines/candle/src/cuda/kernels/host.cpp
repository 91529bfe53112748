// The twin of `device.cu` on a host, for tests without a GPU: the very source of a kernel as C++, each thread of a block a fiber.
//
// Fibers run one at a time and change places where a thread would wait: at a barrier of the block, or where a warp exchanges something.
// They start in order or in reverse, so that a missing barrier shows as a difference. Shared memory and the surroundings of every buffer
// are full of NaN, so that what was never written and what lies outside shows too; a write outside ends the program.
// Read from standard input: a `Header`, the parameters with their pointers (see `read_parameters`); written: every buffer, in order.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __launch_bounds__(threads)
struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
struct float4 { float x, y, z, w; };
static uint3 threadIdx, blockIdx, blockDim = {1, 1, 1};
static uint4 *shared_memory;

[[noreturn]] static void fail(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

enum State { READY, AT_BLOCK, AT_WARP, DONE };
struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    State state;
};
static std::vector<Fiber> fibers;
static ucontext_t scheduler;

static void wait(State state) {
    unsigned me = threadIdx.x;
    fibers[me].state = state;
    swapcontext(&fibers[me].context, &scheduler);
}

static void __syncthreads() { wait(AT_BLOCK); }

// What the lanes of a warp show each other; between writing and reading all of them must have come.
static union Shown { float number; const void *address; unsigned registers[6]; } shown[32][32];

static Shown &mine() { return shown[threadIdx.x / 32][threadIdx.x % 32]; }
static Shown &of_lane(unsigned lane) { return shown[threadIdx.x / 32][lane]; }

static float __shfl_xor_sync(unsigned, float value, int step) {
    mine().number = value;
    wait(AT_WARP);
    float theirs = of_lane(threadIdx.x % 32 ^ step).number;
    wait(AT_WARP);
    return theirs;
}

static float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static float f16_to_float(unsigned short bits) {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return value;
}

static unsigned short float_to_f16(float value) {
    _Float16 narrow = value;
    unsigned short bits;
    std::memcpy(&bits, &narrow, 2);
    return bits;
}

static unsigned short float_to_bf16(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    if (value != value) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// ldmatrix, as the PTX manual describes it: lane 8 m + r points at row r of tile m.
static void load_four(unsigned tiles[4], const void *row, bool transposed) {
    if ((uintptr_t)row % 16 != 0) fail("a row of a tile is not aligned to 16 bytes");
    unsigned lane = threadIdx.x % 32, major = lane / 4, minor = lane % 4 * 2;
    mine().address = row;
    wait(AT_WARP);
    for (unsigned m = 0; m < 4; m++) {
        auto at = [&](unsigned r, unsigned c) { return (unsigned)((const unsigned short *)of_lane(8 * m + r).address)[c]; };
        tiles[m] = transposed ? at(minor, major) | at(minor + 1, major) << 16 : at(major, minor) | at(major, minor + 1) << 16;
    }
    wait(AT_WARP);
}

static void load_four_tiles(unsigned tiles[4], const void *row) { load_four(tiles, row, false); }
static void load_four_tiles_transposed(unsigned tiles[4], const void *row) { load_four(tiles, row, true); }

// mma.m16n8k16, as the PTX manual spreads its operands over the lanes.
static void multiply_tiles(float c[4], const unsigned a[4], const unsigned b[2]) {
    auto number = [](unsigned two, unsigned odd) {
        unsigned short bits = odd ? two >> 16 : two & 0xffff;
        return ELEMENT == 2 ? f16_to_float(bits) : __int_as_float((int)bits << 16);
    };
    std::memcpy(mine().registers, a, 16);
    std::memcpy(mine().registers + 4, b, 8);
    wait(AT_WARP);
    for (unsigned e = 0; e < 4; e++) {
        unsigned row = threadIdx.x % 32 / 4 + e / 2 * 8, column = threadIdx.x % 4 * 2 + e % 2;
        for (unsigned k = 0; k < 16; k++) {
            float left = number(of_lane(row % 8 * 4 + k % 8 / 2).registers[row / 8 + k / 8 * 2], k % 2);
            float right = number(of_lane(column * 4 + k % 8 / 2).registers[4 + k / 8], k % 2);
            c[e] += left * right;
        }
    }
    wait(AT_WARP);
}

struct Parameters;
static void call_kernel();

static void of_fiber() {
    call_kernel();
    fibers[threadIdx.x].state = DONE;
}

static void run_block(unsigned threads, bool reversed) {
    for (Fiber &fiber : fibers) {
        fiber.state = READY;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, of_fiber, 0);
    }
    for (;;) {
        for (unsigned at = 0; at < threads; at++) {
            threadIdx.x = reversed ? threads - 1 - at : at;
            if (fibers[threadIdx.x].state == READY) swapcontext(&scheduler, &fibers[threadIdx.x].context);
        }
        unsigned done = 0, at_block = 0, released = 0;
        for (unsigned first = 0; first < threads; first += 32) {
            unsigned waiting = 0, gone = 0;
            for (unsigned lane = first; lane < first + 32; lane++) {
                waiting += fibers[lane].state == AT_WARP, gone += fibers[lane].state == DONE, at_block += fibers[lane].state == AT_BLOCK;
            }
            done += gone;
            if (waiting != 32) continue;
            for (unsigned lane = first; lane < first + 32; lane++) fibers[lane].state = READY;
            released += 32;
        }
        if (done == threads) return;
        if (released > 0) continue;
        if (at_block + done != threads) fail("the lanes of a warp wait in different places");
        for (Fiber &fiber : fibers) {
            if (fiber.state == AT_BLOCK) fiber.state = READY;
        }
    }
}

template <class T> static T next() {
    T value;
    if (std::fread(&value, sizeof(T), 1, stdin) != 1) fail("the input ends too soon");
    return value;
}

// Memory between two guards.
struct Guarded {
    static const size_t GUARD = 1024;
    std::vector<unsigned char> bytes;
    size_t size;
    explicit Guarded(size_t size) : bytes(size + 2 * GUARD, 0xff), size(size) {}
    // The vector's own memory is aligned to 16 bytes, and so is the guard.
    unsigned char *data() { return bytes.data() + GUARD; }
    void check() {
        for (size_t at = 0; at < GUARD; at++) {
            if (bytes[at] != 0xff || bytes[GUARD + size + at] != 0xff) fail("something was written outside of a buffer");
        }
    }
};

struct Header { uint32_t grid[3], threads, shared, reversed, buffers, parameters; };
static std::vector<unsigned char> parameters;

int main() {
    Header header = next<Header>();
    std::vector<Guarded> buffers;
    for (unsigned at = 0; at < header.buffers; at++) {
        buffers.emplace_back(next<uint64_t>());
        Guarded &last = buffers.back();
        if (std::fread(last.data(), 1, last.size, stdin) != last.size) fail("the input ends too soon");
    }
    parameters.resize(header.parameters);
    if (std::fread(parameters.data(), 1, header.parameters, stdin) != header.parameters) fail("the input ends too soon");
    // Pointers come as places among the parameters, buffer by buffer, with the byte in the buffer.
    for (uint32_t pointers = next<uint32_t>(); pointers > 0; pointers--) {
        uint32_t place = next<uint32_t>(), buffer = next<uint32_t>();
        uint64_t address = (uint64_t)(buffers.at(buffer).data() + next<uint64_t>());
        std::memcpy(parameters.data() + place, &address, 8);
    }
    if (header.threads % 32 != 0 || header.threads > 1024) fail("a block is whole warps, 1024 threads at most");
    blockDim.x = header.threads;
    fibers.resize(header.threads);
    for (Fiber &fiber : fibers) fiber.stack.resize(64 << 10);
    for (blockIdx.z = 0; blockIdx.z < header.grid[2]; blockIdx.z++) {
        for (blockIdx.y = 0; blockIdx.y < header.grid[1]; blockIdx.y++) {
            for (blockIdx.x = 0; blockIdx.x < header.grid[0]; blockIdx.x++) {
                Guarded shared(header.shared);
                shared_memory = (uint4 *)shared.data();
                run_block(header.threads, header.reversed);
                shared.check();
            }
        }
    }
    for (Guarded &buffer : buffers) {
        buffer.check();
        std::fwrite(buffer.data(), 1, buffer.size, stdout);
    }
    return 0;
}
