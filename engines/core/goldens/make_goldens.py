"""Makes the golden fixtures: small problems with the answers that PyTorch gives in float64.

One safetensors file a case, named `<family>-<variant>.<case>.safetensors`, with the inputs under the names of
`crossover apply` and the answer as `out`. The sizes are small and odd (1, 2, 3, 7, 17, 33, 65), so that every tail of a
kernel is met; a few sequences of 129 and 257 cross the block borders of streaming kernels. Here are the plain variants, in many
shapes; `attention_goldens.py` and `layer_goldens.py` have one or a few cases of each other one, from its definition.

Each case draws from a seed made of its own name: adding a case leaves all the others as they are. PyTorch runs on one
thread, and the files are written by hand with sorted names: two runs on one machine give the same bytes. Another processor
may give other last bits, as its matrix library adds in another order: to add cases there, write to another FOLDER and keep the new.

    python make_goldens.py [FOLDER]         (packages: requirements.txt; FOLDER defaults to this one)
"""

import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import attention_goldens
import causal_goldens
import layer_goldens
from cases import ACTIVATIONS, WRITTEN, Case, row

ROOM = 2_000_000  # Bytes for all files together: fixtures live in the repository.


def attention(folder, kind, name, q, kv, note="", scale=1.0, rising=None):
    """`q` is [batch, heads, seq, head_dim], `kv` is (heads, seq) of keys and values."""
    case = Case(f"attention/{kind}", name, note)
    batch, heads, _, dim = q
    query, key, value = case.draw(*q, scale=scale), case.draw(batch, kv[0], kv[1], dim), case.draw(batch, kv[0], kv[1], dim)
    if rising is not None:
        # Scores that grow (or fall) along the keys: a streaming kernel meets a new maximum in every block (or in the first only).
        query, key = query.abs(), key * 0.1 + row(*rising, kv[1])[:, None]
    with sdpa_kernel(SDPBackend.MATH):
        out = F.scaled_dot_product_attention(query, key, value, is_causal=kind.endswith("causal"), enable_gqa=kv[0] != heads)
    case.save(folder, q=query, k=key, v=value, out=out)


def attentions(folder):
    """Dense and causal attention; the streaming variants compute the same maths."""
    gqa = "k and v have fewer heads: each serves the same number of consecutive q heads"
    for kind in ["dense", "causal", "flash", "flash-causal"]:
        attention(folder, kind, "n1-d1", (1, 1, 1, 1), (1, 1))
        attention(folder, kind, "n2", (1, 1, 2, 3), (1, 2))
        attention(folder, kind, "n7", (1, 2, 7, 3), (2, 7))
        attention(folder, kind, "n17-batch2", (2, 3, 17, 7), (3, 17))
        attention(folder, kind, "n65-d33", (1, 1, 65, 33), (1, 65))
        attention(folder, kind, "n17-gqa", (2, 6, 17, 3), (2, 17), gqa)
        attention(folder, kind, "n7-mqa", (1, 3, 7, 2), (1, 7), gqa)
        attention(folder, kind, "n33-peaked", (1, 2, 33, 7), (2, 33), "scores with a standard deviation of about 10", scale=10.0)
        if kind in ["dense", "flash"]:
            attention(folder, kind, "n7-kv33", (1, 2, 7, 3), (2, 33), "more keys than queries")
            attention(folder, kind, "n33-kv3", (1, 1, 33, 7), (1, 3), "fewer keys than queries")
            attention(folder, kind, "n3-kv1", (2, 1, 3, 2), (1, 1), "one key: out is v")
        if kind.startswith("flash"):
            attention(folder, kind, "n129", (1, 1, 129, 3), (1, 129), "crosses the borders of blocks of 64 and 128")
            attention(folder, kind, "n129-rising", (1, 1, 129, 3), (1, 129), "scores grow along the keys", rising=(-30.0, 30.0))
            attention(folder, kind, "n129-falling", (1, 1, 129, 3), (1, 129), "scores fall along the keys", rising=(30.0, -30.0))
    attention(folder, "flash", "n17-kv257", (1, 1, 17, 3), (1, 257), "crosses the borders of blocks of 64, 128 and 256")


