"""The variants as graphs of OpenVINO's operators, written as its converters write them, so that the plugin finds what it can fuse."""
import math

import numpy as np
import openvino as ov
import openvino.opset13 as op


class Graph:
    """A model in the making. Weights become constants, which the compiler packs; activations become inputs.

    It is written in f32 whatever the type of its inputs, output and weights is, as OpenVINO's models are: where the hint and the processor
    allow, the plugin computes in the narrower type and drops the conversions.
    """

    def __init__(self, tensors, axes, kind):
        self.tensors, self.axes, self.kind = tensors, axes, kind
        self.inputs, self.parameters, self.before, self.model = [], [], None, None
        self.kept = []  # A constant reads the array that it was made of, which must outlive it.

    def input(self, name, array=None, kind=None):
        array = self.tensors[name] if array is None else array
        node = op.parameter(list(array.shape), getattr(ov.Type, kind or self.kind), name=name)
        self.inputs.append((array, kind or self.kind))
        self.parameters.append(node)
        return node if kind else self.widened(node)

    def widened(self, node):
        return node if self.kind == "f32" else op.convert(node, ov.Type.f32)

    def constant(self, array):
        self.kept.append(np.ascontiguousarray(array))
        return self.widened(op.constant(ov.Tensor(self.kept[-1], list(array.shape), getattr(ov.Type, self.kind))))

    def number(self, value):
        return op.constant(np.float32(value))

    def weight(self, name):
        """A matrix, in int8 codes with a scale a row where the precision says so."""
        array = self.tensors[name] if isinstance(name, str) else name
        if self.axes["precision"] not in ("int8", "int8-weight"):
            return self.constant(array)
        scale = np.abs(array).max(-1, keepdims=True) / np.float32(127)
        codes = np.rint(array / np.where(scale == 0, 1, scale)).astype(np.int8)
        return op.multiply(op.convert(op.constant(codes), ov.Type.f32), op.constant(scale.astype(np.float32)))

    def linear(self, x, weight, bias=None):
        y = op.matmul(x, self.weight(weight), False, True)
        return y if bias is None else op.add(y, self.constant(self.tensors[bias] if isinstance(bias, str) else bias))

    def activation(self, x, name):
        forms = {"none": lambda x: x, "relu": op.relu, "gelu": lambda x: op.gelu(x, "erf"), "gelu-tanh": lambda x: op.gelu(x, "tanh"),
                 "silu": self.swish, "relu-squared": lambda x: op.multiply(op.relu(x), op.relu(x)), "sigmoid": op.sigmoid}
        return forms[name](x)

    def swish(self, x):
        return op.swish(x, self.number(1))

    def layer_norm(self, x, gamma, beta, eps):
        y = op.mvn(x, op.constant(np.array([-1], np.int64)), True, eps, "inside_sqrt")
        return op.add(op.multiply(y, self.constant(self.tensors[gamma])), self.constant(self.tensors[beta]))

    def reshaped(self, x, *shape):
        return op.reshape(x, op.constant(np.array(shape, np.int64)), False)

    def swapped(self, x, *order):
        return op.transpose(x, op.constant(np.array(order, np.int64)))

    def shared(self, x, b, g, group, m, d):
        """Key heads repeated for the query heads that share them."""
        if group == 1:
            return x
        x = op.broadcast(self.reshaped(x, b, g, 1, m, d), op.constant(np.array([b, g, group, m, d], np.int64)), "BIDIRECTIONAL")
        return self.reshaped(x, b, g * group, m, d)


