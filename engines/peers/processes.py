"""What a peer's library does not say of itself: the processor's instructions, threads that work, words that its C code prints."""
import ctypes
import os
import tempfile
import time

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def processor_flags():
    """Instructions that the processor has, by the kernel's names."""
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith(("flags", "Features")):
                return set(line.split(":", 1)[1].split())
    return set()


def widest(flags):
    """The widest vectors that libraries dispatch to by these flags."""
    known = {"avx512f": "avx512", "avx2": "avx2", "sve": "sve", "asimd": "neon"}
    return next((name for flag, name in known.items() if flag in flags), "scalar")


def multiplies(precision, flags):
    """Does the processor have products of this type?"""
    names = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "f16": {"avx512_fp16", "amx_fp16", "asimdhp"},
             "int8": {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "avx_vnni_int8"}}
    return precision not in names or bool(names[precision] & flags)


def keep_freed_memory():
    """Tells the C library to hand what was freed out again, and not to the kernel, which would have to clear it in the next call.

    Serving guides have users link another allocator for the same end; results of a call are then as good as allocated before.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    except (OSError, AttributeError):
        pass  # Another C library: its own ways, slower at worst.


def numpy_only_carries():
    """Imports a NumPy that carries tensors and computes nothing, without threads for its BLAS.

    They spin for some 40 ms after they were made, beside the first calls of the library whose threads are counted.
    """
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        import numpy  # noqa: F401
    except ImportError:
        pass  # Whoever needs it says so.
    finally:
        # The library's own BLAS may be the same one.
        del os.environ["OPENBLAS_NUM_THREADS"]
        if before is not None:
            os.environ["OPENBLAS_NUM_THREADS"] = before


def run_times():
    """Nanoseconds that each thread of this process has run for."""
    times = {}
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/schedstat") as stat:
                times[thread] = int(stat.read().split()[0])
        except OSError:
            pass  # It has just ended.
    return times


def busy_threads(call, seconds=0.03):
    """How many threads run while `call` is called again and again, as the kernel tells: what no library can claim otherwise."""
    before, began = run_times(), time.perf_counter_ns()
    while time.perf_counter_ns() - began < seconds * 1e9:
        call()
    elapsed = time.perf_counter_ns() - began
    return sum(now - before.get(thread, 0) > elapsed // 20 for thread, now in run_times().items())


def printed_by(call):
    """What is printed during a call, C libraries included."""
    libc = ctypes.CDLL(None)
    with tempfile.TemporaryFile() as file:
        libc.fflush(None)
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            call()
        finally:
            libc.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")
