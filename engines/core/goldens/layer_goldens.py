"""Golden cases of the feed-forward, norm, softmax and linear variants, each from its definition.

Weights that a variant compresses are compressed here by PyTorch's own decompositions and selections, and used dense.
"""

import math

import torch
import torch.nn.functional as F

from cases import ACTIVATIONS, Case, int_codes


def cut(w, rank):
    """The nearest matrix of this rank (or matrices, over leading dimensions)."""
    u, s, v = torch.linalg.svd(w, full_matrices=False)
    return (u[..., :rank] * s[..., None, :rank]) @ v[..., :rank, :]


def largest(w, count):
    """Zeros for all but the `count` entries of largest magnitude."""
    return torch.zeros_like(w).flatten().scatter(0, (at := w.abs().flatten().topk(count).indices), w.flatten()[at]).view_as(w)


def n_of_m(w, n, m):
    """Zeros for all but the n largest of every m neighbouring inputs."""
    groups = w.unflatten(1, (-1, m))
    return groups.masked_fill(groups.abs() < groups.abs().topk(n, -1).values[..., -1:], 0.0).flatten(1)


def blocks(w, size, count):
    """Zeros for all but the `count` square blocks of largest Frobenius norm."""
    tiles = w.unflatten(1, (-1, size)).unflatten(0, (-1, size))  # [block row, row, block column, column]
    norms = tiles.square().sum((1, 3))
    return (tiles * (norms >= norms.flatten().topk(count).values[-1])[:, None, :, None]).flatten(2).flatten(0, 1)


def monarch(w, count):
    """Nearest in Monarch form: the slices of neighbouring inputs and every `count`-th output have rank one."""
    slices = w.unflatten(1, (count, -1)).unflatten(0, (-1, count)).permute(1, 2, 0, 3)
    return cut(slices, 1).permute(2, 0, 1, 3).flatten(2).flatten(0, 1)


def kronecker(w, out, into):
    """Nearest Kronecker product with a first factor of [out, into] (Van Loan and Pitsianis 1993): a rank of one, rearranged."""
    tiles = w.unflatten(1, (into, -1)).unflatten(0, (out, -1)).permute(0, 2, 1, 3)
    flat = cut(tiles.flatten(2).flatten(0, 1), 1)
    return flat.unflatten(1, tiles.shape[2:]).unflatten(0, tiles.shape[:2]).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def ternary(w):
    """Li et al. 2016, section 2.2: a row's signs times one scale, which is held in f32."""
    kept = w.abs() > 0.7 * w.abs().mean(1, keepdim=True)
    return w.sign() * kept * ((w.abs() * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)).float().double()


def compressed(folder):
    """Linear and feed-forward layers whose dense weights are replaced by something cheaper."""
    forms = {
        ("low-rank", "r3"): (lambda w: cut(w, 3), {"rank": 3}),
        ("n-of-m", "1-of-4"): (lambda w: n_of_m(w, 1, 4), {"n_keep": 1, "m_group": 4}),
        ("block-sparse", "b4"): (lambda w: blocks(w, 4, 3), {"block": 4, "density": 0.5}),
        ("monarch", "b4"): (lambda w: monarch(w, 4), {"blocks": 4}),
    }
    pruned = (lambda w: largest(w, 24), {"sparsity": 0.75})
    only_linear = {
        ("csr", "s0.75"): pruned,
        ("kronecker", "2x4"): (lambda w: kronecker(w, 2, 4), {"factor_out": 2, "factor_in": 4}),
        ("ternary", "s7"): (ternary, {}),
        ("int8-weight-only", "s7"): (lambda w: int_codes(w, 1, 127), {}),
        ("int4-group", "g5"): (lambda w: torch.cat([int_codes(part, 1, 7) for part in w.split(5, 1)], 1), {"group": 5}),
        ("bf16-weights", "s7"): (lambda w: w.to(torch.bfloat16).double(), {}),
        ("f16-weights", "s7"): (lambda w: w.to(torch.float16).double(), {}),
    }
    for (variant, name), (form, params) in (forms | only_linear).items():
        case = Case(f"linear/{variant}", name, activation="silu", **params)
        x, w, b = case.draw(1, 7, 12), case.draw(8, 12, scale=12**-0.5), case.draw(8)
        case.save(folder, x=x, w=w, b=b, out=F.silu(F.linear(x, form(w), b)))
    case = Case("linear/palette", "own-levels", "fewer values than levels: the weight keeps them", activation="silu", levels=16)
    x, w, b = case.draw(1, 7, 12), case.draw(8, 12).mul(2).round() / 2, case.draw(8)
    case.save(folder, x=x, w=w, b=b, out=F.silu(F.linear(x, w, b)))
    for (variant, name), (form, params) in (forms | {("pruned", "s0.75"): pruned}).items():
        two_layers(folder, variant, name, lambda x, w1, b1, w2, b2: plain(x, form(w1), b1, form(w2), b2), **params)


