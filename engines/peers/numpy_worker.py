"""The worker of NumPy: the smallest of Crossover's workers in Python, and the example to start your own from.

The messages are in worker_loop.py, sides of tensors and counts of operations in cases.py, the tensor files in safetensors_file.py, the
maths in numpy_variants.py. Here is what is NumPy's own: its name, its threads, and how a cell becomes a call.
It needs Linux, for the memory figure and the number of CPUs.
"""
import os
import sys

sys.dont_write_bytecode = True  # No cache files among the sources.

import worker_loop
from worker_loop import Bound, Told, need

np = variants = files = None  # Imported by `start`: the number of threads must be in the environment before.


class NumpyWorker(worker_loop.Worker):
    name = "numpy-worker"
    engines = {"numpy": "NumPy with the BLAS it comes with"}
    precisions = {"f64": "<f8", "f32": "<f4"}
    packages = ["numpy"]

    def start(self, cell, threads):
        global np, variants, files
        isa = cell["axes"].get("isa", "auto")
        need(isa == "auto", f"NumPy chooses its instructions itself, isa={isa} cannot be forced", "unsupported")
        for library in ["OPENBLAS", "OMP", "MKL", "BLIS"]:
            os.environ[f"{library}_NUM_THREADS"] = str(threads)
        # Idle BLAS threads sleep after 2^20 clock ticks, not 2^26: a waiting worker must not spin beside the one that is timed.
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
        import numpy as np
        import numpy_variants as variants
        import safetensors_file as files
        np.seterr(all="ignore")  # An overflow shows in the output; a warning for each call would cost time.

    def variants(self, engine):
        return variants.VARIANTS

    def bind(self, cell, tensors, case):
        call = variants.VARIANTS[cell["variant"]](tensors, cell["axes"])
        return Bound(call, write=lambda out, path: files.write_tensor(path, "out", out))

    def tell(self, cell, bound):
        simd = np.show_config(mode="dicts")["SIMD Extensions"]
        # "composed", the default: a chain of NumPy's own functions in the asked precision.
        return Told(isa=(simd.get("found") or simd["baseline"])[-1].lower(), threads_used=self.threads)


if __name__ == "__main__":
    worker_loop.main(NumpyWorker())
