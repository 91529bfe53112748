"""What the peers' variants have in common, whatever library computes them: sides of tensors, shape of the result, operations of a call.

Operations are counted as Crossover's own cost model counts them, or rates could not be compared: a multiply-add as two, any other
elementwise step (an exponential, too) as one; of a window only what is seen, of a causal mask over materialised scores everything. A
tensor or axis that does not fit raises ValueError, a form of a variant that no peer here has NotImplementedError.
"""
import math
from dataclasses import dataclass, field

ACTIVATION_FLOPS = {"none": 0, "relu": 1, "gelu": 4, "gelu-tanh": 8, "silu": 4, "relu-squared": 2, "sigmoid": 3}
ITEM_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "int8": 4, "int8-weight": 4}
POSITIONS = ("plain", "post", "pre")


@dataclass
class Case:
    """A cell in figures."""

    out: tuple  # Shape of the result.
    flops: int
    weights: tuple = ()  # Names of matrices, which precision int8 holds in one byte an entry, with a scale a row.
    vectors: tuple = ()  # Names of biases, scales and tables.
    states: tuple = ()  # Names of what outlives a call.
    unused: tuple = ()  # Names in the file that only another form of the variant needs.
    indices: tuple = ()  # Names of numbers of tokens, four bytes each in whatever type they came.
    unread: int = 0  # Values of a table that no call reads.
    sides: dict = field(default_factory=dict)

    def bytes(self, tensors, precision):
        """(weights, activations, states) as declared: by shape and number type."""
        def count(names):
            return sum(math.prod(tensors[name].shape) for name in names)
        item, narrow = ITEM_BYTES[precision], precision in ("int8", "int8-weight")
        rows = sum(tensors[name].shape[0] for name in self.weights)
        weights = count(self.weights) + 4 * rows if narrow else item * count(self.weights)
        others = tensors.keys() - {*self.weights, *self.vectors, *self.states, *self.unused, *self.indices}
        activations = item * (count(others) + math.prod(self.out)) + 4 * count(self.indices)
        return weights + item * count(self.vectors), activations, item * count(self.states)


def sizes(tensors, **layouts):
    """Matches shapes with letters: "bhnd" has four sides, "*d" any number and then d; a letter is one size everywhere."""
    if tensors.keys() != layouts.keys():
        raise ValueError(f"the inputs hold {sorted(tensors)}, this cell needs {sorted(layouts)}")
    found = {}
    for name, layout in layouts.items():
        shape, letters = tuple(tensors[name].shape), layout.lstrip("*")
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


def count(axes, name):
    """The value of an axis that counts something."""
    value = axis(axes, name)
    if type(value) is not int or value < 1:
        raise ValueError(f"axis {name} is {value}, expected a count")
    return value


def activation(axes):
    return axis(axes, "activation", *ACTIVATION_FLOPS)


def attention(t, axes, causal=False, seen=None):
    """`seen` counts the pairs of queries and keys that are computed."""
    s = sizes(t, q="bhnd", k="bgmd", v="bgme")
    h, g, n, m = (s[letter] for letter in "hgnm")
    if h % g or (causal and n != m):
        raise ValueError(f"{h} query heads over {g} key heads, {n} queries over {m} keys: heads must divide, causal needs n = m")
    pairs = n * m if seen is None else seen(n)
    out = (s["b"], h, n, s["e"])
    return Case(out, s["b"] * h * pairs * (2 * s["d"] + 2 * s["e"] + 5), sides=s)


