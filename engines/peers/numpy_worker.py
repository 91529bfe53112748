"""A minimal worker of Crossover's protocol in Python and NumPy: the example to start your own from.

experiments/PROTOCOL.md describes the messages. One JSON request a line comes in on stdin, one JSON answer a line goes out on
stdout; tensors travel in files (safetensors_file.py). The worker draws no inputs and judges no outputs: the runner brings
the inputs in one file and compares the output that is left in another. The maths is in numpy_variants.py.
It needs Linux, for the memory figure and the number of CPUs.
"""
import importlib.metadata
import json
import math
import os
import platform
import resource
import sys
import time
import traceback

PROTOCOL, MAX_LINE_BYTES = 1, 4 << 20
FIELDS = {"hello": {"protocol"}, "prepare": {"cell", "inputs"}, "verify": {"output"}, "measure": {"samples", "calls"},
          "account": set(), "materialize": {"cell", "inputs"}, "judge": {"cell", "output"}, "quit": set()}
PRECISIONS = {"f64": "<f8", "f32": "<f4"}
WEIGHTS = {"w", "w1", "w2", "b", "b1", "b2", "gamma", "beta"}
np = variants = files = None  # Imported by `prepare`: the number of threads must be in the environment before.


class Fault(Exception):
    """A request that cannot be done; `kind` is one of the protocol's failure kinds."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def need(good, message, kind="bad-request"):
    if not good:
        raise Fault(kind, message)


class Worker:
    """One method a request, with the request's fields as arguments."""

    threads = call = None

    def hello(self, protocol):
        # A runner of another protocol sees ours in the answer and ends the conversation.
        engine = {"name": "numpy", "summary": "NumPy with the BLAS it comes with", "isa": "unknown before prepare",
                  "native": list(PRECISIONS)}
        return {"type": "hello", "protocol": PROTOCOL, "worker": "numpy-worker", "version": "1",
                "build": f"python {platform.python_version()}, numpy {importlib.metadata.version('numpy')}", "engines": [engine],
                "capabilities": {"draws_inputs": False, "judges": False}}

    def prepare(self, cell, inputs):
        self.call = None  # Whatever happens now, the cell before this one is gone.
        need(isinstance(cell, dict) and cell.keys() == {"id", "variant", "engine", "axes"}, f"not the fields of a cell: {cell}")
        axes, variant = cell["axes"], cell["variant"]
        precision, threads = axes.get("precision"), axes.get("threads")
        need(cell["engine"] == "numpy", f"there is no engine {cell['engine']} here, only numpy")
        need(precision in PRECISIONS, f"NumPy has no kernels for precision {precision}, only for {list(PRECISIONS)}", "unsupported")
        isa = axes.get("isa", "auto")
        need(isa == "auto", f"NumPy chooses its instructions itself, isa={isa} cannot be forced", "unsupported")
        need(isinstance(threads, int) and threads > 0, f"axis threads is {threads}, expected a count")
        need(self.threads in (None, threads), f"NumPy runs on {self.threads} threads already; a fresh worker is needed for {threads}")
        need(inputs is not None, "this worker draws no inputs: `inputs` must name a file")
        self.start_numpy(threads)
        need(variant in variants.VARIANTS, f"{variant} is not written for NumPy", "unsupported")
        try:
            tensors = files.read_tensors(inputs)
            wrong = [name for name, array in tensors.items() if array.dtype != PRECISIONS[precision]]
            need(not wrong, f"{inputs}: {wrong} are not {precision}")
            began = time.perf_counter_ns()
            call, shape, flops = variants.VARIANTS[variant](tensors, axes)
            prepare_ns = time.perf_counter_ns() - began
        except ValueError as error:
            raise Fault("bad-request", f"{variant}: {error}") from error
        except NotImplementedError as error:
            raise Fault("unsupported", str(error)) from error
        self.call, self.weight_bytes = call, sum(tensors[name].nbytes for name in WEIGHTS & tensors.keys())
        out_bytes = math.prod(shape) * np.dtype(PRECISIONS[precision]).itemsize
        self.activation_bytes = sum(array.nbytes for array in tensors.values()) - self.weight_bytes + out_bytes
        simd = np.show_config(mode="dicts")["SIMD Extensions"]
        # "composed": a chain of NumPy's own functions in the asked precision. BLAS starts no more threads than there are CPUs.
        return {"type": "prepared", "support": "composed", "reason": None, "prepare_ns": prepare_ns, "flops": flops,
                "bytes": self.weight_bytes + self.activation_bytes, "threads_used": min(threads, len(os.sched_getaffinity(0))),
                "isa": (simd.get("found") or simd["baseline"])[-1].lower()}

    def start_numpy(self, threads):
        global np, variants, files
        sys.dont_write_bytecode = True  # No cache files among the sources.
        for library in ["OPENBLAS", "OMP", "MKL", "BLIS"]:
            os.environ[f"{library}_NUM_THREADS"] = str(threads)
        # Idle BLAS threads sleep after 2^20 clock ticks, not 2^26: a waiting worker must not spin beside the one that is timed.
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
        import numpy as np
        import numpy_variants as variants
        import safetensors_file as files
        self.threads = threads
        np.seterr(all="ignore")  # An overflow shows in the output; a warning for each call would cost time.

    def verify(self, output):
        need(output is not None, "this worker does not judge: `output` must name a file")
        files.write_tensor(output, "out", self.call())
        return {"type": "written"}

    def measure(self, samples, calls):
        need(type(samples) is type(calls) is int and min(samples, calls) > 0, "samples and calls must be counts of at least 1")
        return {"type": "measured", "samples": [self.sample(calls) for _ in range(samples)]}

    def sample(self, calls):
        call, switches = self.call, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        began = time.perf_counter_ns()
        for _ in range(calls):
            call()
        ns = time.perf_counter_ns() - began
        return {"calls": calls, "ns": ns, "disturbed": resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > switches}

    def account(self):
        # From here on: what calling needs, without what preparing needed.
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        self.call()
        # VmHWM, not ru_maxrss: a child's ru_maxrss begins at the high-water mark of the process that started it.
        with open("/proc/self/status") as status:
            high_water = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        return {"type": "accounted", "weight_bytes": self.weight_bytes, "activation_bytes": self.activation_bytes, "scratch_bytes": 0,
                "state_bytes": 0, "allocator_peak_bytes": None, "warm_allocations": None, "high_water_bytes": high_water}

    def quit(self):
        return {"type": "bye"}

    def answer(self, line):
        try:
            request = json.loads(line)
            kind = request.pop("type", None) if isinstance(request, dict) else None
            need(kind in FIELDS and request.keys() == FIELDS[kind], f"no request of the protocol, or not its fields: {line[:80]!r}")
            need(kind not in ("materialize", "judge"), f"{kind} is for workers that draw inputs and judge", "unsupported")
            need(self.call or kind not in ("verify", "measure", "account"), f"{kind} without a prepared cell")
            return getattr(self, kind)(**request)
        except Fault as fault:
            kind, message = fault.kind, str(fault)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            kind, message = "bad-request", f"not JSON: {error}"
        except MemoryError as error:
            kind, message = "out-of-memory", str(error) or "not enough memory"
        except Exception as error:
            traceback.print_exc()
            kind, message = "internal", f"{type(error).__name__}: {error}"
        return {"type": "failed", "kind": kind, "message": message}


def main():
    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever else prints, C libraries included, prints to stderr from here on.
    worker = Worker()
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            sys.exit(f"a request longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            answer = worker.answer(line)
            print(json.dumps(answer, allow_nan=False), file=wire, flush=True)
            if answer["type"] == "bye":
                return


if __name__ == "__main__":
    main()
