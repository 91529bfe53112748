"""Attention in PyTorch: scores in memory, `scaled_dot_product_attention`, FlexAttention, and a step over a cache."""
import math

import torch
import torch.nn.functional as F


def inputs_of(t):
    return [t["q"], t["k"], t["v"]]


def materialised(t, axes, causal=False):
    """The textbook form: two products and a softmax. Grouped heads by broadcasting."""
    (b, h, n, d), g = t["q"].shape, t["k"].shape[1]
    scale, hidden = 1 / math.sqrt(d), None
    if causal:
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)

    def attend(own, q, k, v):
        scores = torch.matmul(q.reshape(b, g, h // g, n, d) * scale, k[:, :, None].transpose(-1, -2))
        if hidden is not None:
            scores = scores.masked_fill_(own.hidden, -math.inf)
        return torch.matmul(torch.softmax(scores, -1), v[:, :, None]).reshape(b, h, n, v.shape[-1])
    return {} if hidden is None else {"hidden": hidden}, inputs_of(t), attend


def fused(t, axes, causal=False):
    grouped = t["q"].shape[1] != t["k"].shape[1]
    return {}, inputs_of(t), lambda own, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)


def distances(n):
    places = torch.arange(n)
    return places[:, None] - places[None, :]


def masked(t, axes, causal=False):
    """A window by a mask, which is the only way into the fused kernel: all scores are computed, and most thrown away."""
    n, grouped = t["q"].shape[2], t["q"].shape[1] != t["k"].shape[1]
    away = distances(n)
    seen = (away >= 0) & (away < axes["window"]) if causal else away.abs() <= axes["window"]
    mask = torch.zeros(n, n, dtype=t["q"].dtype).masked_fill_(~seen, -math.inf)
    attend = lambda own, q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=own.mask, enable_gqa=grouped)
    return {"mask": mask}, inputs_of(t), attend


def flex(t, axes, pattern=None):
    """FlexAttention: blocks without a pair that is seen are not visited."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    n, grouped = t["q"].shape[2], t["q"].shape[1] != t["k"].shape[1]
    reach = axes.get("window", 0)
    seen = {"causal": lambda b, h, q, k: q >= k, "window": lambda b, h, q, k: (q - k <= reach) & (k - q <= reach),
            "window-causal": lambda b, h, q, k: (q >= k) & (q - k < reach)}.get(pattern)
    blocks = None if seen is None else create_block_mask(seen, None, None, n, n, device="cpu", _compile=n > 4096)
    return {}, inputs_of(t), lambda own, q, k, v: flex_attention(q, k, v, block_mask=blocks, enable_gqa=grouped)


def decode(t, axes):
    """One new token against a cache: its key and value are written into their slot, the last one, and all are attended to."""
    grouped, slot = t["q"].shape[1] != t["k_cache"].shape[1], t["k_cache"].shape[2] - 1
    caches = {name: t[name].clone() for name in ("k_cache", "v_cache")}

    def attend(own, q, k_new, v_new):
        own.k_cache[:, :, slot:slot + 1] = k_new
        own.v_cache[:, :, slot:slot + 1] = v_new
        return F.scaled_dot_product_attention(q, own.k_cache, own.v_cache, enable_gqa=grouped)
    return caches, [t["q"], t["k_new"], t["v_new"]], attend
