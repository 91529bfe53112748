"""Golden cases of the causal forms, each from its definition: what the full form does, with nothing of a later token in it.

Masks come where the papers put them: on scores before a softmax, after the first mixture of heads, inside a chunk or a cluster by the
tokens' own positions, and in Sinkhorn's sort net on its rows and on the sums of its columns.
"""

import math

import torch
import torch.nn.functional as F

from attention_goldens import ALIKE, DIM, SHAPE, attended, exact, mixed, places, scores, spread

PAST = torch.ones(17, 17, dtype=torch.bool).tril()


def masked(s, seen):
    """The softmax over what is seen; a row that sees nothing gives zeros."""
    return s.masked_fill(~seen, -math.inf).softmax(-1).nan_to_num(0.0)


def score_functions(folder):
    """Other scores, and other functions of them."""
    sigmoid = lambda q, k, v: mixed(torch.sigmoid(scores(q, k) - math.log(17)) * PAST, v)
    attended(folder, "sigmoid-causal", "n17", sigmoid, note="the shift is that of the whole length", chunk=5)

    def talking(q, k, v, mix_logits, mix_weights):
        logits = torch.einsum("bhij,hl->blij", scores(q, k), mix_logits)
        return mixed(torch.einsum("bhij,hl->blij", masked(logits, PAST), mix_weights), v)

    attended(folder, "talking-heads-causal", "n17", talking, chunk=5,
             extra=lambda case: {name: case.draw(2, 2) for name in ["mix_logits", "mix_weights"]})

    def narrow(q, k, v, w_q, w_v, w_o, w_k=None):
        s = (q @ w_q.T) @ spread(k @ (w_q if w_k is None else w_k).T, 2).mT / math.sqrt(DIM)
        return mixed(masked(s, PAST), v @ w_v.T) @ w_o.T

    for sharing, names in [("qk", ["w_q", "w_v"]), ("none", ["w_q", "w_k", "w_v"])]:
        maps = lambda case: {name: case.draw(3, DIM, scale=DIM**-0.5) for name in names} | {"w_o": case.draw(DIM, 3, scale=3**-0.5)}
        attended(folder, "low-rank-projection-causal", sharing, narrow, extra=maps, rank=3, sharing=sharing)

    def pruned(q, k, v):
        size = lambda x: x.square().sum((0, 2, 3)).sqrt()
        kept = (size(q) * size(k) * size(v)).topk(2).indices
        return torch.zeros_like(q).index_copy(1, kept, exact(q, k, v, causal=True)[:, kept])

    four = ((2, 4, 7, DIM), (4, 7))
    attended(folder, "head-pruning-causal", "k2", pruned, *four, note="heads are ranked by |q| |k| |v|; the others give zeros", keep=2)
    i, j = places(17)
    near = i - j
    for suffix, dilated in [("", (near.abs() <= 6) & (near % 3 == 0)), ("-causal", (near < 6) & (near % 3 == 0))]:
        seen = dilated | (j < 2) | ((i < 2) if suffix == "" else False)
        seen = seen & PAST if suffix else seen
        attended(folder, f"longformer{suffix}", "w2-g2-d3", lambda q, k, v: exact(q, k, v, seen), window=2, dilation=3, **{"global": 2})


def synthesizers(folder):
    """Scores that no key has made."""
    dense = lambda case: {"w1": case.draw(DIM, DIM), "b1": case.draw(DIM), "w2": case.draw(17, DIM), "b2": case.draw(17)}
    made = lambda q, w1, b1, w2, b2: F.linear(F.relu(F.linear(q, w1, b1)), w2, b2)
    same = lambda table: masked(table, PAST[: table.shape[1], : table.shape[1]]).expand(SHAPE[0], -1, -1, -1)
    attended(folder, "synthesizer-dense-causal", "n17", lambda q, k, v, **w: mixed(masked(made(q, **w), PAST), v), extra=dense)
    attended(folder, "synthesizer-random-causal", "n17", lambda q, k, v, scores: mixed(same(scores), v),
             extra=lambda case: {"scores": case.draw(2, 17, 17)})
    attended(folder, "synthesizer-factorised-random-causal", "r3", lambda q, k, v, r1, r2: mixed(same(r1 @ r2.mT), v),
             extra=lambda case: {name: case.draw(2, 17, 3) for name in ["r1", "r2"]}, rank=3)
    parts = lambda case: {"w_a": case.draw(4, DIM), "b_a": case.draw(4), "w_b": case.draw(3, DIM), "b_b": case.draw(3)}
    outer = lambda q, w_a, b_a, w_b, b_b: (F.linear(q, w_a, b_a)[..., :, None] * F.linear(q, w_b, b_b)[..., None, :]).flatten(-2)
    attended(folder, "synthesizer-factorised-causal", "f4", lambda q, k, v, **w: mixed(masked(outer(q, **w), PAST[:12, :12]), v), *ALIKE,
             extra=parts, factor=4)