def plain(x, w1, b1, w2, b2, activation="gelu"):
    """activation(x w1^T + b1) w2^T + b2."""
    return F.linear(ACTIVATIONS[activation](F.linear(x, w1, b1)), w2, b2)


def two_layers(folder, variant, name, answer, note="", activation="gelu", lead=(), extra=None, x=(1, 7, 8), hidden=12, **params):
    """Draws a feed-forward layer (`lead`: layers or experts); `answer` gets it by name."""
    case = Case(f"ffn/{variant}", name, note, activation=activation, **params)
    width = x[-1]
    given = {"x": case.draw(*x), "w1": case.draw(*lead, hidden, width, scale=width**-0.5), "b1": case.draw(*lead, hidden),
             "w2": case.draw(*lead, width, hidden, scale=hidden**-0.5), "b2": case.draw(*lead, width)}
    given |= extra(case) if extra else {}
    case.save(folder, **given, out=answer(**given))


def ffns(folder):
    """Narrower, sparser, gated, stacked and mixed feed-forward layers."""
    for activation in ["relu", "gelu"]:
        case = Case("ffn/dense-unbiased", f"{activation}-s7-d8-f12-batch2", activation=activation)
        x, w1, w2 = case.draw(2, 7, 8), case.draw(12, 8, scale=8**-0.5), case.draw(8, 12, scale=12**-0.5)
        case.save(folder, x=x, w1=w1, w2=w2, out=ACTIVATIONS[activation](x @ w1.T) @ w2.T)
    two_layers(folder, "dense", "relu-squared", lambda **w: plain(**w, activation="relu-squared"), activation="relu-squared")
    gates = {"glu": torch.sigmoid, "reglu": F.relu, "geglu": F.gelu, "swiglu": F.silu, "bilinear": lambda x: x}
    for variant, gate in gates.items():
        case = Case(f"ffn/{variant}", "s7-d5-f9-batch2")
        x, w1, w3, w2 = case.draw(2, 7, 5), case.draw(9, 5), case.draw(9, 5), case.draw(5, 9)
        case.save(folder, x=x, w1=w1, w3=w3, w2=w2, out=(gate(x @ w1.T) * (x @ w3.T)) @ w2.T)
    two_layers(folder, "bottleneck", "k0.5", lambda x, w1, b1, w2, b2: plain(x, w1[:6], b1[:6], w2[:, :6], b2), keep=0.5)

    def best(w1, w2, count):
        """The units of highest score: norm in times norm out."""
        return (w1.norm(dim=1) * w2.norm(dim=0)).topk(count).indices

    def structured(x, w1, b1, w2, b2):
        kept = best(w1, w2, 6)
        return plain(x, w1[kept], b1[kept], w2[:, kept], b2)

    two_layers(folder, "structured", "k0.5", structured, keep=0.5)

    def core_periphery(x, w1, b1, w2, b2):
        # E gelu(z) = b Phi(t) + (|w|^2 / s) phi(t) for z of N(b, |w|^2), s^2 = 1 + |w|^2, t = b / s; its slope in b is the best line's.
        variance, into = w1.square().sum(1), F.linear(x, w1, b1)
        s, normal = (1 + variance).sqrt(), torch.distributions.Normal(*torch.tensor([0.0, 1.0], dtype=torch.float64))
        below, density = normal.cdf(b1 / s), normal.log_prob(b1 / s).exp()
        line = (below + b1 / s**3 * density) * (into - b1) + b1 * below + variance / s * density
        kept = best(w1, w2, 3)
        return F.linear(line.index_copy(-1, kept, F.gelu(into[..., kept])), w2, b2)

    two_layers(folder, "core-periphery", "c0.25", core_periphery, core=0.25)

    def sparse(x, w1, b1, w2, b2):
        hidden = F.gelu(F.linear(x, w1, b1))
        top = hidden.topk(4)
        return F.linear(torch.zeros_like(hidden).scatter(-1, top.indices, top.values), w2, b2)

    two_layers(folder, "activation-sparsity", "k4", sparse, k_hidden=4)

    def separable(ahead):
        def answer(x, w1, b1, w2, b2, f1, f2):
            along = lambda x, f: F.conv1d(F.pad(x.mT, ahead), f[:, None], groups=f.shape[0]).mT
            return F.linear(along(F.gelu(F.linear(along(x, f1), w1, b1)), f2), w2, b2)
        return answer

    for causal, kernel, ahead in [("no", 3, (1, 1)), ("no", 5, (2, 2)), ("yes", 3, (2, 0)), ("yes", 2, (1, 0))]:
        two_layers(folder, "depthwise-separable", f"causal-{causal}-k{kernel}", separable(ahead), x=(2, 7, 8), kernel=kernel, causal=causal,
                   extra=lambda case: {"f1": case.draw(8, kernel), "f2": case.draw(12, kernel)})

    def stack(x, w1, b1, w2, b2, layers):
        for at in range(layers):
            x = x + plain(x, *((w[at] for w in (w1, b1, w2, b2)) if w1.ndim == 3 else (w1, b1, w2, b2)))
        return x

    two_layers(folder, "stack", "l3", lambda **w: stack(**w, layers=3), lead=(3,), layers=3)
    two_layers(folder, "shared-stack", "l3", lambda **w: stack(**w, layers=3), layers=3)

    def experts(choices, room):
        def answer(x, router, w1, b1, w2, b2):
            tokens = x.flatten(0, 1)
            odds, order = F.softmax(tokens @ router.T, -1).topk(choices)
            gates = odds / odds.sum(-1, keepdim=True) if choices == 2 else odds
            out, taken = torch.zeros_like(tokens), [0] * router.shape[0]
            for choice, token in [(choice, token) for choice in range(choices) for token in range(len(tokens))]:
                expert = order[token, choice].item()
                taken[expert] += 1
                if taken[expert] <= room:
                    out[token] += gates[token, choice] * plain(tokens[token], w1[expert], b1[expert], w2[expert], b2[expert])
            return out.view_as(x)
        return answer

    for choices in [1, 2]:
        for name, capacity, room in [("roomy", 4.0, 24), ("tight", 0.5, choices)]:
            note = f"{room} places an expert, in the order of choices, then tokens"
            two_layers(folder, f"moe-top{choices}", name, experts(choices, room), note, x=(2, 4, 8), lead=(4,),
                       extra=lambda case: {"router": case.draw(4, 8)}, experts=4, capacity=capacity)


