"""What the workers in Python promise beside right numbers: counts, checks of inputs, versions, and threads that sleep.

`just test` runs them (experiments/runner/tests/peers.rs) with NumPy's environment, and once more with that of all peers where it is there.
By hand: python -m unittest engines/peers/tests.py. What a library is needed for is skipped without it, and says so.
"""
import hashlib
import importlib.metadata
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from contextlib import redirect_stderr

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

import cases
import numpy as np
import processes
import safetensors_file as files
import worker_loop

WORKERS = {"numpy": ("numpy_worker.py", "numpy"), "torch": ("torch_worker.py", "torch"), "openvino": ("openvino_worker.py", "openvino"),
           "onnxruntime": ("onnx_worker.py", "onnxruntime")}


def shaped(**shapes):
    return {name: types.SimpleNamespace(shape=shape) for name, shape in shapes.items()}


def heads(n):
    return shaped(q=(1, 2, n, 4), k=(1, 2, n, 4), v=(1, 2, n, 4))


class Counts(unittest.TestCase):
    def test_a_window_counts_the_pairs_that_are_seen(self):
        for n in (1, 5, 9):
            for reach in (1, 4, 20):
                both = sum(abs(i - j) <= reach for i in range(n) for j in range(n))
                past = sum(0 <= i - j < reach for i in range(n) for j in range(n))
                axes = {"window": reach}
                self.assertEqual(cases.CASES["attention/window"](heads(n), axes).flops, 2 * both * 21)
                self.assertEqual(cases.CASES["attention/window-causal"](heads(n), axes).flops, 2 * past * 21)

    def test_int8_weights_are_a_byte_an_entry_and_a_scale_a_row(self):
        tensors = shaped(x=(3, 8), w=(5, 8), b=(5,))
        case = cases.CASES["linear/dense"](tensors, {"activation": "none"})
        self.assertEqual(case.bytes(tensors, "int8"), (5 * 8 + 4 * 5 + 4 * 5, 4 * (3 * 8 + 3 * 5), 0))
        self.assertEqual(case.bytes(tensors, "bf16"), (2 * (5 * 8 + 5), 2 * (3 * 8 + 3 * 5), 0))

    def test_what_does_not_fit_is_refused_with_a_sentence(self):
        refused = [("linear/dense", shaped(x=(3, 8), w=(5, 7), b=(5,)), {"activation": "none"}, "side i of oi is 8 elsewhere"),
                   ("linear/dense", shaped(x=(3, 8), w=(5, 8)), {"activation": "none"}, "this cell needs"),
                   ("linear/dense", shaped(x=(3, 8), w=(5, 8), b=(5,)), {"activation": "glu"}, "axis activation is glu"),
                   ("attention/window", heads(3), {}, "axis window is missing"),
                   ("attention/flash", shaped(q=(1, 3, 2, 4), k=(1, 2, 2, 4), v=(1, 2, 2, 4)), {}, "heads must divide"),
                   ("attention/flash", shaped(q=(1, 0, 2, 4), k=(1, 2, 2, 4), v=(1, 2, 2, 4)), {}, "none of them empty")]
        for variant, tensors, axes, reason in refused:
            with self.assertRaisesRegex(ValueError, reason):
                cases.CASES[variant](tensors, axes)

    def test_a_precision_of_weights_wants_weights(self):
        with self.assertRaisesRegex(NotImplementedError, "f32 under another name"):
            cases.case_of("softmax/stable", shaped(logits=(3, 8)), {"precision": "int8"})

    def test_a_swapped_component_and_tokens_that_a_file_cannot_tell_apart_are_no_promise_of_a_peer(self):
        axes = {**cases.ORIGINAL, "precision": "bf16", "vocabulary": 257}
        with self.assertRaisesRegex(NotImplementedError, "no token from its neighbour above 256"):
            cases.CASES["model/encoder"]({}, axes)
        with self.assertRaisesRegex(NotImplementedError, "attention = linformer"):
            cases.CASES["model/encoder"]({}, {**axes, "attention": "linformer"})


class Bits(unittest.TestCase):
    def test_bf16_is_rounded_to_nearest_and_ties_to_even(self):
        values = [(1.0, 0x3F80), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (-1.005, 0xBF81), (np.inf, 0x7F80), (np.nan, 0x7FC0)]
        bits = files.bf16_bits(np.array([value for value, _ in values], np.float32))
        self.assertEqual(bits.tolist(), [code for _, code in values])