def chosen(folder):
    """Keys chosen by content: hashed, clustered, sorted."""
    past = PAST[:12, :12]

    def reformer(shared):
        def answer(q, k, v, rotations):
            k = F.normalize(q, dim=-1) * math.sqrt(DIM) if shared else k
            times = 0
            for rotation in rotations:
                bucket = lambda x: torch.cat([x @ rotation, -x @ rotation], -1).argmax(-1)
                chunk = lambda x: bucket(x).argsort(dim=-1, stable=True).argsort(-1) // 3
                gap = chunk(q)[..., :, None] - chunk(k)[..., None, :]
                times = times + (((gap == 0) | (gap == 1)) & past)
            s = scores(q, k)
            s = s - 1e4 * torch.eye(12, dtype=torch.float64) if shared else s
            # A key that two rounds show counts twice.
            return masked(s + times.double().log(), times > 0) @ v
        return answer

    rotations = lambda case: {"rotations": case.draw(2, DIM, 2)}
    for shared in ["no", "yes"]:
        attended(folder, "reformer-causal", f"shared-{shared}", reformer(shared == "yes"), *ALIKE, extra=rotations, hashes=2, buckets=4,
                 chunk=3, shared_qk=shared, note="a query that sees no earlier key gives zeros")

    def routing(q, k, v, centroids):
        best = lambda x: (F.layer_norm(x, (DIM,)) @ centroids.mT).topk(4, dim=2).indices  # [batch, heads, taken, clusters]
        out, times = torch.zeros_like(q), torch.zeros_like(q[..., :1])
        of_q, of_k = best(q), best(k)
        for b, h, c in [(b, h, c) for b in range(2) for h in range(2) for c in range(3)]:
            queries, keys = of_q[b, h, :, c], of_k[b, h, :, c]
            weights = masked(q[b, h, queries] @ k[b, h, keys].T / math.sqrt(DIM), queries[:, None] >= keys[None, :])
            out[b, h, queries] += weights @ v[b, h, keys]
            times[b, h, queries] += 1
        return out / times.clamp(min=1)

    attended(folder, "routing-causal", "c3", routing, *ALIKE, extra=lambda case: {"centroids": case.draw(2, 3, DIM)}, clusters=3,
             note="a query that sees nothing in a cluster gets zeros from it, which count in its mean")

    def sinkhorn(q, k, v, w_sort):
        blocks = lambda x: x.unflatten(2, (4, 3))
        before = blocks(k).mean(3).cumsum(2)[:, :, :-1]  # Row i - 1: the sum over the blocks before block i.
        earlier = torch.ones(3, 4, dtype=torch.bool).tril()
        sort = masked(F.linear(before, w_sort) / 0.6, earlier)
        for _ in range(5):
            columns = sort.cumsum(2)  # Over the rows so far.
            sort = torch.where(earlier, sort / columns.where(earlier, torch.ones_like(columns)), sort)
            sort = sort / sort.sum(-1, keepdim=True)
        brought = lambda x: torch.cat([torch.einsum("bhij,bhjnd->bhind", sort, blocks(x)), blocks(x)[:, :, 1:]], 3)
        seen = torch.cat([torch.ones(3, 3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool).tril()], 1)
        first = exact(q[:, :, :3], k[:, :, :3], v[:, :, :3], causal=True)
        later = exact(blocks(q)[:, :, 1:].flatten(1, 2), brought(k).flatten(1, 2), brought(v).flatten(1, 2), seen)
        return torch.cat([first, later.unflatten(1, (2, 3)).flatten(2, 3)], 2)

    attended(folder, "sinkhorn-causal", "b3", sinkhorn, *ALIKE, extra=lambda case: {"w_sort": case.draw(4, DIM)},
             block=3, iterations=5, temperature=0.6, note="rows, then five times columns so far and rows")


FAMILIES = [score_functions, synthesizers, chosen]
