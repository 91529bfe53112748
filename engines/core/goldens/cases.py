"""What every golden case has: a name, parameters, a stream of numbers of its own, and a file that it writes."""

import json
import struct
import zlib

import torch
import torch.nn.functional as F

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu-squared": lambda x: F.relu(x).square(),
}
WRITTEN = []  # Names of the files made so far.


class Case:
    """One case: a variant, a name, parameters, and a stream of numbers of its own."""

    def __init__(self, variant, name, note="", **params):
        self.variant, self.name, self.note, self.params = variant, name, note, params
        self.file = f"{variant.replace('/', '-')}.{name}.safetensors"
        WRITTEN.append(self.file)
        self.seed = zlib.crc32(self.file.encode())
        self.stream = torch.Generator().manual_seed(self.seed)

    def draw(self, *shape, scale=1.0, shift=0.0):
        """Normal numbers."""
        return torch.randn(*shape, generator=self.stream, dtype=torch.float64) * scale + shift

    def save(self, folder, **tensors):
        """Writes the file: length of the header, header, raw little-endian numbers."""
        header = {"__metadata__": {
            "variant": self.variant, "case": self.name, "params": json.dumps(self.params, sort_keys=True),
            "torch": torch.__version__.split("+")[0], "seed": str(self.seed), "note": self.note,
        }}
        blocks, offset = [], 0
        for name in sorted(tensors):
            tensor = tensors[name].contiguous()
            assert tensor.dtype == torch.float64 and not torch.isnan(tensor).any(), f"{self.file}: {name}"
            block = tensor.numpy().astype("<f8").tobytes()
            header[name] = {"dtype": "F64", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(block)]}
            blocks.append(block)
            offset += len(block)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # The data begin at a multiple of 8.
        (folder / self.file).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def row(first, last, count):
    """Evenly spaced values."""
    return torch.linspace(first, last, count, dtype=torch.float64)


def int_codes(x, axis, largest):
    """Rounded to whole steps of a scale along `axis`: the largest magnitude is `largest` steps, and the scale is held in f32."""
    scale = (x.abs().amax(axis, keepdim=True) / largest).float().double()
    return (x / scale).round() * scale