class Versions(unittest.TestCase):
    def told(self, version):
        before = importlib.metadata.version
        importlib.metadata.version = lambda package: version
        try:
            with redirect_stderr(io.StringIO()) as said:
                return worker_loop.installed_version("torch"), said.getvalue()
        finally:
            importlib.metadata.version = before

    def test_another_version_than_the_pinned_runs_and_is_named(self):
        pinned = worker_loop.pinned_versions()["torch"]
        self.assertEqual(self.told(pinned), (pinned, ""))
        self.assertEqual(self.told(pinned + "+cpu"), (pinned + "+cpu", ""))  # Another build of the same version.
        version, said = self.told("1.0")
        self.assertEqual(version, f"1.0 (not the pinned {pinned})")
        self.assertIn("torch is 1.0, tested was", said)

    def test_both_lists_of_requirements_pin_the_same_numpy(self):
        lines = [line for name in worker_loop.PINS for line in (HERE / name).read_text().splitlines() if line.startswith("numpy")]
        self.assertEqual(len(lines), 2)
        self.assertEqual(len(set(lines)), 1)


class Processes(unittest.TestCase):
    def test_threads_that_work_are_counted_by_the_kernel(self):
        time.sleep(0.2)  # The threads that NumPy's BLAS made at its import look for work for 30 ms before they sleep.
        self.assertEqual(processes.busy_threads(lambda: sum(range(10_000))), 1)
        data, stop = bytes(1 << 20), threading.Event()

        def work():
            while not stop.is_set():
                hashlib.sha256(data)  # Without the interpreter's lock.
        beside = threading.Thread(target=work)
        beside.start()
        try:
            self.assertEqual(processes.busy_threads(lambda: hashlib.sha256(data), seconds=0.5), 2)
        finally:
            stop.set()
            beside.join()

    def test_a_numpy_that_only_carries_has_no_threads_of_its_own(self):
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}

        def threads(code):
            code += "; import os; print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
            return subprocess.run([sys.executable, "-B", "-c", code], cwd=HERE, env=environment, capture_output=True, text=True,
                                  check=True).stdout.strip()
        if threads("import numpy") == "1 None":
            self.skipTest("NumPy has no threads here anyway")
        self.assertEqual(threads("import processes; processes.numpy_only_carries(); import numpy"), "1 None")

    def test_words_of_a_child_are_caught_like_those_of_a_library(self):
        self.assertIn("said", processes.printed_by(lambda: subprocess.run(["echo", "said"], check=True)))


class Conversation:
    """A worker as a process, asked by hand."""

    def __init__(self, program):
        self.process = subprocess.Popen([sys.executable, str(HERE / program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=60)

    def run_time(self):
        """Nanoseconds that all its threads have run for."""
        stats = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(stat.read_text().split()[0]) for stat in stats)


class Workers(unittest.TestCase):
    def each(self):
        for engine, (program, package) in WORKERS.items():
            if worker_loop.installed_version(package) == "not installed":
                print(f"skipped: {package} is not installed for {sys.executable} (just peers-installed)", file=sys.stderr)
                continue
            with self.subTest(engine=engine):
                worker = Conversation(program)
                try:
                    yield engine, worker
                finally:
                    self.assertEqual(worker.close(), 0)

    def prepared(self, worker, engine, folder, threads):
        path = str(pathlib.Path(folder) / "in.safetensors")
        files.write_tensor(path, "logits", np.linspace(-3, 3, 512 * 512, dtype=np.float32).reshape(512, 512))
        axes = {"precision": "f32", "threads": threads}
        return worker.ask(type="prepare", cell={"id": "x", "variant": "softmax/stable", "engine": engine, "axes": axes}, inputs=path)

    def test_between_calls_no_thread_runs(self):
        threads = min(2, len(os.sched_getaffinity(0)))
        with tempfile.TemporaryDirectory() as folder:
            for engine, worker in self.each():
                answer = self.prepared(worker, engine, folder, threads)
                self.assertEqual((answer["type"], answer.get("threads_used")), ("prepared", threads), answer)
                self.assertEqual(worker.ask(type="measure", samples=3, calls=3)["type"], "measured")
                time.sleep(0.2)  # What a pool may need to fall asleep.
                before = worker.run_time()
                time.sleep(0.5)
                self.assertLess(worker.run_time() - before, 10_000_000)

    def test_faults_are_answers_and_the_worker_lives(self):
        with tempfile.TemporaryDirectory() as folder:
            for engine, worker in self.each():
                self.assertEqual(worker.ask(type="measure", samples=1, calls=1)["kind"], "bad-request")
                cell = {"id": "x", "variant": "softmax/table", "engine": engine, "axes": {"precision": "f32", "threads": 1}}
                self.assertEqual(worker.ask(type="prepare", cell=cell, inputs="nowhere")["kind"], "unsupported")
                cell["variant"] = "softmax/stable"
                self.assertEqual(worker.ask(type="prepare", cell=cell, inputs="/nowhere.safetensors")["kind"], "internal")
                cell["axes"].update(precision="int4")
                self.assertEqual(worker.ask(type="prepare", cell=cell, inputs="nowhere")["kind"], "unsupported")
                self.assertEqual(self.prepared(worker, engine, folder, 1)["type"], "prepared")
                self.assertEqual(worker.ask(type="quit"), {"type": "bye"})


if __name__ == "__main__":
    unittest.main()