def joined(x, residual, normed, position):
    """plain: norm(x); post: norm(x + residual); pre: residual + norm(x)."""
    return residual + normed(x) if position == "pre" else normed(x + residual if position == "post" else x)


def norms(folder):
    """Other statistics than layer norm's, and other joins."""
    epsilon = 1e-3  # Large enough to be seen.

    def case_of(variant, name, answer, *vectors, streams=("x", "residual"), one=(), make=None, **params):
        case = Case(f"norm/{variant}", name, **params)
        given = {stream: case.draw(2, 3, 12, shift=0.3) for stream in streams}
        given |= {vector: case.draw(12, shift=0.7) for vector in vectors} | {single: case.draw(1) for single in one}
        given |= make(case) if make else {}
        case.save(folder, **given, out=answer(**given))

    normed = {
        "rms-norm": lambda gamma, beta: lambda x: F.rms_norm(x, (12,), gamma, epsilon) + beta,
        "group-norm": lambda gamma, beta: lambda x: F.group_norm(x.flatten(0, 1), 4, gamma, beta, epsilon).view_as(x),
        "scale-norm": lambda gamma, beta: lambda x: F.rms_norm(x, (12,), None, epsilon) * gamma.mean(),
    }
    for variant, norm in normed.items():
        for position in ["plain", "post", "pre"]:
            answer = lambda x, gamma, beta, residual=None: joined(x, residual, norm(gamma, beta), position)
            streams = ["x"] if position == "plain" else ["x", "residual"]
            case_of(variant, position, answer, "gamma", "beta", streams=streams, position=position, eps=epsilon,
                    **({"groups": 4} if variant == "group-norm" else {}))
    ln = lambda x, gamma, beta, eps=epsilon: F.layer_norm(x, (12,), gamma, beta, eps)
    affine = ["gamma", "beta"]
    case_of("dyt", "s3-d12-batch2", lambda x, alpha, gamma, beta: gamma * torch.tanh(alpha * x) + beta, *affine,
            streams=["x"], one=["alpha"])
    fixed = lambda x, gamma, beta, running_mean, running_variance: F.batch_norm(
        x.flatten(0, 1), running_mean, running_variance, gamma, beta, eps=epsilon).view_as(x)
    case_of("batch-norm", "s3-d12-batch2", fixed, *affine, streams=["x"], eps=epsilon,
            make=lambda case: {"running_mean": case.draw(12), "running_variance": case.draw(12).square()})
    for variant in ["add-norm-fused", "add-norm-unfused"]:
        case_of(variant, "s3-d12-batch2", lambda x, residual, gamma, beta: ln(x + residual, gamma, beta), *affine, eps=epsilon)
    case_of("residual-plain", "s3-d12-batch2", lambda x, residual: residual + x)
    case_of("residual-dynamic", "s3-d12-batch2", lambda x, residual, w: residual + torch.sigmoid(F.linear(x, w)) * x,
            make=lambda case: {"w": case.draw(1, 12, scale=12**-0.5)})
    case_of("residual-rezero", "s3-d12-batch2", lambda x, residual, alpha: residual + alpha * x, one=["alpha"])
    case_of("residual-layer-scale", "s3-d12-batch2", lambda x, residual, **given: residual + given["lambda"] * x, "lambda")

    def stack(join):
        def answer(x, gamma, beta):
            for layer in range(5):
                x = join(layer, x, F.layer_norm(x, (12,), gamma[layer], beta[layer], epsilon))
            return x
        return {"answer": answer, "streams": ["x"], "layers": 5, "eps": epsilon,
                "make": lambda case: {"gamma": case.draw(5, 12, shift=1.0), "beta": case.draw(5, 12)}}

    case_of("residual-pruned", "l5-e2", **stack(lambda layer, x, made: x + made if layer % 2 == 1 else made), every=2)
    case_of("residual-stochastic-depth", "l5-s0.4", **stack(lambda layer, x, made: x + (1 - (layer + 1) / 5 * 0.6) * made), survival=0.4)
    case_of("layer-drop", "l5-e2", **stack(lambda layer, x, made: x + made if layer % 2 == 0 else x), every=2)


