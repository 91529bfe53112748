"""The worker of ONNX Runtime: a graph of one variant on its CPU provider, with constants as weights, which the session packs.

The messages are in worker_loop.py, the graphs in onnx_graphs.py.
"""
import sys
import time

sys.dont_write_bytecode = True  # No cache files among the sources.

import processes
import worker_loop
from cases import CASES, ITEM_BYTES, case_of
from worker_loop import Bound, need

PRECISIONS = {"f32": "<f4", "int8": "<f4"}
ort = np = graphs = files = None  # Imported by `start`.


class OnnxWorker(worker_loop.Worker):
    name = "onnx-worker"
    engines = {"onnxruntime": "ONNX Runtime's CPU provider, all optimisations of graphs"}
    precisions = list(PRECISIONS)
    packages = ["onnxruntime", "onnx"]

    def start(self, cell, threads):
        global ort, np, graphs, files
        need(cell["variant"] in CASES, f"{cell['variant']} is not written for the peers", "unsupported")
        isa, widest = cell["axes"].get("isa", "auto"), processes.widest(processes.processor_flags())
        need(isa in ("auto", widest), f"ONNX Runtime takes the widest vectors that there are ({widest}), isa={isa} cannot be forced",
             "unsupported")
        import numpy as np
        import onnx_graphs as graphs
        import onnxruntime as ort
        import safetensors_file as files
        ort.set_default_logger_severity(3)

    def bind(self, cell, path):
        axes, variant = cell["axes"], cell["variant"]
        precision, flags = axes["precision"], processes.processor_flags()
        need(variant in graphs.VARIANTS and variant in CASES, f"{variant} is not written for ONNX Runtime", "unsupported")
        tensors = files.read_tensors(path)
        files.expect_type(tensors, PRECISIONS[precision], precision, path)
        case = case_of(variant, tensors, axes)
        began = time.perf_counter_ns()
        graph = graphs.build(variant, tensors, axes, case, processes.multiplies("int8", flags))
        session = ort.InferenceSession(graph.bytes(), self.options(), providers=["CPUExecutionProvider"],
                                       disabled_optimizers=["SkipLayerNormFusion"])
        call = bound_call(session, graph)
        call()
        call()
        prepare_ns = time.perf_counter_ns() - began
        told = session.get_session_options()
        threads = (told.intra_op_num_threads, told.inter_op_num_threads)
        need(threads == (self.threads, 1), f"the session has {threads} threads where {self.threads} and 1 were set", "internal")
        busy = processes.busy_threads(call)
        need(busy <= self.threads, f"{busy} threads ran where {self.threads} were set", "internal")
        weight_bytes, activation_bytes, state_bytes = case.bytes(tensors, precision)

        def write(out, path):
            files.write_tensor(path, "out", np.ascontiguousarray(graph.unpack(out.numpy()).reshape(case.out)))
        # MLAS tells nothing of itself; it dispatches by the processor's flags.
        return Bound(call, write, case.flops, self.threads, f"mlas by cpuid: {processes.widest(flags)}", weight_bytes, activation_bytes,
                     state_bytes, unread_bytes=case.unread * ITEM_BYTES[precision]), prepare_ns

    def options(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Idle threads sleep: a waiting worker must not spin beside the one that is timed.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        return options


def bound_call(session, graph):
    """Inputs and output lie in memory that stays; what is both (a cache) is bound as both."""
    binding = session.io_binding()
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in graph.inputs.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name, source in graph.in_place.items():
        binding.bind_ortvalue_output(name, values[source])
    out = ort.OrtValue.ortvalue_from_numpy(np.empty(graph.out_shape, np.float32))
    binding.bind_ortvalue_output("out", out)

    def call(run=session.run_with_iobinding, kept=(session, values)):
        run(binding)
        return out
    return call


if __name__ == "__main__":
    worker_loop.main(OnnxWorker())
