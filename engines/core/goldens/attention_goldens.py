"""Golden cases of the attention and position variants, each from its definition: in the open, over whole score matrices.

What streams, chunks or sums first in the engines is written out in full here: a mask, a kernel matrix, a loop over tokens.
The definitions are those of the papers, as the module heads of the variants name and map them.
"""

import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from cases import Case, int_codes

DIM = 4
SHAPE, KV = (1, 2, 17, DIM), (1, 17)  # [batch, heads, n, head_dim], and heads and rows of keys: two query heads share one of keys.
ALIKE = ((2, 2, 12, DIM), (2, 12))  # As many key heads as query heads, and a length with divisors.
CROSS = ((2, 2, 7, DIM), (1, 12))


def attended(folder, variant, name, answer, shape=SHAPE, kv=KV, note="", extra=None, scale=1.0, **params):
    """Draws q, k, v and what `extra` draws; `answer` gets them by position and by name."""
    case = Case(variant if "/" in variant else f"attention/{variant}", name, note, **params)
    batch, _, _, dim = shape
    q, k, v = case.draw(*shape, scale=scale), case.draw(batch, *kv, dim), case.draw(batch, *kv, dim)
    more = extra(case) if extra else {}
    case.save(folder, q=q, k=k, v=v, **more, out=answer(q, k, v, **more))


