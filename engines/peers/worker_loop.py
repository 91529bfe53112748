"""What workers in Python share: the messages of Crossover's protocol, the clock and the memory figure.

experiments/PROTOCOL.md describes the messages. One JSON request a line comes in on stdin, one JSON answer a line goes out on
stdout; tensors travel in files (safetensors_file.py). Such a worker draws no inputs and judges no outputs: the runner brings
the inputs in one file and compares the output that is left in another. What is an engine's own, its worker adds: who it is, how
its library is started, how a cell is bound to a call, and how that runs. numpy_worker.py is the smallest.
"""
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable

import processes
from cases import CASES, ITEM_BYTES, case_of

PROTOCOL, MAX_LINE_BYTES = 1, 4 << 20
FIELDS = {"hello": {"protocol"}, "prepare": {"cell", "inputs"}, "verify": {"output"}, "measure": {"samples", "calls"},
          "account": set(), "materialize": {"cell", "inputs"}, "judge": {"cell", "output"}, "quit": set()}
PINS = ["requirements.txt", "requirements-peers.txt"]


class Fault(Exception):
    """A request that cannot be done; `kind` is one of the protocol's failure kinds."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def need(good, message, kind="bad-request"):
    if not good:
        raise Fault(kind, message)


@dataclass
class Bound:
    """A cell that is ready to be called."""

    call: Callable[[], Any]  # Computes the whole result.
    write: Callable[[Any, str], None]  # Leaves the result of a call in a file, under the name `out`.


@dataclass
class Told:
    """What an engine says of how it runs a cell."""

    isa: str
    threads_used: int
    support: str = "composed"
    reason: str | None = None


class Worker:
    """One method a request, with the request's fields as arguments. An engine's worker fills in what stands first."""

    name = "worker"
    engines = {}  # Name: one line about it.
    precisions = {}  # Those that the library has kernels for: the type of the tensors in a file, by NumPy's name (bf16: its bits).
    packages = []  # Whose versions `build` tells. The first one is the library.
    threads = bound = None

    def start(self, cell, threads):
        """Imports the library with this many threads; may come again with the same number."""
        raise NotImplementedError

    def variants(self, engine):
        """Names of what is written for an engine."""
        raise NotImplementedError

    def bind(self, cell, tensors, case):
        """Packs, compiles and allocates whatever the call needs: a `Bound`."""
        raise NotImplementedError

    def tell(self, cell, bound):
        """How the cell runs, as seen: a `Told`. No part of preparing."""
        raise NotImplementedError

    def explained(self, cell, error):
        """An exception of the library as an answer; itself, where nobody can do anything about it."""
        kinds = {ValueError: "bad-request", NotImplementedError: "unsupported"}
        kind = next((kind for cause, kind in kinds.items() if isinstance(error, cause)), None)
        return error if kind is None else Fault(kind, f"{cell['variant']}: {error}")

    def hello(self, protocol):
        # A runner of another protocol sees ours in the answer and ends the conversation. Nothing is imported here: a library that
        # is missing or hangs costs its own cells a row each, with the reason.
        engines = [{"name": name, "summary": summary, "isa": "unknown before prepare", "native": list(self.precisions)}
                   for name, summary in self.engines.items()]
        versions = "".join(f", {package} {installed_version(package)}" for package in self.packages)
        return {"type": "hello", "protocol": PROTOCOL, "worker": self.name, "version": "2",
                "build": f"python {platform.python_version()}{versions}", "engines": engines,
                "capabilities": {"draws_inputs": False, "judges": False}}

    def prepare(self, cell, inputs):
        self.bound = None  # Whatever happens now, the cell before this one is gone.
        need(isinstance(cell, dict) and cell.keys() == {"id", "variant", "engine", "axes"}, f"not the fields of a cell: {cell}")
        axes = cell["axes"]
        precision, threads, engine = axes.get("precision"), axes.get("threads"), cell["engine"]
        need(engine in self.engines, f"there is no engine {engine} here, only {', '.join(self.engines)}")
        native = list(self.precisions)
        need(precision in native, f"{engine} has no kernels for precision {precision}, only for {native}", "unsupported")
        need(isinstance(threads, int) and threads > 0, f"axis threads is {threads}, expected a count")
        need(threads <= len(os.sched_getaffinity(0)),
             f"{threads} threads on {len(os.sched_getaffinity(0))} processors would take turns", "unsupported")
        need(self.threads in (None, threads), f"{engine} runs on {self.threads} threads already; a fresh worker is needed for {threads}")
        need(inputs is not None, "this worker draws no inputs: `inputs` must name a file")
        # Before the library is imported, which may take seconds.
        need(cell["variant"] in CASES, f"{cell['variant']} is not written for the peers", "unsupported")
        try:
            self.start(cell, threads)
        except ImportError as error:
            raise Fault("unsupported", not_installed(self.packages, error)) from error
        self.threads = threads
        need(cell["variant"] in self.variants(engine), f"{cell['variant']} is not written for {engine}", "unsupported")
        try:
            return self.prepared(cell, inputs)
        except Fault:
            raise
        except Exception as error:
            fault = self.explained(cell, error)
            if fault is error:
                raise
            raise fault from error

    def prepared(self, cell, path):
        import safetensors_file as files  # Imports NumPy, whose threads `start` has set.
        precision = cell["axes"]["precision"]
        tensors = files.read_tensors(path)
        files.expect_type(tensors, self.precisions[precision], precision, path)
        case = case_of(cell["variant"], tensors, cell["axes"])
        began = time.perf_counter_ns()
        bound = self.bind(cell, tensors, case)
        for _ in range(2):
            bound.call()
        prepare_ns = time.perf_counter_ns() - began
        busy = processes.busy_threads(bound.call)
        need(busy <= self.threads, f"{busy} threads ran where {self.threads} were set", "internal")
        told = self.tell(cell, bound)
        self.bytes = case.bytes(tensors, precision)
        self.bound = bound
        return {"type": "prepared", "support": told.support, "reason": told.reason, "prepare_ns": prepare_ns, "flops": case.flops,
                "bytes": sum(self.bytes) - case.unread * ITEM_BYTES[precision], "threads_used": told.threads_used, "isa": told.isa}

    def verify(self, output):
        need(output is not None, "this worker does not judge: `output` must name a file")
        self.bound.write(self.bound.call(), output)
        return {"type": "written"}

    def measure(self, samples, calls):
        need(type(samples) is type(calls) is int and min(samples, calls) > 0, "samples and calls must be counts of at least 1")
        return {"type": "measured", "samples": [self.sample(calls) for _ in range(samples)]}

    def sample(self, calls):
        call, switches = self.bound.call, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        began = time.perf_counter_ns()
        for _ in range(calls):
            call()
        ns = time.perf_counter_ns() - began
        return {"calls": calls, "ns": ns, "disturbed": resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > switches}

    def account(self):
        # From here on: what calling needs, without what preparing needed.
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        self.bound.call()
        # VmHWM, not ru_maxrss: a child's ru_maxrss begins at the high-water mark of the process that started it.
        with open("/proc/self/status") as status:
            high_water = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        weight_bytes, activation_bytes, state_bytes = self.bytes
        return {"type": "accounted", "weight_bytes": weight_bytes, "activation_bytes": activation_bytes, "scratch_bytes": 0,
                "state_bytes": state_bytes, "allocator_peak_bytes": None, "warm_allocations": None, "high_water_bytes": high_water}

    def quit(self):
        return {"type": "bye"}

    def answer(self, line):
        try:
            request = json.loads(line)
            kind = request.pop("type", None) if isinstance(request, dict) else None
            need(kind in FIELDS and request.keys() == FIELDS[kind], f"no request of the protocol, or not its fields: {line[:80]!r}")
            need(kind not in ("materialize", "judge"), f"{kind} is for workers that draw inputs and judge", "unsupported")
            need(self.bound or kind not in ("verify", "measure", "account"), f"{kind} without a prepared cell")
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


def pinned_versions():
    """What the requirements beside this file ask for, by package."""
    lines = [line for name in PINS for line in (pathlib.Path(__file__).parent / name).read_text().splitlines()]
    return dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line and not line.startswith("#"))


def installed_version(package):
    """The version that is there, and the pinned one where that is another: times of two versions must not be taken for each other."""
    try:
        version, pinned = importlib.metadata.version(package), pinned_versions().get(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    if pinned is None or version.split("+")[0] == pinned:
        return version
    print(f"{package} is {version}, tested was {pinned} (engines/peers): it runs all the same, and the run says so", file=sys.stderr)
    return f"{version} (not the pinned {pinned})"


def not_installed(packages, error):
    missing = [package for package in packages if installed_version(package) == "not installed"]
    if missing:
        return f"{', '.join(missing)} is not installed for {sys.executable}: `just peers` makes an environment with all peers, .venv-peers"
    return f"{packages[0]} is installed, but cannot be imported ({error}): remove .venv-peers, and `just peers` makes it anew"


def main(worker):
    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever else prints, C libraries included, prints to stderr from here on.
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            sys.exit(f"a request longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            answer = worker.answer(line)
            print(json.dumps(answer, allow_nan=False), file=wire, flush=True)
            if answer["type"] == "bye":
                return