def ffn(folder, activation, name, lead, d_model, d_ff, scale=1.0, note=""):
    """`lead` is the shape of x without its last axis."""
    case = Case("ffn/dense", f"{activation}-{name}", note, activation=activation)
    x, b1, b2 = case.draw(*lead, d_model, scale=scale), case.draw(d_ff), case.draw(d_model)
    w1, w2 = case.draw(d_ff, d_model, scale=d_model**-0.5), case.draw(d_model, d_ff, scale=d_ff**-0.5)
    out = F.linear(ACTIVATIONS[activation](F.linear(x, w1, b1)), w2, b2)
    case.save(folder, x=x, w1=w1, b1=b1, w2=w2, b2=b2, out=out)


def ffns(folder):
    """The plain feed-forward network."""
    for activation in ["relu", "gelu", "gelu-tanh", "silu"]:
        ffn(folder, activation, "s1-d1-f1", (1, 1), 1, 1)
        ffn(folder, activation, "s7-d17-f33", (1, 7), 17, 33)
        ffn(folder, activation, "s3-d33-f65-batch2", (2, 3), 33, 65)
        ffn(folder, activation, "s17-d3-f7-wide", (1, 17), 3, 7, scale=30.0, note="the tails of the activation")
    ffn(folder, "gelu", "rank1", (), 7, 17)
    ffn(folder, "silu", "rank2", (17,), 7, 3)
    ffn(folder, "relu", "rank4", (2, 3, 1), 7, 2)


def layer_norm(folder, name, shape, position="plain", eps=1e-5, note="", make=None):
    """plain: LN(x); post: LN(x + residual); pre: residual + LN(x)."""
    case = Case("norm/layer-norm", name, note, position=position, eps=eps)
    x = make(case) if make else case.draw(*shape)
    gamma, beta = case.draw(shape[-1], shift=1.0), case.draw(shape[-1])
    tensors = {"x": x, "gamma": gamma, "beta": beta}
    if position != "plain":
        tensors["residual"] = case.draw(*shape)
    into = x + tensors["residual"] if position == "post" else x
    out = F.layer_norm(into, shape[-1:], gamma, beta, eps)
    case.save(folder, **tensors, out=tensors["residual"] + out if position == "pre" else out)


def norms(folder):
    """Layer norm in its positions, and no norm: x + residual."""
    for position in ["plain", "post", "pre"]:
        layer_norm(folder, f"{position}-s7-d33", (1, 7, 33), position)
        layer_norm(folder, f"{position}-s3-d2-batch2", (2, 3, 2), position)
        layer_norm(folder, f"{position}-s17-d65", (1, 17, 65), position)
    layer_norm(folder, "plain-d1", (1, 3, 1), note="one value a row: out is beta")
    layer_norm(folder, "post-eps1e-12", (1, 7, 17), "post", eps=1e-12)
    layer_norm(folder, "plain-eps1e-12-small", (1, 7, 17), eps=1e-12, make=lambda case: case.draw(1, 7, 17, scale=1e-6),
               note="values of about 1e-6: eps is as large as the variance")
    layer_norm(folder, "plain-large-mean", (1, 7, 33), make=lambda case: case.draw(1, 7, 33, shift=1e4),
               note="1e4 + N(0,1): cancellation; this out is itself off by 3e-12, so compare within 1e-11")
    layer_norm(folder, "plain-constant", (1, 3, 17), make=lambda case: torch.full((1, 3, 17), 3.0, dtype=torch.float64),
               note="constant rows: out is beta")
    layer_norm(folder, "plain-rank1", (17,))
    layer_norm(folder, "pre-rank2", (7, 3), "pre")
    layer_norm(folder, "post-rank4", (2, 1, 3, 7), "post")
    for name, shape in {"s7-d33": (1, 7, 33), "s1-d1": (1, 1, 1), "rank1": (7,), "rank2": (3, 17), "rank4": (2, 3, 1, 7)}.items():
        case = Case("norm/none", name, position="post")
        x, residual = case.draw(*shape), case.draw(*shape)
        case.save(folder, x=x, residual=residual, out=x + residual)


def softmax(folder, kind, name, shape, scale=1.0, note="", make=None):
    """Over the last axis. A row that is -inf throughout gives zeros here, where PyTorch gives NaN."""
    case = Case(f"softmax/{kind}", name, note)
    logits = make(case) if make else case.draw(*shape, scale=scale)
    masked = (logits == -math.inf).all(-1, keepdim=True)
    case.save(folder, logits=logits, out=F.softmax(logits, -1).masked_fill(masked, 0.0))