def norm_positions(folder):
    """Every norm between, beside and behind an enlarged stream, and none: the position is one mechanism in the engines, not here."""
    epsilon, over = 1e-3, lambda x, gamma: F.rms_norm(x, (12,), gamma, 1e-3)
    fixed = lambda x, gamma, beta, mean, variance: F.batch_norm(x.flatten(0, 1), mean, variance, gamma, beta, eps=epsilon).view_as(x)
    kinds = {  # The norm, its vectors, single numbers, and parameters.
        "layer-norm": (lambda x, gamma, beta: F.layer_norm(x, (12,), gamma, beta, epsilon), ["gamma", "beta"], [], {"eps": epsilon}),
        "rms-norm": (lambda x, gamma, beta: over(x, gamma) + beta, ["gamma", "beta"], [], {"eps": epsilon}),
        "rms-norm shift-no": (over, ["gamma"], [], {"eps": epsilon, "shift": "no"}),
        "group-norm": (lambda x, gamma, beta: F.group_norm(x.flatten(0, 1), 4, gamma, beta, epsilon).view_as(x), ["gamma", "beta"], [],
                       {"eps": epsilon, "groups": 4}),
        "scale-norm": (lambda x, gamma, beta: over(x, None) * gamma.mean(), ["gamma", "beta"], [], {"eps": epsilon}),
        "dyt": (lambda x, gamma, beta, alpha: gamma * torch.tanh(alpha * x) + beta, ["gamma", "beta"], ["alpha"], {}),
        "batch-norm": (fixed, ["gamma", "beta", "running_mean", "running_variance"], [], {"eps": epsilon}),
        "none": (lambda x: x, [], [], {}),
    }
    alpha = 6**0.25  # DeepNorm for three layers.
    for kind, (norm, vectors, single, params) in kinds.items():
        variant, *shift = kind.split()
        for position in ["sandwich", "parallel", "deep-norm"] + (["plain", "post", "pre"] if shift else ["plain"] if variant == "none" else []):
            depth = {"depth": 3} if position == "deep-norm" else {}
            case = Case(f"norm/{variant}", "-".join([*shift, position, "d12"]), position=position, **params, **depth)
            streams = {"plain": ["x"], "parallel": ["x", "residual", "other"]}.get(position, ["x", "residual"])
            given = {stream: case.draw(2, 3, 12, shift=0.3) for stream in streams}
            draw = lambda name: case.draw(12).square() if "variance" in name else case.draw(1 if name in single else 12, shift=0.7)
            enter, leave = ([draw(name) for name in vectors + single] for _ in range(2))
            given |= dict(zip(vectors + single, enter))
            x, residual = given["x"], given.get("residual")
            if position == "sandwich":
                # No norm leaves nothing between the stream and x, in or out.
                given |= {f"{name}_out": value for name, value in zip(vectors + single, leave)}
                out = residual + norm(norm(x, *enter), *leave)
            elif position == "parallel":
                out = residual + norm(x, *enter) + given["other"]
            elif position == "deep-norm":
                out = norm(alpha * residual + x, *enter)
            else:
                out = joined(x, residual, lambda x: norm(x, *enter), position)
            case.save(folder, **given, out=out)


