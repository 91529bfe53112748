"""The worker of OpenVINO: a model of one variant, compiled for the CPU with one stream, its weights packed by the compiler.

The messages are in worker_loop.py, the graphs in openvino_graphs.py. The plugin takes precision as a hint and may compute in another one:
what it really executes is read from the compiled model, and told.
"""
import os
import sys

sys.dont_write_bytecode = True  # No cache files among the sources.

import processes
import worker_loop
from worker_loop import Bound, Told, need

TYPES = {"<f4": "f32", "<u2": "bf16", "<f2": "f16"}
ov = np = graphs = files = None  # Imported by `start`.


class OpenvinoWorker(worker_loop.Worker):
    name = "openvino-worker"
    engines = {"openvino": "OpenVINO's CPU plugin, one stream, compiled for the shapes"}
    precisions = {"f32": "<f4", "bf16": "<u2", "f16": "<f2", "int8": "<f4", "int8-weight": "<f4"}
    packages = ["openvino"]

    def start(self, cell, threads):
        global ov, np, graphs, files
        isa = cell["axes"].get("isa", "auto")
        need(isa in ("auto", "avx2"), f"OpenVINO cannot be held to isa={isa}, only to avx2", "unsupported")
        if ov is None:
            if isa == "avx2":
                os.environ.update(ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2")
            processes.numpy_only_carries()
            import numpy as np
            import openvino as ov
            import openvino_graphs as graphs
            import safetensors_file as files
            self.isa = isa
        need(isa == self.isa, f"OpenVINO runs with isa={self.isa} already; a fresh worker is needed for {isa}")

    def variants(self, engine):
        return graphs.VARIANTS

    def bind(self, cell, tensors, case):
        precision = cell["axes"]["precision"]
        need(precision != "int8" or self.multiplies(precision),
             "OpenVINO quantises activations as it goes only where the processor has VNNI or AMX; here it would multiply in f32 "
             "(that is precision int8-weight)", "unsupported")
        # Where there is no bf16, the plugin cuts f32 off to make it, and does not round: the result then stays f32 until it is written.
        cut = precision == "bf16" and not self.multiplies(precision)
        kind = self.precisions[precision]
        result = "<f4" if cut else kind
        graph = graphs.build(cell["variant"], tensors, cell["axes"], TYPES[kind], TYPES[result])
        self.compiled = ov.Core().compile_model(graph.model, "CPU", self.settings(precision))

        def write(out, path):
            files.write_tensor(path, "out", files.bf16_bits(out) if cut else out, "BF16" if precision == "bf16" else None)
        return Bound(bound_call(self.compiled, graph, case, result), write)

    def multiplies(self, precision):
        """Does the processor have products of this type, and is OpenVINO not held to less?"""
        return self.isa == "auto" and processes.multiplies(precision, processes.processor_flags())

    def settings(self, precision):
        """One stream of as many threads as the cell says; a scale for each whole row of the activations where they are quantised."""
        hint = {"bf16": "bf16", "f16": "f16"}.get(precision, "f32")
        every_row = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": str((1 << 64) - 1 if precision == "int8" else 0)}
        return {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
                "EXECUTION_MODE_HINT": "ACCURACY" if hint == "f32" else "PERFORMANCE", **every_row}

    def tell(self, cell, bound):
        kernels, precision = executed(self.compiled), cell["axes"]["precision"]
        need(self.isa == "auto" or not any("avx512" in kernel or "amx" in kernel for kernel in kernels),
             f"OpenVINO dispatches to {', '.join(kernels)}, isa={self.isa} was set", "internal")
        threads = self.compiled.get_property("INFERENCE_NUM_THREADS"), self.compiled.get_property("NUM_STREAMS")
        need(threads == (self.threads, 1), f"OpenVINO has {threads[0]} threads in {threads[1]} streams, set were {self.threads} in 1",
             "internal")
        told = Told("; ".join(kernels) or processes.widest(processes.processor_flags()), threads[0])
        used = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        wide = [kernel for kernel in kernels if kernel.endswith("_f32")]
        if precision in ("bf16", "f16") and (used != precision or wide):
            told.support, told.reason = "emulated", f"OpenVINO was asked for {precision} and executes {', '.join(wide) or used}"
        return told


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
