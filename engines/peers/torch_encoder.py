"""An encoder of BERT's layout in PyTorch, whole: embedding, layers of self-attention and feed-forward, norms after the sums.

Only the original components: what an experiment swaps in for one of them is another model, and refused. Queries, keys and values are made
by one product with their weights side by side, as fused implementations do it.
"""
import torch
import torch.nn.functional as F

from torch_linear import linear_layer


def encoder(t, axes):
    precision, layers, heads, kv_heads = axes["precision"], axes["layers"], axes["heads"], axes["kv_heads"]
    width, head_dim = axes["d_model"], axes["d_model"] // heads
    kept, applied = {}, []
    for layer in range(layers):
        at = f"layers.{layer}."
        joined = {at + "qkv.weight": torch.cat([t[f"{at}{name}.weight"] for name in "qkv"]),
                  at + "qkv.bias": torch.cat([t[f"{at}{name}.bias"] for name in "qkv"])}
        parts = [linear_layer(joined, at + "qkv.weight", at + "qkv.bias", precision),
                 linear_layer(t, at + "o.weight", at + "o.bias", precision),
                 linear_layer(t, at + "ffn.w1", at + "ffn.b1", precision), linear_layer(t, at + "ffn.w2", at + "ffn.b2", precision)]
        for weights, _ in parts:
            kept |= weights
        applied.append([apply for _, apply in parts])
    norms = ["embedding.norm."] + [f"layers.{layer}.{name}_norm." for layer in range(layers) for name in ("attention", "ffn")]
    kept |= {(norm + name).replace(".", "_"): t[norm + name] for norm in norms for name in ("gamma", "beta")}
    kept |= {"embedding_tokens": t["embedding.tokens"], "embedding_positions": t["embedding.positions"]}

    def norm(own, name, x):
        return F.layer_norm(x, (width,), getattr(own, name + "_gamma"), getattr(own, name + "_beta"), 1e-12)

    def attended(own, layer, x):
        (b, n, _), (qkv, out, _, _) = x.shape, applied[layer]
        rows, group = kv_heads * head_dim, heads != kv_heads
        q, k, v = qkv(own, x).split([width, rows, rows], -1)
        q, k, v = (part.view(b, n, -1, head_dim).transpose(1, 2) for part in (q, k, v))
        return out(own, F.scaled_dot_product_attention(q, k, v, enable_gqa=group).transpose(1, 2).reshape(b, n, width))

    def run(own, tokens):
        x = norm(own, "embedding_norm", F.embedding(tokens, own.embedding_tokens) + own.embedding_positions)
        for layer in range(layers):
            x = norm(own, f"layers_{layer}_attention_norm", x + attended(own, layer, x))
            _, _, up, down = applied[layer]
            x = norm(own, f"layers_{layer}_ffn_norm", x + down(own, F.gelu(up(own, x))))
        return x
    return kept, [t["tokens"].to(torch.int64)], run