def sparsemax(x):
    """Martins and Astudillo 2016, algorithm 1, with the support counted."""
    z = x.sort(-1, descending=True).values
    sums = z.cumsum(-1) - 1
    size = (1 + torch.arange(1, x.shape[-1] + 1) * z > z.cumsum(-1)).sum(-1, keepdim=True)
    return F.relu(x - sums.gather(-1, size - 1) / size)


def softmaxes(folder):
    """Other exponentials, selections, and output layers."""
    share = lambda numerators: numerators / numerators.sum(-1, keepdim=True)
    octaves = lambda x: (x - x.amax(-1, keepdim=True)) / math.log(2)

    def polynomial(degree):
        def answer(x):
            whole = octaves(x).round()
            rest = (octaves(x) - whole) * math.log(2)
            return share(2**whole * sum(rest**power / math.factorial(power) for power in range(degree + 1)))
        return answer

    variants = {
        ("base-2", "s7-c33"): (lambda x: F.softmax(x, -1), {}),
        ("fast-exp", "degree2"): (polynomial(2), {"degree": 2}),
        ("fast-exp", "degree3"): (polynomial(3), {"degree": 3}),
        ("table", "bits3"): (lambda x: share(2 ** ((octaves(x) * 8).round() / 8)), {"bits": 3}),
        ("taylor", "degree2"): (lambda x: share(1 + x + x**2 / 2), {"degree": 2}),
        ("taylor", "degree4"): (lambda x: share(1 + x + x**2 / 2 + x**3 / 6 + x**4 / 24), {"degree": 4}),
        ("sparsemax", "s7-c33"): (sparsemax, {}),
        ("log-softmax", "s7-c33"): (lambda x: F.log_softmax(x, -1), {}),
        ("top-k-fused", "k5"): (lambda x: F.softmax(x, -1).topk(5).values, {"k": 5}),
        ("top-k-unfused", "k5"): (lambda x: F.softmax(x, -1).topk(5).values, {"k": 5}),
    }
    for (variant, name), (answer, params) in variants.items():
        case = Case(f"softmax/{variant}", name, **params)
        logits = case.draw(1, 7, 33, scale=2.0)
        case.save(folder, logits=logits, out=answer(logits))
    output_layers(folder)