def flash_causal(t, axes):
    return attention(t, axes, True, lambda n: n * (n + 1) // 2)


def window(t, axes):
    def seen(n):
        reach = min(count(axes, "window"), n - 1)
        return n * (2 * reach + 1) - reach * (reach + 1)
    return attention(t, axes, True, seen)


def window_causal(t, axes):
    def seen(n):
        reach = min(count(axes, "window"), n)
        return n * reach - reach * (reach - 1) // 2
    return attention(t, axes, True, seen)


def decode(t, axes):
    """The given k and v hold all tokens; what a call reads of them is in the caches and in the new rows."""
    known = {name: t[name] for name in t.keys() - {"k", "v"}}
    s = sizes(known, q="bhud", k_new="bgud", v_new="bgud", k_cache="bgmd", v_cache="bgmd")
    if s["h"] % s["g"] or s["u"] != 1:
        raise ValueError(f"{s['u']} new tokens, {s['h']} query heads over {s['g']} key heads: heads must divide, and one token is new")
    out = tuple(t["q"].shape)
    flops = s["b"] * s["h"] * s["m"] * (4 * s["d"] + 5)
    return Case(out, flops, states=("k_cache", "v_cache"), unused=("k", "v"), sides=s)


def ffn(t, axes):
    s = sizes(t, x="*d", w1="fd", b1="f", w2="df", b2="d")
    flops = math.prod(s["*"]) * (s["f"] * (4 * s["d"] + 1 + ACTIVATION_FLOPS[activation(axes)]) + s["d"])
    return Case(tuple(t["x"].shape), flops, ("w1", "w2"), ("b1", "b2"), sides=s)


def swiglu(t, axes):
    s = sizes(t, x="*d", w1="fd", w3="fd", w2="df")
    return Case(tuple(t["x"].shape), math.prod(s["*"]) * s["f"] * (6 * s["d"] + 5), ("w1", "w2", "w3"), sides=s)


def linear(t, axes):
    s = sizes(t, x="*i", w="oi", b="o")
    flops = math.prod(s["*"]) * s["o"] * (2 * s["i"] + 1 + ACTIVATION_FLOPS[activation(axes)])
    return Case((*s["*"], s["o"]), flops, ("w",), ("b",), sides=s)


def norm(t, axes, each):
    position = axis(axes, "position", "plain", "post", "pre", "sandwich", "parallel", "deep-norm")
    if position not in POSITIONS:
        raise NotImplementedError(f"position {position} is not written for the peers, only {', '.join(POSITIONS)}")
    vectors = {name: "d" for name in ("gamma", "beta") if each and (name == "gamma" or axes.get("shift", "yes") == "yes")}
    s = sizes(t, x="*d", **vectors, **({} if position == "plain" else {"residual": "*d"}))
    out = tuple(t["x"].shape)
    return Case(out, math.prod(out) * (each + (position != "plain")), vectors=tuple(vectors), sides=s)


def rms_norm(t, axes):
    axis(axes, "shift", "yes", "no")
    return norm(t, axes, 4)


def add_norm(t, axes):
    return norm(t, {**axes, "position": "post"}, 7)


def softmax(t, axes):
    s = sizes(t, logits="*c")
    out = tuple(t["logits"].shape)
    return Case(out, math.prod(out) * 5, sides=s)


# What an encoder must be made of to be BERT's: other components are other models.
ORIGINAL = {"attention": "flash", "ffn": "dense(activation=gelu)", "norm": "layer-norm(eps=1e-12)", "linear": "dense",
            "norm_position": "post", "position": "learned", "biases": "yes", "embedding_norm": "yes", "embedding_scale": "one"}
EXACT_UP_TO = {"f64": 1 << 53, "f32": 1 << 24, "bf16": 1 << 8, "f16": 1 << 11, "int8": 1 << 24, "int8-weight": 1 << 24}


def encoder(t, axes):
    """Token numbers come in the file's number type, so a vocabulary must not be larger than what that counts to."""
    for name, value in ORIGINAL.items():
        if axis(axes, name) != value:
            raise NotImplementedError(f"{name} = {axes[name]} is not written for the peers, only {value}")
    precision, vocabulary = axis(axes, "precision"), count(axes, "vocabulary")
    if vocabulary > EXACT_UP_TO[precision]:
        raise NotImplementedError(f"a file in {precision} tells no token from its neighbour above {EXACT_UP_TO[precision]}: set vocabulary")
    d, f, h, g, layers = (count(axes, name) for name in ("d_model", "d_ff", "heads", "kv_heads", "layers"))
    if d % h or h % g:
        raise ValueError(f"{d} channels, {h} heads, {g} key heads: each must divide the one before")
    norm = {"gamma": "d", "beta": "d"}
    layer = {"q.weight": "dd", "q.bias": "d", "k.weight": "gd", "k.bias": "g", "v.weight": "gd", "v.bias": "g", "o.weight": "dd",
             "o.bias": "d", "ffn.w1": "fd", "ffn.b1": "f", "ffn.w2": "df", "ffn.b2": "d",
             **{f"{place}_norm.{name}": sides for place in ("attention", "ffn") for name, sides in norm.items()}}
    layouts = {"tokens": "bn", "embedding.tokens": "vd", "embedding.positions": "nd",
               **{f"embedding.norm.{name}": sides for name, sides in norm.items()},
               **{f"layers.{at}.{name}": sides for at in range(layers) for name, sides in layer.items()}}
    s = sizes(t, **layouts)
    b, n = s["b"], s["n"]
    if (s["d"], s["f"], s["g"], s["v"]) != (d, f, d // h * g, vocabulary):
        raise ValueError(f"the tensors are {s}, the axes say d_model={d}, d_ff={f}, kv_heads={g}, vocabulary={vocabulary}")
    weights = tuple(name for name, sides in layouts.items() if name.startswith("layers.") and len(sides) == 2)
    flops = b * n * (layers * (4 * d * (d + d * g // h) + 4 * d * f + 5 * f + 21 * d + n * (4 * d + 5 * h)) + 8 * d)
    vectors = tuple(layouts.keys() - {"tokens", *weights})
    return Case((b, n, d), flops, weights, vectors, indices=("tokens",), unread=max(0, (vocabulary - b * n) * d), sides=s)


CASES = {
    "attention/dense": attention,
    "attention/flash": attention,
    "attention/gqa": attention,
    "attention/causal": lambda t, axes: attention(t, axes, True),
    "attention/flash-causal": flash_causal,
    "attention/gqa-causal": flash_causal,
    "attention/window": window,
    "attention/window-causal": window_causal,
    "attention/decode": decode,
    "attention/decode-gqa": decode,
    "ffn/dense": ffn,
    "ffn/swiglu": swiglu,
    "linear/dense": linear,
    "model/encoder": encoder,
    "model/minilm-l6": encoder,
    "model/bert-base": encoder,
    "norm/layer-norm": lambda t, axes: norm(t, axes, 7),
    "norm/none": lambda t, axes: norm(t, axes, 0),
    "norm/rms-norm": rms_norm,
    "norm/add-norm-fused": add_norm,
    "norm/add-norm-unfused": add_norm,
    "softmax/stable": softmax,
    "softmax/naive": softmax,
}


def case_of(variant, tensors, axes):
    """The cell in figures."""
    case = CASES[variant](tensors, axes)
    if axes["precision"] in ("int8", "int8-weight") and not case.weights:
        raise NotImplementedError(f"there is no weight that {axes['precision']} could be about: it would be f32 under another name")
    return case
