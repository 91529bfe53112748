"""The variants that the NumPy worker computes: plain NumPy, written to be read beside the definitions.

Results are allocated in each call, as NumPy code does; what that costs is what a peer is there to show. Each function checks
its tensors and returns (call, shape of `out`, operations of one call), counted as Crossover's own cost model counts them: a
multiply-add as two, any other elementwise step (an exponential, too) as one. A tensor or axis that does not fit raises ValueError.
"""
import math

import numpy as np

ACTIVATION_FLOPS = {"none": 0, "relu": 1, "gelu": 4, "gelu-tanh": 8, "silu": 4, "relu-squared": 2, "sigmoid": 3}


def sizes(tensors, **layouts):
    """Matches shapes with letters: "bhnd" has four sides, "*d" any number and then d; a letter is one size everywhere."""
    if tensors.keys() != layouts.keys():
        raise ValueError(f"the inputs hold {sorted(tensors)}, this cell needs {sorted(layouts)}")
    found = {}
    for name, layout in layouts.items():
        shape, letters = tensors[name].shape, layout.lstrip("*")
        lead = len(shape) - len(letters)
        if 0 in shape or lead < 0 or (lead > 0 and letters == layout):
            raise ValueError(f"{name} has shape {shape}: it needs the sides {layout}, none of them empty")
        for letter, size in [("*", shape[:lead])] * (letters != layout) + list(zip(letters, shape[lead:])):
            if found.setdefault(letter, size) != size:
                raise ValueError(f"{name} has shape {shape}: side {letter} of {layout} is {found[letter]} elsewhere")
    return found


def axis(axes, name, *allowed):
    """The value of an axis; no default is made up for one that is missing."""
    if name not in axes or (allowed and axes[name] not in allowed):
        raise ValueError(f"axis {name} is {axes.get(name, 'missing')}" + (f", expected one of {allowed}" if allowed else ""))
    return axes[name]


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
    s = sizes(t, q="bhnd", k="bgmd", v="bgme")
    b, h, g, n, m, d, e = (s[letter] for letter in "bhgnmde")
    if h % g or (causal and n != m):
        raise ValueError(f"{h} query heads over {g} key heads, {n} queries over {m} keys: heads must divide, causal needs n = m")
    # Grouped heads: each key head serves h/g consecutive query heads, by broadcasting.
    q, k, v = t["q"].reshape(b, g, h // g, n, d), t["k"][:, :, None].swapaxes(-1, -2), t["v"][:, :, None]
    hidden = np.triu(np.ones((n, m), bool), 1) if causal else False

    def call():
        scores = np.matmul(q, k) * (1 / math.sqrt(d))
        np.copyto(scores, -np.inf, where=hidden)
        return np.matmul(softmax_rows(scores), v).reshape(b, h, n, e)
    # The masked half is computed and thrown away, so it counts.
    return call, (b, h, n, e), b * h * n * m * (2 * d + 2 * e + 5)


def ffn(t, axes):
    s = sizes(t, x="*d", w1="fd", b1="f", w2="df", b2="d")
    act = activation(axes, t["x"].dtype)
    flops = math.prod(s["*"]) * (s["f"] * (4 * s["d"] + 1 + ACTIVATION_FLOPS[axes["activation"]]) + s["d"])
    return lambda: act(t["x"] @ t["w1"].T + t["b1"]) @ t["w2"].T + t["b2"], t["x"].shape, flops


def linear(t, axes):
    s = sizes(t, x="*i", w="oi", b="o")
    act = activation(axes, t["x"].dtype)
    flops = math.prod(s["*"]) * s["o"] * (2 * s["i"] + 1 + ACTIVATION_FLOPS[axes["activation"]])
    return lambda: act(t["x"] @ t["w"].T + t["b"]), (*s["*"], s["o"]), flops


def layer_norm(t, axes):
    position, eps, x = axis(axes, "position", "plain", "post", "pre"), float(axis(axes, "eps")), t["x"]
    sizes(t, x="*d", gamma="d", beta="d", **({} if position == "plain" else {"residual": "*d"}))

    def call():
        y = x + t["residual"] if position == "post" else x
        y = y - y.mean(-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + eps) * t["gamma"] + t["beta"]
        return t["residual"] + y if position == "pre" else y
    return call, x.shape, x.size * (7 + (position != "plain"))


def no_norm(t, axes):
    if axis(axes, "position", "plain", "post", "pre") == "plain":
        sizes(t, x="*d")
        return t["x"].copy, t["x"].shape, 0
    sizes(t, x="*d", residual="*d")
    return lambda: t["x"] + t["residual"], t["x"].shape, t["x"].size


def softmax(t, axes):
    sizes(t, logits="*c")
    return lambda: softmax_rows(t["logits"]), t["logits"].shape, t["logits"].size * 5


def softmax_naive(t, axes):
    sizes(t, logits="*c")

    def call():
        e = np.exp(t["logits"])  # Overflows where the logits are large: that is what this variant shows.
        return e / e.sum(-1, keepdims=True)
    return call, t["logits"].shape, t["logits"].size * 5


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