def exact(q, k, v, mask=None, causal=False):
    """PyTorch's own attention; `mask` is true where a pair takes part, or numbers to add."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=k.shape[1] != q.shape[1])


def spread(x, heads):
    """Each key head for each of its query heads."""
    return x.repeat_interleave(heads // x.shape[1], 1)


def scores(q, k):
    """q k^T / sqrt(d) of all heads."""
    return q @ spread(k, q.shape[1]).mT / math.sqrt(q.shape[-1])


def mixed(weights, v):
    """Weights times values."""
    return weights @ spread(v, weights.shape[1])


def places(n):
    """Query i as a column, key j as a row."""
    return torch.arange(n)[:, None], torch.arange(n)[None, :]


def patterns(folder):
    """Fixed patterns: PyTorch's attention under a mask."""
    i, j = places(17)
    near, past = (i - j).abs(), i >= j
    masks = {
        ("window", "w3"): (near <= 3, {"window": 3}),
        ("window-causal", "w3"): (past & (near < 3), {"window": 3}),
        ("dilated-window", "w2-d3"): ((near <= 6) & (near % 3 == 0), {"window": 2, "dilation": 3}),
        ("dilated-window-causal", "w3-d2"): (past & (near < 6) & (near % 2 == 0), {"window": 3, "dilation": 2}),
        ("sparse-strided", "s4"): (past & ((near < 4) | (near % 4 == 0)), {"stride": 4}),
        ("sparse-fixed", "b5-s2"): (past & ((i // 5 == j // 5) | (j % 5 >= 3)), {"block": 5, "summary": 2}),
        ("longformer", "w2-g3"): ((near <= 2) | (i < 3) | (j < 3), {"window": 2, "global": 3}),
        ("longformer-causal", "w2-g3"): (past & ((near < 2) | (j < 3)), {"window": 2, "global": 3}),
    }
    own = {"block": 5, "density": 0.01}  # So few that each block of queries sees its own keys only: nothing is drawn.
    masks["block-sparse", "own-block"] = (i // 5 == j // 5, own)
    masks["block-sparse-causal", "own-block"] = (past & (i // 5 == j // 5), own)
    for (variant, name), (mask, params) in masks.items():
        attended(folder, variant, name, lambda q, k, v: exact(q, k, v, mask), **params)
    padded = lambda q, k, v: exact(q, k, v, (j < 12).expand(17, 17))
    attended(folder, "padding-mask", "v0.7", padded, note="12 of 17 keys: 0.7 * 17 rounded up", valid=0.7)
    some = lambda case: {"bias": case.draw(7, 12).masked_fill(torch.rand(7, 12, generator=case.stream) < 0.3, -math.inf)}
    attended(folder, "arbitrary-mask", "some", lambda q, k, v, bias: exact(q, k, v, bias), *CROSS,
             note="a bias that hides some pairs", extra=some)
    for variant in ["cross", "cross-flash"]:
        attended(folder, variant, "n7-kv12", exact, *CROSS)
    attended(folder, "prefill", "n17", lambda q, k, v: exact(q, k, v, causal=True))
    attended(folder, "position/none", "causal", lambda q, k, v: exact(q, k, v, causal=True), *ALIKE, mask="causal")
    attended(folder, "position/none", "full", exact, *ALIKE)


def shared_heads(folder):
    """Pooled, cached and pruned heads."""
    pool = lambda x, groups: x.unflatten(1, (groups, -1)).mean(2)
    four, one = (2, 4, 7, DIM), (2, 4, 1, DIM)
    for suffix, causal in [("", False), ("-causal", True)]:
        attended(folder, f"gqa{suffix}", "g2", lambda q, k, v: exact(q, pool(k, 2), pool(v, 2), causal=causal), four, (4, 7), groups=2)
        attended(folder, f"mqa{suffix}", "n7", lambda q, k, v: exact(q, pool(k, 1), pool(v, 1), causal=causal), four, (4, 7))
        attended(folder, f"mla{suffix}", "r5", lambda q, k, v: exact(q, *latent(k, v, 5), causal=causal), rank=5)
    attended(folder, "decode", "kv17", exact, one, (2, 17))
    attended(folder, "decode-gqa", "g2", lambda q, k, v: exact(q, pool(k, 2), pool(v, 2)), one, (4, 17), groups=2)
    attended(folder, "decode-window", "w5", lambda q, k, v: exact(q, k[:, :, -5:], v[:, :, -5:]), one, (2, 17), window=5)
    attended(folder, "decode-mla", "r5", lambda q, k, v: exact(q, *latent(k, v, 5)), one, (2, 17), rank=5)

    def coded(q, k, v):
        # All tokens but the newest are whole numbers of steps: keys by row, values by channel.
        old = lambda x, axis: torch.cat([int_codes(x[:, :, :-1], axis, 127), x[:, :, -1:]], 2)
        return exact(q, old(k, -1), old(v, -2))

    attended(folder, "decode-int8", "kv17", coded, one, (2, 17))

    def pruned(q, k, v):
        size = lambda x: x.square().sum((0, 2, 3)).sqrt()
        kept = (size(q) * size(k) * size(v)).topk(2).indices
        return torch.zeros_like(q).index_copy(1, kept, exact(q, k, v)[:, kept])

    attended(folder, "head-pruning", "k2", pruned, four, (4, 7), note="heads are ranked by |q| |k| |v|; the others give zeros", keep=2)


def latent(k, v, rank):
    """Keys and values of all heads, side by side, cut after `rank` singular values."""
    batch, heads, n, dim = k.shape
    u, s, w = torch.linalg.svd(torch.cat([k, v], 1).permute(0, 2, 1, 3).reshape(batch * n, -1), full_matrices=False)
    cut = (u[:, :rank] * s[:rank]) @ w[:rank]
    return cut.view(batch, n, 2 * heads, dim).permute(0, 2, 1, 3).split(heads, 1)


def score_functions(folder):
    """Other functions of the scores than softmax."""
    attended(folder, "sigmoid", "n7-kv12", lambda q, k, v: mixed(torch.sigmoid(scores(q, k) - math.log(12)), v), *CROSS, chunk=3)
    capped = lambda q, k: 1.5 * torch.tanh(scores(q, k) / 1.5)
    attended(folder, "soft-cap", "c1.5", lambda q, k, v: mixed(capped(q, k).softmax(-1), v), *CROSS, cap=1.5)
    past = torch.ones(17, 17, dtype=torch.bool).tril()
    attended(folder, "soft-cap-causal", "c1.5", lambda q, k, v: mixed(capped(q, k).masked_fill(~past, -math.inf).softmax(-1), v), cap=1.5)

    def talking(q, k, v, mix_logits, mix_weights):
        logits = torch.einsum("bhij,hl->blij", scores(q, k), mix_logits)
        return mixed(torch.einsum("bhij,hl->blij", logits.softmax(-1), mix_weights), v)

    attended(folder, "talking-heads", "n7-kv12", talking, *CROSS, note="new head l is the sum over heads h of old head h times [h, l]",
             extra=lambda case: {name: case.draw(2, 2) for name in ["mix_logits", "mix_weights"]}, chunk=3)

    def top(s, k):
        kept = torch.zeros_like(s, dtype=torch.bool).scatter(-1, s.topk(k).indices, True)
        return s.masked_fill(~kept, -math.inf).softmax(-1)

    attended(folder, "top-k", "k5", lambda q, k, v: mixed(top(scores(q, k), 5), v), *CROSS, k=5, chunk=3)
    attended(folder, "top-k-causal", "k5", lambda q, k, v: mixed(top(scores(q, k).masked_fill(~past, -math.inf), 5), v), k=5, chunk=5)


def kernels(folder):
    """Linear attention of all kinds, as the quadratic sum over the kernel that its features make."""
    past = torch.ones(17, 17, dtype=torch.float64).tril()

    def both(variant, name, kernel, shape=SHAPE, kv=KV, epsilon=0.0, **more):
        def answer(causal):
            def of(q, k, v, **extra):
                weights = kernel(q, spread(k, q.shape[1]), **extra)
                weights = weights * past if causal else weights
                return mixed(weights / (weights.sum(-1, keepdim=True) + epsilon), v)
            return of
        attended(folder, variant, name, answer(False), shape, kv, **more)
        if variant != "performer" or more.get("kind") != "positive":
            attended(folder, f"{variant}-causal", name, answer(True), **more, chunk=5)

    both("linear", "n7-kv12", lambda q, k: (F.elu(q) + 1) @ (F.elu(k) + 1).mT, *CROSS)
    both("linear", "n17", lambda q, k: (F.elu(q) + 1) @ (F.elu(k) + 1).mT)

    def cosine(q, k):
        i, j = places(max(q.shape[2], k.shape[2]))
        apart = (i - j)[: q.shape[2], : k.shape[2]].double()
        return F.relu(q) @ F.relu(k).mT * torch.cos(math.pi / 2 * apart / len(i))

    both("cosformer", "n7-kv12", cosine, *CROSS, epsilon=1e-6)
    both("cosformer", "n17", cosine, epsilon=1e-6, note="1e-6 is added to each normaliser")

    # The directions of kernel estimates are rows of `normals`; of the second redraw here.
    def rows(normals, orthogonal):
        rows = normals[7:]
        blocks = []
        for block in rows.split(DIM):
            basis, corner = torch.linalg.qr(block.T)
            blocks.append((basis * corner.diagonal().sign()).T * block.norm(dim=-1, keepdim=True))
        return torch.cat(blocks) if orthogonal else rows

    drawn = lambda case: {"normals": case.draw(14, DIM)}

    def trigonometric(q, k, normals):
        q, k = q / DIM**0.25, k / DIM**0.25
        gap = (q[:, :, :, None] - k[:, :, None]) @ rows(normals, True).T
        return gap.cos().sum(-1) * (0.5 * k.square().sum(-1))[:, :, None].exp()

    def rectified(q, k, normals):
        features = lambda x: F.relu(x / DIM**0.25 @ rows(normals, False).T) + 1e-3
        return features(q) @ features(k).mT

    def positive(orthogonal, causal=False):
        def kernel(q, k, normals):
            raised = lambda x: (x / DIM**0.25) @ rows(normals, orthogonal).T - 0.5 * (x / DIM**0.25).square().sum(-1, keepdim=True)
            of_q, of_k = raised(q), raised(k)
            top = (of_k[:, :, :1] if causal else of_k).amax((-2, -1), keepdim=True)
            return ((of_q - of_q.amax(-1, keepdim=True)).exp() + 1e-6) @ ((of_k - top).exp() + 1e-6).mT
        return kernel

    performer = {"extra": drawn, "features": 7, "redraw": 1}
    for orthogonal in ["yes", "no"]:
        both("performer", f"positive-orthogonal-{orthogonal}", positive(orthogonal == "yes"), **performer,
             kind="positive", orthogonal=orthogonal,
             note="floors of 1e-6 after a shift by the largest exponent: of each query, and of all keys of a head")
    weights = lambda q, k, normals: positive(True, True)(q, spread(k, 2), normals) * past
    attended(folder, "performer-causal", "positive", lambda q, k, v, normals: mixed(F.normalize(weights(q, k, normals), 1, -1), v),
             **performer, note="the shift of the keys is that of the first key", kind="positive", chunk=5)
    both("performer", "trigonometric", trigonometric, **performer, kind="trigonometric", scale=0.3,
         note="short queries: all normalisers are positive")
    both("performer", "relu", rectified, **performer, kind="relu", orthogonal="no", note="features have a floor of 1e-3")

    def fourier(q, k, normals):
        gap = F.normalize(q, dim=-1)[:, :, :, None] - F.normalize(k, dim=-1)[:, :, None]
        return (gap @ normals[7:].T / 1.7).cos().sum(-1)

    both("random-fourier", "s1.7", fourier, extra=drawn, features=7, redraw=1, sigma=1.7)


def low_rank(folder):
    """Fewer keys, narrower heads, landmarks, and scores of low rank."""
    mean = lambda x, parts: x.unflatten(2, (parts, -1)).mean(3)
    two = lambda *names: lambda case: {name: case.draw(5, 12, scale=12**-0.5) for name in names}
    attended(folder, "linformer", "headwise", lambda q, k, v, e, f: exact(q, e @ k, f @ v), *CROSS, extra=two("e", "f"), rank=5)
    attended(folder, "linformer", "kv", lambda q, k, v, e: exact(q, e @ k, e @ v), *CROSS, extra=two("e"), rank=5, sharing="kv")
    attended(folder, "linformer", "mean-pool", lambda q, k, v: exact(q, mean(k, 4), mean(v, 4)), *CROSS,
             rank=4, sharing="kv", projection="mean-pool")

    def narrow(q, k, v, w_q, w_v, w_o, w_k=None):
        s = (q @ w_q.T) @ spread(k @ (w_q if w_k is None else w_k).T, 2).mT / math.sqrt(DIM)
        return mixed(s.softmax(-1), v @ w_v.T) @ w_o.T

    for sharing, names in [("qk", ["w_q", "w_v"]), ("none", ["w_q", "w_k", "w_v"])]:
        maps = lambda case: {name: case.draw(3, DIM, scale=DIM**-0.5) for name in names} | {"w_o": case.draw(DIM, 3, scale=3**-0.5)}
        attended(folder, "low-rank-projection", sharing, narrow, *CROSS, extra=maps, rank=3, sharing=sharing)

    def convolved(q, k, v, w_k, w_v):
        # A convolution's weight is [out, in, place]; ours has the channels of each place side by side.
        def shorter(x, w):
            kernel = w.view(DIM, 3, DIM).permute(0, 2, 1)
            return F.conv1d(x.flatten(0, 1).mT, kernel, stride=3).mT.unflatten(0, x.shape[:2])
        return exact(q, shorter(k, w_k), shorter(v, w_v))

    attended(folder, "memory-compressed", "c3", convolved, *CROSS, compression=3,
             extra=lambda case: {name: case.draw(DIM, 3 * DIM, scale=0.3) for name in ["w_k", "w_v"]})

    def nystrom(steps):
        def answer(q, k, v):
            short_q, short_k = mean(q, 4), mean(k, 4)
            core, eye = scores(short_q, short_k).softmax(-1), torch.eye(4, dtype=torch.float64)
            z = core.mT / core.sum(-2).amax(-1)[..., None, None]  # The rows' sums are one.
            for _ in range(steps):
                az = core @ z
                z = z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az))) / 4
            z = torch.linalg.pinv(core) if steps > 20 else z
            return scores(q, short_k).softmax(-1) @ z @ scores(short_q, k).softmax(-1) @ v
        return answer

    attended(folder, "nystrom", "l4", nystrom(6), *ALIKE, landmarks=4, scale=3.0)
    attended(folder, "nystrom", "l4-many", nystrom(60), *ALIKE, landmarks=4, iterations=60, scale=3.0,
             note="against the pseudo-inverse itself")

    def cut(q, k, v):
        u, s, w = torch.linalg.svd(q @ k.mT / math.sqrt(DIM))
        return ((u[..., :3] * s[..., None, :3]) @ w[..., :3, :]).softmax(-1) @ v

    attended(folder, "svd-low-rank", "r3", cut, *ALIKE, rank=3)


def synthesizers(folder):
    """Scores that no key has made."""
    dense = lambda case: {"w1": case.draw(DIM, DIM), "b1": case.draw(DIM), "w2": case.draw(12, DIM), "b2": case.draw(12)}
    made = lambda q, w1, b1, w2, b2: F.linear(F.relu(F.linear(q, w1, b1)), w2, b2)
    same = lambda table: table.softmax(-1).expand(2, -1, -1, -1)
    attended(folder, "synthesizer-dense", "n7-kv12", lambda q, k, v, **w: mixed(made(q, **w).softmax(-1), v), *CROSS, extra=dense)
    attended(folder, "synthesizer-random", "n7-kv12", lambda q, k, v, scores: mixed(same(scores), v), *CROSS,
             extra=lambda case: {"scores": case.draw(2, 7, 12)})
    parts = lambda case: {"w_a": case.draw(4, DIM), "b_a": case.draw(4), "w_b": case.draw(3, DIM), "b_b": case.draw(3)}
    outer = lambda q, w_a, b_a, w_b, b_b: (F.linear(q, w_a, b_a)[..., :, None] * F.linear(q, w_b, b_b)[..., None, :]).flatten(-2)
    attended(folder, "synthesizer-factorised", "f4", lambda q, k, v, **w: mixed(outer(q, **w).softmax(-1), v), *CROSS,
             extra=parts, factor=4)
    attended(folder, "synthesizer-factorised-random", "r3", lambda q, k, v, r1, r2: mixed(same(r1 @ r2.mT), v), *CROSS,
             extra=lambda case: {"r1": case.draw(2, 7, 3), "r2": case.draw(2, 12, 3)}, rank=3)


def chosen(folder):
    """Keys chosen by content: hashed, clustered, sorted."""

    def reformer(shared):
        def answer(q, k, v, rotations):
            k = F.normalize(q, dim=-1) * math.sqrt(DIM) if shared else k
            seen = []
            for rotation in rotations:
                bucket = lambda x: torch.cat([x @ rotation, -x @ rotation], -1).argmax(-1)
                # The place of each token in the order of the buckets, and its chunk.
                chunk = lambda x: bucket(x).argsort(dim=-1, stable=True).argsort(-1) // 3
                gap = chunk(q)[..., :, None] - chunk(k)[..., None, :]
                seen.append((gap == 0) | (gap == 1))
            s = scores(q, k)
            s = s - 1e4 * torch.eye(12, dtype=torch.float64) if shared else s
            # A key that two rounds show counts twice.
            return (s + torch.stack(seen).sum(0).to(torch.float64).log()).softmax(-1) @ v
        return answer

    rotations = lambda case: {"rotations": case.draw(2, DIM, 2)}
    for shared in ["no", "yes"]:
        attended(folder, "reformer", f"shared-{shared}", reformer(shared == "yes"), *ALIKE, extra=rotations, hashes=2, buckets=4, chunk=3,
                 shared_qk=shared)

    def routing(q, k, v, centroids):
        best = lambda x: (F.layer_norm(x, (DIM,)) @ centroids.mT).topk(4, dim=2).indices  # [batch, heads, taken, clusters]
        out, times = torch.zeros_like(q), torch.zeros_like(q[..., :1])
        of_q, of_k = best(q), best(k)
        for b, h, c in [(b, h, c) for b in range(2) for h in range(2) for c in range(3)]:
            queries, keys = of_q[b, h, :, c], of_k[b, h, :, c]
            pick = lambda x, rows: x[b, h, rows][None, None]
            out[b, h, queries] += exact(pick(q, queries), pick(k, keys), pick(v, keys))[0, 0]
            times[b, h, queries] += 1
        return out / times.clamp(min=1)

    attended(folder, "routing", "c3", routing, *ALIKE, extra=lambda case: {"centroids": case.draw(2, 3, DIM)}, clusters=3)

    def sinkhorn(q, k, v, w_sort):
        blocks = lambda x: x.unflatten(2, (4, 3))
        sort = F.log_softmax(F.linear(blocks(k).mean(3), w_sort) / 0.6, -1)
        for _ in range(5):
            sort = F.log_softmax(F.log_softmax(sort, -2), -1)
        brought = lambda x: torch.cat([torch.einsum("bhij,bhjnd->bhind", sort.exp(), blocks(x)), blocks(x)], 3).flatten(1, 2)
        return exact(blocks(q).flatten(1, 2), brought(k), brought(v)).unflatten(1, (2, 4)).flatten(2, 3)

    attended(folder, "sinkhorn", "b3", sinkhorn, *ALIKE, extra=lambda case: {"w_sort": case.draw(4, DIM)},
             block=3, iterations=5, temperature=0.6, note="rows, then five times columns and rows, in logarithms")


def positions(folder):
    """Tables, rotations and biases by distance."""
    case = Case("position/sinusoidal", "s7-d10")
    x = case.draw(2, 7, 10)
    angle = torch.arange(7)[:, None] / 10000 ** (torch.arange(0, 10, 2, dtype=torch.float64) / 10)
    case.save(folder, x=x, out=x + torch.stack([angle.sin(), angle.cos()], -1).flatten(1))
    case = Case("position/learned", "s7-d5")
    x, table = case.draw(2, 7, 5), case.draw(9, 5)
    case.save(folder, x=x, table=table, out=x + F.embedding(torch.arange(7), table))

    longer = {"factor": 3.0}
    for variant, params, slower, base in [("rope", {}, 1, 100), ("rope-linear", longer, 3, 100), ("rope-ntk", longer, 1, 100 * 3**1.5)]:
        case = Case(f"position/{variant}", "n7-d6", "channels i and i + 3 are a pair", base=100.0, offset=5, **params)
        q = case.draw(2, 2, 7, 6)
        angle = (torch.arange(7).double()[:, None] + 5) / slower * base ** (-torch.arange(3, dtype=torch.float64) / 3)
        turned = torch.complex(q[..., :3], q[..., 3:]) * torch.polar(torch.ones_like(angle), angle)
        case.save(folder, q=q, out=torch.cat([turned.real, turned.imag], -1))

    i, j = places(12)
    for mask in ["full", "causal"]:
        hidden = torch.zeros(12, 12, dtype=torch.float64).masked_fill((j > i) & (mask == "causal"), -math.inf)
        slopes = 2.0 ** (-8 * torch.arange(1, 4, dtype=torch.float64) / 3)[:, None, None]
        shape = ((1, 3, 12, 4), (3, 12))
        attended(folder, "position/alibi", mask, lambda q, k, v: exact(q, k, v, hidden - slopes * (i - j).abs()), *shape, mask=mask)
        bucket = torch.tensor([[t5_bucket(key - query, mask == "full", 8, 9) for key in range(12)] for query in range(12)])
        attended(folder, "position/t5-bias", mask, lambda q, k, v, bias: exact(q, k, v, hidden + bias[:, bucket]), *shape,
                 extra=lambda case: {"bias": case.draw(3, 8)}, mask=mask, buckets=8, max_distance=9)


def t5_bucket(ahead, both, buckets, farthest):
    """Raffel et al. 2020, section 2.1: near distances have a bucket each, far ones share logarithmically wider ones."""
    first = 0
    if both:
        buckets //= 2
        first = buckets if ahead > 0 else 0
    distance = abs(ahead) if both else max(-ahead, 0)
    own = buckets // 2
    if distance < own:
        return first + distance
    return first + min(buckets - 1, own + int(math.log(distance / own) / math.log(farthest / own) * (buckets - own)))


FAMILIES = [patterns, shared_heads, score_functions, kernels, low_rank, synthesizers, chosen, positions]