def heads(graph):
    (b, h, _, d), (_, g, m, _) = graph.tensors["q"].shape, graph.tensors["k"].shape
    q, k, v = (graph.input(name) for name in "qkv")
    return q, graph.shared(k, b, g, h // g, m, d), graph.shared(v, b, g, h // g, m, d)


def materialised(graph, causal=False):
    (_, _, n, d), m = graph.tensors["q"].shape, graph.tensors["k"].shape[2]
    q, k, v = heads(graph)
    scores = op.multiply(op.matmul(q, k, False, True), graph.number(1 / math.sqrt(d)))
    if causal:
        scores = op.add(scores, mask(np.tri(n, m, dtype=bool)))
    return op.matmul(op.softmax(scores, -1), v, False, False)


def mask(seen):
    return op.constant(np.where(seen, np.float32(0), np.float32(-np.inf)))


def fused(graph, causal=False):
    q, k, v = heads(graph)
    return op.scaled_dot_product_attention(q, k, v, causal=causal)


def window(graph, causal=False):
    """By a mask: the fused operator has no other way."""
    n, reach = graph.tensors["q"].shape[2], graph.axes["window"]
    away = np.arange(n)[:, None] - np.arange(n)[None]
    q, k, v = heads(graph)
    seen = (away >= 0) & (away < reach) if causal else np.abs(away) <= reach
    return op.scaled_dot_product_attention(q, k, v, mask(seen), causal=False)


def decode(graph):
    """The new key and value are written into the cache's memory before the model runs."""
    t = graph.tensors
    (b, h, _, d), (_, g, m, _) = t["q"].shape, t["k_cache"].shape
    q, k, v = (graph.input(name) for name in ("q", "k_cache", "v_cache"))

    def write_new():
        t["k_cache"][:, :, m - 1:] = t["k_new"]
        t["v_cache"][:, :, m - 1:] = t["v_new"]
    graph.before = write_new
    return op.scaled_dot_product_attention(q, graph.shared(k, b, g, h // g, m, d), graph.shared(v, b, g, h // g, m, d), causal=False)


def linear(graph):
    return graph.activation(graph.linear(graph.input("x"), "w", "b"), graph.axes["activation"])


def ffn(graph):
    return graph.linear(graph.activation(graph.linear(graph.input("x"), "w1", "b1"), graph.axes["activation"]), "w2", "b2")


def swiglu(graph):
    x = graph.input("x")
    return graph.linear(op.multiply(graph.swish(graph.linear(x, "w1")), graph.linear(x, "w3")), "w2")


def joined(graph, position, normalize):
    x = graph.input("x")
    if position == "plain":
        return normalize(x)
    residual = graph.input("residual")
    return normalize(op.add(x, residual)) if position == "post" else op.add(residual, normalize(x))


def layer_norm(graph, position=None):
    eps = float(graph.axes["eps"])
    return joined(graph, position or graph.axes["position"], lambda x: graph.layer_norm(x, "gamma", "beta", eps))


def rms_norm(graph):
    def normalize(x):
        squares = op.reduce_mean(op.multiply(x, x), op.constant(np.array([-1], np.int64)), True)
        y = op.multiply(x, op.divide(graph.number(1), op.sqrt(op.add(squares, graph.number(graph.axes["eps"])))))
        y = op.multiply(y, graph.constant(graph.tensors["gamma"]))
        return op.add(y, graph.constant(graph.tensors["beta"])) if "beta" in graph.tensors else y
    return joined(graph, graph.axes["position"], normalize)


def encoder(graph):
    """BERT's layout. Token numbers become integers before the timer, as a tokenizer would have left them."""
    t, axes = graph.tensors, graph.axes
    layers, heads_, g, d = (axes[name] for name in ("layers", "heads", "kv_heads", "d_model"))
    tokens = t["tokens"] if graph.kind != "bf16" else (t["tokens"].astype(np.uint32) << 16).view(np.float32)
    (b, n), e = tokens.shape, d // heads_
    numbers = graph.input("tokens", np.ascontiguousarray(tokens, dtype=np.int64), "i64")
    x = op.gather(graph.constant(t["embedding.tokens"]), numbers, op.constant(np.int64(0)))
    x = op.add(x, graph.constant(t["embedding.positions"]))
    x = graph.layer_norm(x, "embedding.norm.gamma", "embedding.norm.beta", 1e-12)
    for layer in range(layers):
        at = f"layers.{layer}."

        def by_head(name, count):
            y = graph.linear(x, f"{at}{name}.weight", f"{at}{name}.bias")
            return graph.swapped(graph.reshaped(y, b, n, count, e), 0, 2, 1, 3)
        q, k, v = by_head("q", heads_), by_head("k", g), by_head("v", g)
        k, v = (graph.shared(part, b, g, heads_ // g, n, e) for part in (k, v))
        y = graph.reshaped(graph.swapped(op.scaled_dot_product_attention(q, k, v, causal=False), 0, 2, 1, 3), b, n, d)
        x = op.add(x, graph.linear(y, at + "o.weight", at + "o.bias"))
        x = graph.layer_norm(x, at + "attention_norm.gamma", at + "attention_norm.beta", 1e-12)
        y = graph.linear(op.gelu(graph.linear(x, at + "ffn.w1", at + "ffn.b1"), "erf"), at + "ffn.w2", at + "ffn.b2")
        x = graph.layer_norm(op.add(x, y), at + "ffn_norm.gamma", at + "ffn_norm.beta", 1e-12)
    return x


VARIANTS = {
    "attention/dense": materialised,
    "attention/causal": lambda graph: materialised(graph, causal=True),
    "attention/flash": fused,
    "attention/gqa": fused,
    "attention/flash-causal": lambda graph: fused(graph, causal=True),
    "attention/gqa-causal": lambda graph: fused(graph, causal=True),
    "attention/window": window,
    "attention/window-causal": lambda graph: window(graph, causal=True),
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
    "softmax/stable": lambda graph: op.softmax(graph.input("logits"), -1),
}


def build(variant, tensors, axes, kind, out):
    """The finished graph, with a result of type `out`."""
    graph = Graph(tensors, axes, kind)
    result = VARIANTS[variant](graph)
    result = result if out == "f32" else op.convert(result, getattr(ov.Type, out))
    graph.model = ov.Model([result], graph.parameters, variant)
    return graph
