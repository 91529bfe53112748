"""The variants as ONNX graphs, with the operators that ONNX Runtime's own optimiser of Transformers puts into exported models.

Activations are handed over in the layout that these operators want ([batch, tokens, heads x channels] for attention), as a model in ONNX
would have made them; the result is laid out as asked when it is written.
"""
import math

import numpy as np
from onnx import TensorProto, helper

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8,
         "int8": TensorProto.INT8}
OURS = {"domain": "com.microsoft"}


class Graph:
    """A graph in the making: each operator gives the name of its result."""

    def __init__(self, tensors, axes, case, signed):
        self.tensors, self.axes, self.sides = tensors, axes, case.sides
        self.int8, self.signed = axes["precision"] == "int8", signed
        self.nodes, self.constants, self.inputs, self.in_place = [], [], {}, {}
        self.out_shape, self.unpack = case.out, lambda out: out

    def op(self, kind, *inputs, name=None, **attributes):
        name = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name] if isinstance(name, str) else name, **attributes))
        return name

    def input(self, name, array=None):
        self.inputs[name] = np.ascontiguousarray(self.tensors[name] if array is None else array)
        return name

    def rows(self, name):
        """[.., width] as [rows, width]: products of matrices are fused with what follows them."""
        array = self.tensors[name]
        return self.input(name, array.reshape(-1, array.shape[-1]))

    def constant(self, array):
        array, name = np.ascontiguousarray(array), f"c{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, TYPES[array.dtype.name], array.shape, array.tobytes(), raw=True))
        return name

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def linear(self, x, weight, bias=None):
        y = self.int8_product(x, weight) if self.int8 else self.op("MatMul", x, self.constant(weight.T))
        return y if bias is None else self.op("Add", y, self.constant(bias))

    def int8_product(self, x, weight):
        """A scale for each row of both sides, symmetric, as precision int8 means it.

        `quantize_dynamic` writes one scale for the whole of x, which is another function. Codes of x stand around 128, as the products
        want one unsigned side; those of the weight too where the processor has no VNNI, because sums of pairs of unsigned and signed
        products saturate there.
        """
        scale = np.abs(weight).max(-1) / np.float32(127)
        codes = np.rint(weight / np.where(scale == 0, 1, scale)[:, None]).astype(np.int16).T
        kind, middle = (np.int8, 0) if self.signed else (np.uint8, 128)
        largest = self.op("ReduceMax", self.op("Abs", x), self.constant(np.array([-1], np.int64)), keepdims=1)
        step = self.op("Max", self.op("Div", largest, self.number(127)), self.number(np.finfo(np.float32).tiny))
        near = self.op("Add", self.op("Round", self.op("Div", x, step)), self.number(128))
        product = self.op("MatMulInteger", self.op("Cast", near, to=TensorProto.UINT8), self.constant((codes + middle).astype(kind)),
                          self.constant(np.array(128, np.uint8)), self.constant(np.array(middle, kind)))
        return self.op("Mul", self.op("Mul", self.op("Cast", product, to=TensorProto.FLOAT), step), self.constant(scale))

    def activation(self, x, name):
        forms = {"none": lambda: x, "relu": lambda: self.op("Relu", x), "gelu": lambda: self.op("Gelu", x, **OURS),
                 "gelu-tanh": lambda: self.op("FastGelu", x, **OURS), "silu": lambda: self.op("QuickGelu", x, alpha=1.0, **OURS),
                 "relu-squared": lambda: self.op("Mul", *[self.op("Relu", x)] * 2), "sigmoid": lambda: self.op("Sigmoid", x)}
        return forms[name]()

    def norm(self, x, at, eps):
        vectors = [self.constant(self.tensors[at + name]) for name in ("gamma", "beta")]
        return self.op("LayerNormalization", x, *vectors, axis=-1, epsilon=eps)

    def add_norm(self, x, residual, at, eps):
        return self.norm(self.op("Add", x, residual), at, eps)

    def bytes(self):
        values = [helper.make_tensor_value_info(name, TYPES[array.dtype.name], array.shape) for name, array in self.inputs.items()]
        results = [helper.make_tensor_value_info("out", TensorProto.FLOAT, self.out_shape)]
        results += [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.inputs[source].shape)
                    for name, source in self.in_place.items()]
        graph = helper.make_graph(self.nodes, "variant", values, results, self.constants)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=10).SerializeToString()