def output_layers(folder):
    """Log-probabilities, or losses [.., 1] of given targets, of 24 words from 9 channels."""
    def case_of(variant, name, answer, targets=True, words="w", note="", make=None, **params):
        case = Case(f"softmax/{variant}", name, note, **params)
        given = {"x": case.draw(2, 7, 9), words: case.draw(24 if words == "w" else 23, 9, scale=0.7)}
        if targets:
            given["targets"] = torch.randint(0, 24, (2, 7), generator=case.stream).double()
        given |= make(case) if make else {}
        case.save(folder, **given, out=answer(**given))

    def entropy(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten().long(), reduction="none").view(2, 7, 1)

    case_of("output-dense", "v24", lambda x, w: F.log_softmax(x @ w.T, -1), targets=False)
    case_of("cross-entropy", "v24", lambda x, w, targets: entropy(x @ w.T, targets))
    case_of("cross-entropy-tiled", "v24-t7", lambda x, w, targets: entropy(x @ w.T, targets), tile=7, note="the last tile has three words")
    case_of("cross-entropy-tiled", "v24-t8", lambda x, w, targets: entropy(x @ w.T, targets), tile=8)

    def hierarchical(x, w, targets, w_clusters):
        inside = torch.stack([entropy(x @ w[6 * c : 6 * c + 6].T, targets % 6) for c in range(4)])
        own = (targets // 6).long()[None, ..., None]
        return entropy(x @ w_clusters.T, targets // 6) + inside.gather(0, own)[0]

    case_of("hierarchical", "v24-c4", hierarchical, make=lambda case: {"w_clusters": case.draw(4, 9)}, clusters=4)

    def uneven(x, w, targets, w_clusters):
        # Seven clusters of 24 words: the first three have four words, the others three.
        first = [0, 4, 8, 12, 15, 18, 21, 24]
        cluster = torch.tensor([sum(int(word) >= start for start in first[1:]) for word in targets.flatten()]).view_as(targets)
        inside = [F.log_softmax(x @ w[start:end].T, -1) for start, end in zip(first, first[1:])]
        word = torch.stack([inside[c][at // 7, at % 7, int(targets.flatten()[at]) - first[c]] for at, c in enumerate(cluster.flatten().tolist())])
        return entropy(x @ w_clusters.T, cluster) - word.view(2, 7, 1)

    case_of("hierarchical", "v24-c7", uneven, make=lambda case: {"w_clusters": case.draw(7, 9)}, clusters=7,
            note="three clusters of four words and four of three")

    def huffman(x, nodes, targets):
        # The two rarest are joined; the rarer is on the side of +1. Inner nodes are numbered as they are made.
        waiting, paths = [(1 / (word + 1), False, word, [word]) for word in range(24)], [[] for _ in range(24)]
        for node in range(23):
            waiting.sort()
            for side, (*_, words) in zip([1, -1], waiting[:2]):
                for word in words:
                    paths[word].append((node, side))
            waiting[:2] = [(waiting[0][0] + waiting[1][0], True, node, waiting[0][3] + waiting[1][3])]
        loss = lambda row, word: -sum(F.logsigmoid(side * (row @ nodes[node])) for node, side in paths[int(word)])
        return torch.stack([loss(row, word) for row, word in zip(x.flatten(0, 1), targets.flatten())]).view(2, 7, 1)

    case_of("huffman", "v24", huffman, words="nodes", vocabulary=24)
    sample = torch.tensor([3, 5, 8, 13, 21, 0], dtype=torch.float64)

    def sampled(x, w, targets, sampled):
        words = [sorted({int(target), *map(int, sampled)}) for target in targets.flatten()]
        rows = [F.cross_entropy(row @ w[few].T, torch.tensor(few.index(int(target))))
                for row, few, target in zip(x.flatten(0, 1), words, targets.flatten())]
        return torch.stack(rows).view(2, 7, 1)

    case_of("sampled", "v24-s6", sampled, make=lambda case: {"sampled": sample},
            note="no word is sampled twice; a sampled target counts once")

    case = Case("softmax/adaptive", "v24", "PyTorch's own layer", vocabulary=24, cutoff1=5, cutoff2=12, projection=3)
    x, layer = case.draw(2, 7, 9), torch.nn.AdaptiveLogSoftmaxWithLoss(9, 24, [5, 12], div_value=3.0, dtype=torch.float64)
    weights = {"w_head": layer.head.weight, "w_down1": layer.tail[0][0].weight, "w_tail1": layer.tail[0][1].weight,
               "w_down2": layer.tail[1][0].weight, "w_tail2": layer.tail[1][1].weight}
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(case.draw(*weight.shape))
        given = {name: weight.detach() for name, weight in weights.items()}
        case.save(folder, x=x, **given, out=layer.log_prob(x.flatten(0, 1)).view(2, 7, 24))


FAMILIES = [compressed, ffns, norms, norm_positions, softmaxes]
