"""The worker of ONNX Runtime: a graph of one variant on its CPU provider, with constants as weights, which the session packs.

The messages are in worker_loop.py, the graphs in onnx_graphs.py.
"""
import sys

sys.dont_write_bytecode = True  # No cache files among the sources.

import processes
import worker_loop
from worker_loop import Bound, Told, need

ort = np = graphs = files = None  # Imported by `start`.


class OnnxWorker(worker_loop.Worker):
    name = "onnx-worker"
    engines = {"onnxruntime": "ONNX Runtime's CPU provider, all optimisations of graphs"}
    precisions = {"f32": "<f4", "int8": "<f4"}
    packages = ["onnxruntime", "onnx"]

    def start(self, cell, threads):
        global ort, np, graphs, files
        isa, widest = cell["axes"].get("isa", "auto"), processes.widest(processes.processor_flags())
        need(isa in ("auto", widest), f"ONNX Runtime takes the widest vectors that there are ({widest}), isa={isa} cannot be forced",
             "unsupported")
        processes.numpy_only_carries()
        import numpy as np
        import onnx_graphs as graphs
        import onnxruntime as ort
        import safetensors_file as files
        ort.set_default_logger_severity(3)

    def variants(self, engine):
        return graphs.VARIANTS

    def bind(self, cell, tensors, case):
        self.flags = processes.processor_flags()
        graph = graphs.build(cell["variant"], tensors, cell["axes"], case, processes.multiplies("int8", self.flags))
        self.session = ort.InferenceSession(graph.bytes(), self.options(), providers=["CPUExecutionProvider"],
                                            disabled_optimizers=["SkipLayerNormFusion"])

        def write(out, path):
            files.write_tensor(path, "out", np.ascontiguousarray(graph.unpack(out.numpy()).reshape(case.out)))
        return Bound(bound_call(self.session, graph), write)

    def tell(self, cell, bound):
        options = self.session.get_session_options()
        threads = (options.intra_op_num_threads, options.inter_op_num_threads)
        need(threads == (self.threads, 1), f"the session has {threads} threads where {self.threads} and 1 were set", "internal")
        # MLAS tells nothing of itself; it dispatches by the processor's flags.
        return Told(f"mlas by cpuid: {processes.widest(self.flags)}", threads[0])

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
