"""Linear layers in PyTorch: floating ones by its operator, int8 ones by its product of int8 matrices.

Precision int8 means a scale for each row of the activations and each row of the weight, symmetric, so that is what is computed here, as
torchao's int8 dynamic quantisation does it. PyTorch's older `quantize_dynamic` takes one scale for all rows and, on processors without
VNNI, seven bits: another function, which would be refused as wrong.
"""
import torch
import torch.nn.functional as F


def quantized(x):
    """int8 codes of each row, and its scale; a row of zeros has codes of zero."""
    scale = x.abs().amax(-1, keepdim=True) * (1 / 127) if x.dtype == torch.float64 else x.abs().amax(-1, keepdim=True) / 127
    codes = torch.round(x / torch.where(scale == 0, torch.ones_like(scale), scale)).to(torch.int8)
    return codes, scale


def linear_layer(t, weight, bias, precision):
    """The tensors to keep, by names without points, and a function of their holder and the input."""
    kept, added = weight.replace(".", "_"), bias and bias.replace(".", "_")
    biases = {} if bias is None else {added: t[bias]}
    if precision != "int8":
        return {kept: t[weight]} | biases, lambda own, x: F.linear(x, getattr(own, kept), getattr(own, added) if added else None)
    codes, scales = quantized(t[weight])
    # Columns one after another, which is the order that the product of a row with a row reads.
    return {f"{kept}_codes": codes.T, f"{kept}_scales": scales.flatten()} | biases, lambda own, x: int8_linear(own, kept, added, x)


def int8_linear(own, kept, added, x):
    codes, scales = quantized(x)
    rows = codes.reshape(-1, codes.shape[-1])
    product = torch._int_mm(rows, getattr(own, f"{kept}_codes")).to(torch.float32)
    y = product.reshape(*x.shape[:-1], -1) * scales * getattr(own, f"{kept}_scales")
    return y + getattr(own, added) if added else y
