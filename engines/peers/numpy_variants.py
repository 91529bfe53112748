"""The variants that the NumPy worker computes: plain NumPy, written to be read beside the definitions.

Results are allocated in each call, as NumPy code does; what that costs is what a peer is there to show. Each function takes tensors
that cases.py has checked, and returns the call.
"""
import math

import numpy as np

from cases import axis


def complementary_error_function(dtype):
    """erfc, which NumPy lacks: a table over 0..12 (beyond lies nothing) and Taylor steps of 1/32 at most, in the cell's own precision."""
    grid = np.arange(193) / 16
    terms, before, here = [[math.erfc(x) for x in grid]], 0 * grid, -2 / math.sqrt(math.pi) * np.exp(-grid * grid)
    for k in range(16):  # The derivatives of erfc are its slope times Hermite polynomials, by their recurrence.
        terms.append((-1) ** k * here / math.factorial(k + 1))
        before, here = here, 2 * grid * here - 2 * k * before
    terms = np.array(terms, dtype)

    def erfc(x):
        size = np.fmin(np.abs(x), 12)
        nearest = np.rint(size * 16)
        step, at = size - nearest / 16, nearest.astype(np.intp)
        y = terms[-1][at]
        for term in terms[-2::-1]:
            y = y * step + term[at]
        return np.where(x < 0, 2 - y, y)
    return erfc


def activation(axes, dtype):
    erfc = complementary_error_function(dtype)
    table = {"none": lambda x: x, "relu": lambda x: np.maximum(x, 0), "silu": lambda x: x / (1 + np.exp(-x)),
             "gelu": lambda x: 0.5 * x * erfc(-math.sqrt(0.5) * x),  # 1 + erf would cancel below zero.
             "gelu-tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
             "relu-squared": lambda x: np.square(np.maximum(x, 0)), "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    return table[axis(axes, "activation", *table)]


def softmax_rows(x):
    top = x.max(-1, keepdims=True)
    e = np.exp(x - np.where(top == -np.inf, x.dtype.type(0), top))
    total = e.sum(-1, keepdims=True)
    e /= np.where(total == 0, x.dtype.type(1), total)  # A row that is masked throughout gives zeros.
    return e


def attention(t, axes, causal=False):
    (b, h, n, d), (_, g, m, e) = t["q"].shape, t["v"].shape
    # Grouped heads: each key head serves h/g consecutive query heads, by broadcasting.
    q, k, v = t["q"].reshape(b, g, h // g, n, d), t["k"][:, :, None].swapaxes(-1, -2), t["v"][:, :, None]
    hidden = np.triu(np.ones((n, m), bool), 1) if causal else False

    def call():
        scores = np.matmul(q, k) * (1 / math.sqrt(d))
        np.copyto(scores, -np.inf, where=hidden)
        return np.matmul(softmax_rows(scores), v).reshape(b, h, n, e)
    return call


def ffn(t, axes):
    act = activation(axes, t["x"].dtype)
    return lambda: act(t["x"] @ t["w1"].T + t["b1"]) @ t["w2"].T + t["b2"]


def linear(t, axes):
    act = activation(axes, t["x"].dtype)
    return lambda: act(t["x"] @ t["w"].T + t["b"])


def layer_norm(t, axes):
    position, eps, x = axis(axes, "position"), float(axis(axes, "eps")), t["x"]

    def call():
        y = x + t["residual"] if position == "post" else x
        y = y - y.mean(-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + eps) * t["gamma"] + t["beta"]
        return t["residual"] + y if position == "pre" else y
    return call


def no_norm(t, axes):
    return t["x"].copy if axis(axes, "position") == "plain" else lambda: t["x"] + t["residual"]


def softmax(t, axes):
    return lambda: softmax_rows(t["logits"])


def softmax_naive(t, axes):
    def call():
        e = np.exp(t["logits"])  # Overflows where the logits are large: that is what this variant shows.
        return e / e.sum(-1, keepdims=True)
    return call


VARIANTS = {
    "attention/dense": attention,
    "attention/causal": lambda t, axes: attention(t, axes, causal=True),
    "ffn/dense": ffn,
    "linear/dense": linear,
    "norm/layer-norm": layer_norm,
    "norm/none": no_norm,
    "softmax/stable": softmax,
    "softmax/naive": softmax_naive,
}