def by_token(array):
    """[batch, heads, tokens, channels] as [batch, tokens, heads x channels]."""
    b, h, n, d = array.shape
    return array.transpose(0, 2, 1, 3).reshape(b, n, h * d)


def heads(graph):
    """Queries, keys and values, tokens first."""
    s, t = graph.sides, graph.tensors
    graph.out_shape = (s["b"], s["n"], s["h"] * s["e"])
    graph.unpack = lambda out: out.reshape(s["b"], s["n"], s["h"], s["e"]).transpose(0, 2, 1, 3)
    return [graph.input(name, by_token(t[name])) for name in "qkv"]


def materialised(graph, causal=False):
    """The textbook form, over heads; grouped ones by broadcasting."""
    s, t = graph.sides, graph.tensors
    b, h, g, n, m, d = (s[letter] for letter in "bhgnmd")
    graph.out_shape = (b, g, h // g, n, s["e"])
    q = graph.input("q", t["q"].reshape(b, g, h // g, n, d))
    k, v = graph.input("k", t["k"][:, :, None].swapaxes(-1, -2)), graph.input("v", t["v"][:, :, None])
    scores = graph.op("Mul", graph.op("MatMul", q, k), graph.number(1 / math.sqrt(d)))
    if causal:
        scores = graph.op("Add", scores, graph.constant(np.where(np.tri(n, m, dtype=bool), 0, -np.inf).astype(np.float32)))
    return graph.op("MatMul", graph.op("Softmax", scores, axis=-1), v)


def fused(graph, causal=False):
    """MultiHeadAttention, and GroupQueryAttention (which is causal) where key heads are shared."""
    h, g = graph.sides["h"], graph.sides["g"]
    if h != g and not causal:
        raise NotImplementedError("ONNX Runtime's fused attention of shared key heads is causal only")
    if h != g:
        return grouped(graph, -1)
    return graph.op("MultiHeadAttention", *heads(graph), num_heads=h, unidirectional=int(causal), **OURS)


def grouped(graph, window):
    """All tokens at once, over an empty past."""
    s = graph.sides
    q, k, v = heads(graph)
    past = [graph.input(f"past_{name}", np.zeros((s["b"], s["g"], 0, s["d"]), np.float32)) for name in "kv"]
    lengths = graph.constant(np.full(s["b"], s["n"] - 1, np.int32)), graph.constant(np.array(s["n"], np.int32))
    return graph.op("GroupQueryAttention", q, k, v, *past, *lengths, name=["out", "present_k", "present_v"], num_heads=s["h"],
                    kv_num_heads=s["g"], local_window_size=window, **OURS)[0]


def window(graph):
    """By a bias, which is added to all scores: no operator has a window to both sides."""
    s, reach = graph.sides, graph.axes["window"]
    if s["h"] != s["g"]:
        raise NotImplementedError("ONNX Runtime's fused attention takes a bias with as many key heads as query heads only")
    away = np.arange(s["n"])[:, None] - np.arange(s["m"])[None]
    bias = graph.constant(np.where(np.abs(away) <= reach, 0, -np.inf).astype(np.float32)[None, None])
    return graph.op("MultiHeadAttention", *heads(graph), "", "", bias, num_heads=s["h"], **OURS)


def decode(graph):
    """A step over a cache that is written in place."""
    s, t = graph.sides, graph.tensors
    graph.out_shape, graph.unpack = (s["b"], 1, s["h"] * s["d"]), lambda out: out.reshape(t["q"].shape)
    new = [graph.input(name, by_token(t[name])) for name in ("q", "k_new", "v_new")]
    past = [graph.input(name) for name in ("k_cache", "v_cache")]
    lengths = graph.constant(np.full(s["b"], s["m"] - 1, np.int32)), graph.constant(np.array(s["m"], np.int32))
    graph.in_place = {"present_k": "k_cache", "present_v": "v_cache"}
    return graph.op("GroupQueryAttention", *new, *past, *lengths, name=["out", "present_k", "present_v"], num_heads=s["h"],
                    kv_num_heads=s["g"], **OURS)[0]


def by_rows(graph):
    graph.out_shape = (math.prod(graph.out_shape[:-1]), graph.out_shape[-1])


def linear(graph):
    by_rows(graph)
    y = graph.linear(graph.rows("x"), graph.tensors["w"], graph.tensors["b"])
    return graph.activation(y, graph.axes["activation"])


def ffn(graph):
    by_rows(graph)
    t = graph.tensors
    hidden = graph.activation(graph.linear(graph.rows("x"), t["w1"], t["b1"]), graph.axes["activation"])
    return graph.linear(hidden, t["w2"], t["b2"])


def swiglu(graph):
    by_rows(graph)
    x, t = graph.rows("x"), graph.tensors
    gate = graph.activation(graph.linear(x, t["w1"]), "silu")
    return graph.linear(graph.op("Mul", gate, graph.linear(x, t["w3"])), t["w2"])


def layer_norm(graph, position=None):
    position, eps, x = position or graph.axes["position"], float(graph.axes["eps"]), graph.input("x")
    if position == "plain":
        return graph.norm(x, "", eps)
    residual = graph.input("residual")
    return graph.add_norm(x, residual, "", eps) if position == "post" else graph.op("Add", residual, graph.norm(x, "", eps))


def rms_norm(graph):
    position, eps, t = graph.axes["position"], float(graph.axes["eps"]), graph.tensors
    x = graph.input("x")
    residual = None if position == "plain" else graph.input("residual")
    y = graph.op("Add", x, residual) if position == "post" else x
    y = graph.op("SimplifiedLayerNormalization", y, graph.constant(t["gamma"]), axis=-1, epsilon=eps, stash_type=1)
    y = graph.op("Add", y, graph.constant(t["beta"])) if "beta" in t else y
    return graph.op("Add", residual, y) if position == "pre" else y


def encoder(graph):
    """BERT's layout. Token numbers become integers before the timer, as a tokenizer would have left them."""
    t, axes = graph.tensors, graph.axes
    h, d, layers = axes["heads"], axes["d_model"], axes["layers"]
    if axes["kv_heads"] != h:
        raise NotImplementedError("ONNX Runtime's fused attention of shared key heads is causal only")
    tokens = graph.input("tokens", t["tokens"].astype(np.int64))
    x = graph.op("Add", graph.op("Gather", graph.constant(t["embedding.tokens"]), tokens), graph.constant(t["embedding.positions"]))
    x = graph.norm(x, "embedding.norm.", 1e-12)
    for layer in range(layers):
        at = f"layers.{layer}."
        q, k, v = (graph.linear(x, t[f"{at}{name}.weight"], t[f"{at}{name}.bias"]) for name in "qkv")
        y = graph.op("MultiHeadAttention", q, k, v, num_heads=h, **OURS)
        x = graph.add_norm(graph.linear(y, t[at + "o.weight"], t[at + "o.bias"]), x, at + "attention_norm.", 1e-12)
        y = graph.activation(graph.linear(x, t[at + "ffn.w1"], t[at + "ffn.b1"]), "gelu")
        x = graph.add_norm(graph.linear(y, t[at + "ffn.w2"], t[at + "ffn.b2"]), x, at + "ffn_norm.", 1e-12)
    return x


VARIANTS = {
    "attention/dense": materialised,
    "attention/causal": lambda graph: materialised(graph, causal=True),
    "attention/flash": fused,
    "attention/gqa": fused,
    "attention/flash-causal": lambda graph: fused(graph, causal=True),
    "attention/gqa-causal": lambda graph: fused(graph, causal=True),
    "attention/window": window,
    "attention/window-causal": lambda graph: grouped(graph, graph.axes["window"]),
    "attention/decode": decode,
    "attention/decode-gqa": decode,
    "ffn/dense": ffn,
    "ffn/swiglu": swiglu,
    "linear/dense": linear,
    "model/encoder": encoder,
    "model/minilm-l6": encoder,
    "model/bert-base": encoder,
    "norm/layer-norm": layer_norm,
    "norm/add-norm-fused": lambda graph: layer_norm(graph, "post"),
    "norm/rms-norm": rms_norm,
    "softmax/stable": lambda graph: graph.op("Softmax", graph.input("logits"), axis=-1),
}


def build(variant, tensors, axes, case, signed):
    """The finished graph, whose result is called `out`."""
    graph = Graph(tensors, axes, case, signed)
    result = VARIANTS[variant](graph)
    if result != "out":
        graph.op("Identity", result, name="out")
    return graph