def extreme(case):
    """Values of +-700: their exponentials are near the ends of float64, and their differences underflow."""
    signs = torch.randint(0, 2, (1, 7, 33), generator=case.stream) * 2 - 1
    logits = case.draw(1, 7, 33) + 700.0 * signs
    logits[0, 0], logits[0, 1] = logits[0, 0].abs(), -logits[0, 1].abs()
    return logits


def with_masked(case, rows):
    """Some values -inf, the first and the last of a row among them; the rows named are -inf throughout."""
    logits = case.draw(2, 7, 17)
    logits[torch.rand(2, 7, 17, generator=case.stream) < 0.4] = -math.inf
    logits[..., 8] = case.draw(2, 7)  # No other row is masked throughout.
    logits[:, 1, 0] = logits[:, 2, -1] = logits[:, 3, :8] = -math.inf
    logits[:, rows] = -math.inf
    return logits


def softmaxes(folder):
    """Three ways to compute one function; the naive one only where its exponentials stay finite."""
    for kind in ["stable", "online", "naive"]:
        for rows, classes in [(1, 1), (7, 2), (3, 7), (7, 33), (2, 65), (1, 257)]:
            softmax(folder, kind, f"r{rows}-c{classes}", (1, rows, classes), scale=3.0)
        softmax(folder, kind, "r3-c17-batch2", (2, 3, 17))
        softmax(folder, kind, "rank1", (17,))
        softmax(folder, kind, "rank2", (3, 7))
        softmax(folder, kind, "rank4", (2, 1, 3, 7))
    for kind in ["stable", "online"]:
        softmax(folder, kind, "extreme", (), make=extreme, note="values near +700 and -700")
        softmax(folder, kind, "constant", (), make=lambda _: row(-700, 700, 3)[:, None].repeat(1, 1, 33), note="constant rows: out is 1/33")
        softmax(folder, kind, "rising", (), make=lambda case: row(-700, 700, 257) + case.draw(1, 3, 257),
                note="a new maximum almost every step")
        softmax(folder, kind, "some-masked", (), make=lambda case: with_masked(case, []), note="some values are -inf")
        softmax(folder, kind, "fully-masked", (), make=lambda case: with_masked(case, [0, 4]),
                note="rows 0 and 4 are -inf throughout; their out is zeros by this project's convention, not PyTorch's NaN")


def linear(folder, activation, name, lead, d_in, d_out, scale=1.0, note=""):
    """`lead` is the shape of x without its last axis."""
    case = Case("linear/dense", f"{activation}-{name}", note, activation=activation)
    x, w, b = case.draw(*lead, d_in, scale=scale), case.draw(d_out, d_in, scale=d_in**-0.5), case.draw(d_out)
    case.save(folder, x=x, w=w, b=b, out=ACTIVATIONS[activation](F.linear(x, w, b)))


def linears(folder):
    """A linear layer with an activation behind it."""
    for activation in ["none", "relu", "gelu", "gelu-tanh", "silu"]:
        linear(folder, activation, "s7-i17-o33", (1, 7), 17, 33)
        linear(folder, activation, "s17-i3-o7-wide", (1, 17), 3, 7, scale=30.0, note="the tails of the activation")
    linear(folder, "none", "s1-i1-o1", (1, 1), 1, 1)
    linear(folder, "none", "s3-i65-o2-batch2", (2, 3), 65, 2)
    linear(folder, "none", "s33-i2-o65", (1, 33), 2, 65)
    linear(folder, "gelu", "rank1", (), 17, 3)
    linear(folder, "none", "rank2", (7,), 33, 17)
    linear(folder, "relu", "rank4", (2, 1, 3), 7, 2)


def main():
    """Writes all cases and checks their size."""
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for family in [attentions, ffns, norms, softmaxes, linears, *attention_goldens.FAMILIES, *causal_goldens.FAMILIES, *layer_goldens.FAMILIES]:
        family(folder)
    files = sorted(folder.glob("*.safetensors"))
    strangers = [file.name for file in files if file.name not in WRITTEN]
    if strangers or len(files) != len(WRITTEN):
        sys.exit(f"{folder}: two cases of one name, or files that no case here makes (delete them): {strangers}")
    total = sum(file.stat().st_size for file in files)
    if total > ROOM:
        sys.exit(f"{folder}: {total} bytes of fixtures, more than the {ROOM} they may take; make the cases smaller")
    print(f"{len(files)} fixtures, {total} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
