"""The variants in PyTorch: functions of the operators that a user would call, eager or compiled.

A function of this file takes the cell's tensors and axes, and returns what to keep as weights (by name), and a function of them and of the
activations. `bind` makes a call of it. Results are allocated in each call, from memory that the C library keeps (processes.py).
"""
import torch
import torch.nn.functional as F

import torch_attention
import torch_encoder
from torch_linear import linear_layer

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
               "relu-squared": lambda x: F.relu(x).square(), "sigmoid": torch.sigmoid}


class Problem(torch.nn.Module):
    """Weights as parameters, so that the compiler may freeze and pack them, around a function of them and the activations."""

    def __init__(self, weights, function):
        super().__init__()
        for name, tensor in weights.items():
            self.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=False))
        self.function = function

    def forward(self, *inputs):
        return self.function(self, *inputs)


def bind(engine, make, tensors, axes):
    """A call over the activations as they lie."""
    weights, inputs, function = make(tensors, axes)
    problem = Problem(weights, function).eval()
    if engine != "torch":
        import torch._inductor.config as inductor
        inductor.freezing = engine == "torch-compile"  # Packs the weights for MKL and oneDNN.
        problem = torch.compile(problem, fullgraph=True, dynamic=False)
    return lambda: problem(*inputs)


def linear(t, axes):
    activation = ACTIVATIONS[axes["activation"]]
    weights, apply = linear_layer(t, "w", "b", axes["precision"])
    return weights, [t["x"]], lambda own, x: activation(apply(own, x))


def ffn(t, axes):
    activation = ACTIVATIONS[axes["activation"]]
    first, up = linear_layer(t, "w1", "b1", axes["precision"])
    second, down = linear_layer(t, "w2", "b2", axes["precision"])
    return first | second, [t["x"]], lambda own, x: down(own, activation(up(own, x)))


def swiglu(t, axes):
    layers = [linear_layer(t, name, None, axes["precision"]) for name in ("w1", "w3", "w2")]
    weights = {name: tensor for layer, _ in layers for name, tensor in layer.items()}
    gate, up, down = (apply for _, apply in layers)
    return weights, [t["x"]], lambda own, x: down(own, F.silu(gate(own, x)) * up(own, x))


def joined(t, position, normalize):
    """A norm where it joins the residual stream."""
    if position == "plain":
        return [t["x"]], lambda own, x: normalize(own, x)
    if position == "post":
        return [t["x"], t["residual"]], lambda own, x, residual: normalize(own, x + residual)
    return [t["x"], t["residual"]], lambda own, x, residual: residual + normalize(own, x)


def layer_norm(t, axes, position=None):
    eps, width = float(axes["eps"]), t["x"].shape[-1:]
    inputs, function = joined(t, position or axes["position"], lambda own, x: F.layer_norm(x, width, own.gamma, own.beta, eps))
    return {"gamma": t["gamma"], "beta": t["beta"]}, inputs, function


def rms_norm(t, axes):
    eps, width, shift = float(axes["eps"]), t["x"].shape[-1:], axes["shift"] == "yes"

    def normalize(own, x):
        y = F.rms_norm(x, width, own.gamma, eps)
        return y + own.beta if shift else y
    inputs, function = joined(t, axes["position"], normalize)
    return {name: t[name] for name in ("gamma", "beta") if name in t}, inputs, function


def no_norm(t, axes):
    inputs, function = joined(t, axes["position"], lambda own, x: x)
    return {}, inputs, function if len(inputs) > 1 else lambda own, x: x.clone()


def softmax(t, axes):
    return {}, [t["logits"]], lambda own, logits: torch.softmax(logits, -1)


DENSE = {
    "attention/dense": torch_attention.materialised,
    "attention/causal": lambda t, axes: torch_attention.materialised(t, axes, causal=True),
    "attention/flash": torch_attention.fused,
    "attention/gqa": torch_attention.fused,
    "attention/flash-causal": lambda t, axes: torch_attention.fused(t, axes, causal=True),
    "attention/gqa-causal": lambda t, axes: torch_attention.fused(t, axes, causal=True),
    "attention/window": torch_attention.masked,
    "attention/window-causal": lambda t, axes: torch_attention.masked(t, axes, causal=True),
    "attention/decode": torch_attention.decode,
    "attention/decode-gqa": torch_attention.decode,
    "ffn/dense": ffn,
    "ffn/swiglu": swiglu,
    "linear/dense": linear,
    "model/encoder": torch_encoder.encoder,
    "model/minilm-l6": torch_encoder.encoder,
    "model/bert-base": torch_encoder.encoder,
    "norm/layer-norm": layer_norm,
    "norm/add-norm-fused": lambda t, axes: layer_norm(t, axes, "post"),
    "norm/add-norm-unfused": lambda t, axes: layer_norm(t, axes, "post"),
    "norm/rms-norm": rms_norm,
    "norm/none": no_norm,
    "softmax/stable": softmax,
}
FLEX = {
    "attention/flash": torch_attention.flex,
    "attention/gqa": torch_attention.flex,
    "attention/flash-causal": lambda t, axes: torch_attention.flex(t, axes, "causal"),
    "attention/gqa-causal": lambda t, axes: torch_attention.flex(t, axes, "causal"),
    "attention/window": lambda t, axes: torch_attention.flex(t, axes, "window"),
    "attention/window-causal": lambda t, axes: torch_attention.flex(t, axes, "window-causal"),
}
# Eager operators do not fuse a sum with a norm.
EAGER = {name: make for name, make in DENSE.items() if name != "norm/add-norm-fused"}
VARIANTS = {"torch": EAGER, "torch-compile": DENSE, "torch-flex": FLEX}


def has_products(variant):
    return variant.split("/")[0] in ("attention", "ffn", "linear", "model")
