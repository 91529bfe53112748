"""The worker of PyTorch, for three engines: `torch` (eager operators), `torch-compile` (torch.compile with frozen, packed weights) and
`torch-flex` (FlexAttention, compiled: it visits the blocks of a pattern only).

The messages are in worker_loop.py, the maths in torch_variants.py, torch_attention.py and torch_encoder.py. One program serves all three,
as they share tensors, threads and everything but the last step before the call.
"""
import os
import sys

sys.dont_write_bytecode = True  # No cache files among the sources.

import processes
import worker_loop
from worker_loop import Bound, Fault, Told, need

# Names of the same instructions for ATen, oneDNN and MKL, which take them before they are loaded.
ISAS = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
        "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"}}
# What oneDNN asks of the processor for a fused layer of the type, in the kernel's names: any of them.
FUSED_BY = {"bf16": {"avx512bw"}, "f16": {"avx512_fp16", "amx_fp16"}}
torch = variants = files = None  # Imported by `start`: threads and instructions must be in the environment before.


class TorchWorker(worker_loop.Worker):
    name = "torch-worker"
    engines = {"torch": "PyTorch's eager operators on the CPU",
               "torch-compile": "torch.compile (Inductor) with frozen weights",
               "torch-flex": "FlexAttention of PyTorch, compiled"}
    precisions = {"f64": "<f8", "f32": "<f4", "bf16": "<u2", "f16": "<f2", "int8": "<f4"}
    packages = ["torch"]

    def start(self, cell, threads):
        global torch, variants, files
        refuse(cell)
        isa = cell["axes"].get("isa", "auto")
        need(isa == "auto" or isa in ISAS, f"PyTorch cannot be held to isa={isa}, only to {', '.join(ISAS)}", "unsupported")
        if torch is None:
            os.environ.update(ISAS.get(isa, {}))
            for library in ["OMP", "MKL"]:
                os.environ[f"{library}_NUM_THREADS"] = str(threads)
            # Idle threads sleep at once, as ours do: a waiting worker must not spin beside the one that is timed.
            os.environ["OMP_WAIT_POLICY"] = "passive"
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # No processes that stay behind.
            processes.keep_freed_memory()
            processes.numpy_only_carries()
            import torch
            torch.set_num_threads(threads)
            torch.set_num_interop_threads(1)
            torch.set_grad_enabled(False)
            import safetensors_file as files
            import torch_variants as variants
            self.isa = isa
        need(isa == self.isa, f"PyTorch runs with isa={self.isa} already; a fresh worker is needed for {isa}")
        told = (torch.get_num_threads(), torch.get_num_interop_threads())
        need(told == (threads, 1), f"PyTorch has {told[0]} + {told[1]} threads where {threads} + 1 were set", "internal")

    def variants(self, engine):
        return variants.VARIANTS[engine]

    def bind(self, cell, tensors, case):
        make = variants.VARIANTS[cell["engine"]][cell["variant"]]
        tensors = {name: tensor_of(array) for name, array in tensors.items()}
        return Bound(variants.bind(cell["engine"], make, tensors, cell["axes"]), write)

    def explained(self, cell, error):
        dynamo = sys.modules.get("torch._dynamo")  # Loaded by what compiles, and by nothing else.
        if dynamo and isinstance(error, dynamo.exc.TorchDynamoException):
            return Fault("unsupported", not_compiled(error))
        if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
            return Fault("out-of-memory", str(error).splitlines()[0])
        return super().explained(cell, error)

    def tell(self, cell, bound):
        """A chain of PyTorch's own operators; no product of 16 bits is taken for one where the processor has none."""
        variant, precision, flags = cell["variant"], cell["axes"]["precision"], processes.processor_flags()
        if self.isa != "auto":
            flags = {flag for flag in flags if "bf16" not in flag and "fp16" not in flag and "vnni" not in flag and "amx" not in flag}
        told = Told(self.instructions(bound.call), torch.get_num_threads())
        if variants.has_products(variant) and precision in ("bf16", "f16") and not processes.multiplies(precision, flags):
            told.support = "emulated"
            told.reason = f"{precision} operands are widened and multiplied as f32: no such products here (isa={self.isa})"
        return told

    def instructions(self, call):
        """ATen's, and those of oneDNN's kernels as they tell while they run; products of other types are MKL's, which tells nothing."""
        vectors = torch.backends.cpu.get_cpu_capability().lower().replace("avx512_vnni", "avx512")
        need(self.isa == "auto" or vectors == self.isa, f"PyTorch dispatches to {vectors}, isa={self.isa} was set", "internal")

        def verbose():
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                call()
        lines = [line.split(",") for line in processes.printed_by(verbose).splitlines() if line.startswith("onednn_verbose")]
        kernels = {f"{line[5]} {line[6]}" for line in lines if len(line) > 6 and line[3] == "exec" and line[5] != "reorder"}
        return "; ".join([vectors, *sorted(f"onednn {kernel}" for kernel in kernels)])


def refuse(cell):
    """What needs no PyTorch to be refused: to import it takes seconds."""
    variant, engine, axes = cell["variant"], cell["engine"], cell["axes"]
    flexible = variant.startswith("attention/") and variant.split("/")[1] not in ("dense", "causal", "decode", "decode-gqa")
    need(engine != "torch-flex" or flexible, f"{variant} is no attention over a pattern of keys, all that torch-flex has", "unsupported")
    smooth = variant == "linear/dense" and axes.get("activation") not in ("none", "relu")
    rounds = engine == "torch" or axes.get("isa") == "avx2" or not FUSED_BY.get(axes["precision"], set()) & processes.processor_flags()
    need(not (smooth and rounds and axes["precision"] in FUSED_BY),
         f"the sums are rounded to {axes['precision']} before the activation (eagerly always, compiled where oneDNN has no layer of this "
         "type for the processor), for which a fused layer has no room: take ffn/dense, or activation = none", "unsupported")


def tensor_of(array):
    """The same memory as a tensor; NumPy has no bf16, so its bits come as integers."""
    if array.dtype == "<u2":
        return torch.from_numpy(array.view("<i2")).view(torch.bfloat16)
    return torch.from_numpy(array)


def write(out, path):
    bf16 = out.dtype == torch.bfloat16
    array = (out.contiguous().view(torch.int16) if bf16 else out.contiguous()).numpy()
    files.write_tensor(path, "out", array, "BF16" if bf16 else None)


def not_compiled(error):
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "compiler" in str(error).lower() and "found" in str(error).lower():
        return f"torch.compile needs a C++ compiler (set CXX, or install g++): {first}"
    return f"torch.compile failed: {first}"


if __name__ == "__main__":
    worker_loop.main(TorchWorker())
