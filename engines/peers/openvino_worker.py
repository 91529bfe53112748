"""The worker of OpenVINO: a model of one variant, compiled for the CPU with one stream, its weights packed by the compiler.

The messages are in worker_loop.py, the graphs in openvino_graphs.py. The plugin takes precision as a hint and may compute in another one:
what it really executes is read from the compiled model, and told.
"""
import os
import sys
import time

sys.dont_write_bytecode = True  # No cache files among the sources.

import processes
import worker_loop
from cases import CASES, ITEM_BYTES, case_of
from worker_loop import Bound, need

PRECISIONS = {"f32": "<f4", "bf16": "<u2", "f16": "<f2", "int8": "<f4", "int8-weight": "<f4"}
TYPES = {"<f4": "f32", "<u2": "bf16", "<f2": "f16"}
ov = np = graphs = files = None  # Imported by `start`.


class OpenvinoWorker(worker_loop.Worker):
    name = "openvino-worker"
    engines = {"openvino": "OpenVINO's CPU plugin, one stream, compiled for the shapes"}
    precisions = list(PRECISIONS)
    packages = ["openvino"]

    def start(self, cell, threads):
        global ov, np, graphs, files
        need(cell["variant"] in CASES, f"{cell['variant']} is not written for the peers", "unsupported")
        isa = cell["axes"].get("isa", "auto")
        need(isa in ("auto", "avx2"), f"OpenVINO cannot be held to isa={isa}, only to avx2", "unsupported")
        if ov is None:
            if isa == "avx2":
                os.environ.update(ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2")
            import numpy as np
            import openvino as ov
            import openvino_graphs as graphs
            import safetensors_file as files
            self.isa = isa
        need(isa == self.isa, f"OpenVINO runs with isa={self.isa} already; a fresh worker is needed for {isa}")

    def bind(self, cell, path):
        axes, variant = cell["axes"], cell["variant"]
        precision = axes["precision"]
        need(variant in graphs.VARIANTS and variant in CASES, f"{variant} is not written for OpenVINO", "unsupported")
        need(precision != "int8" or processes.multiplies("int8", processes.processor_flags()) and self.isa == "auto",
             "OpenVINO quantises activations as it goes only where the processor has VNNI or AMX; here it would multiply in f32 "
             "(that is precision int8-weight)", "unsupported")
        tensors = files.read_tensors(path, files.BITS)
        files.expect_type(tensors, PRECISIONS[precision], precision, path)
        case = case_of(variant, tensors, axes)
        began = time.perf_counter_ns()
        # Where there is no bf16, the plugin cuts f32 off to make it, and does not round: the result then stays f32 until it is written.
        cut = precision == "bf16" and not (processes.multiplies("bf16", processes.processor_flags()) and self.isa == "auto")
        result = "<f4" if cut else PRECISIONS[precision]
        graph = graphs.build(variant, tensors, axes, TYPES[PRECISIONS[precision]], TYPES[result])
        compiled = ov.Core().compile_model(graph.model, "CPU", self.settings(precision))
        call = bound_call(compiled, graph, case, result)
        call()
        call()
        prepare_ns = time.perf_counter_ns() - began
        kernels = executed(compiled)
        busy = processes.busy_threads(call)
        need(busy <= self.threads, f"{busy} threads ran where {self.threads} were set", "internal")
        need(self.isa == "auto" or not any("avx512" in kernel or "amx" in kernel for kernel in kernels),
             f"OpenVINO dispatches to {', '.join(kernels)}, isa={self.isa} was set", "internal")
        support, reason = self.support(variant, precision, compiled, kernels)
        weight_bytes, activation_bytes, state_bytes = case.bytes(tensors, precision)
        def write(out, path):
            files.write_tensor(path, "out", files.bf16_bits(out) if cut else out, "BF16" if precision == "bf16" else None)
        return Bound(call, write, case.flops, compiled.get_property("INFERENCE_NUM_THREADS"),
                     "; ".join(kernels) or processes.widest(processes.processor_flags()),
                     weight_bytes, activation_bytes, state_bytes, unread_bytes=case.unread * ITEM_BYTES[precision],
                     support=support, reason=reason), prepare_ns

    def settings(self, precision):
        """One stream of as many threads as the cell says; a scale for each whole row of the activations where they are quantised."""
        hint = {"bf16": "bf16", "f16": "f16"}.get(precision, "f32")
        every_row = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": str((1 << 64) - 1 if precision == "int8" else 0)}
        return {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
                "EXECUTION_MODE_HINT": "ACCURACY" if hint == "f32" else "PERFORMANCE", **every_row}

    def support(self, variant, precision, compiled, kernels):
        told = compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("NUM_STREAMS")
        need(told == (self.threads, 1), f"OpenVINO has {told[0]} threads in {told[1]} streams, set were {self.threads} in 1", "internal")
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        wide = [kernel for kernel in kernels if kernel.endswith("_f32")]
        if precision in ("bf16", "f16") and (used != precision or wide):
            return "emulated", f"OpenVINO was asked for {precision} and executes {', '.join(wide) or used}"
        return "composed", None


def executed(compiled):
    """The kernels of the compiled model, as its plugin tells them."""
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    texts = [info["primitiveType"].astype(str) for info in infos if "primitiveType" in info]
    return sorted({text for text in texts if not text.startswith(("unknown", "undef"))})


def bound_call(compiled, graph, case, dtype):
    """A request whose inputs and output lie in memory that stays; the arrays are its own, so that a cache may be written in place."""
    request, kind = compiled.create_infer_request(), getattr(ov.Type, TYPES[dtype])
    held = []
    for port, (array, name) in enumerate(graph.inputs):
        tensor = ov.Tensor(array, list(array.shape), getattr(ov.Type, name))
        held.append((array, tensor))
        request.set_input_tensor(port, tensor)
    out = np.empty(case.out, dtype)
    tensor = ov.Tensor(out, list(out.shape), kind)
    request.set_output_tensor(0, tensor)

    def call(before=graph.before, infer=request.infer, kept=(graph, held, tensor)):
        if before:
            before()
        infer()
        return out
    return call


if __name__ == "__main__":
    worker_loop.main(OpenvinoWorker())
