"""Safetensors files by hand: the header's length in 8 bytes little-endian, a JSON header, raw little-endian numbers.

A file that is malformed raises ValueError, a number type that NumPy lacks NotImplementedError.
"""
import json
import math
import os
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
BITS = {**DTYPES, "BF16": "<u2"}  # NumPy has no BF16: its bits, for libraries that have it.


def read_tensors(path):
    """All tensors of the file by name."""
    tensors = {}
    with open(path, "rb") as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(8)
        data = 8 + (struct.unpack("<Q", start)[0] if len(start) == 8 else size)
        if data > size:
            raise ValueError(f"{path} is no safetensors file: it is shorter than its header says")
        try:
            entries = json.loads(file.read(data - 8))
            entries.pop("__metadata__", None)
            fields = {name: (entry["dtype"], entry["shape"], *entry["data_offsets"]) for name, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} has a malformed header: {error!r}") from error
        for name, (dtype, shape, begin, end) in fields.items():
            if dtype not in BITS:
                raise NotImplementedError(f"{path}: {name} is {dtype}, which no worker here reads")
            count, width = math.prod(shape), np.dtype(BITS[dtype]).itemsize
            if min([begin, *shape]) < 0 or data + end > size or end - begin != count * width:
                raise ValueError(f"{path}: {name}: its shape, its offsets and the file do not fit together")
            file.seek(data + begin)
            tensors[name] = np.fromfile(file, BITS[dtype], count).reshape(shape)
    return tensors


def expect_type(tensors, dtype, precision, path):
    """Everything in a cell's file has one number type."""
    wrong = [name for name, array in tensors.items() if array.dtype != dtype]
    if wrong:
        raise ValueError(f"{path}: {wrong} are not {precision}")


def bf16_bits(array):
    """f32 rounded to bf16, to nearest and ties to even, as its bits."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array), np.uint16(0x7FC0), rounded).astype("<u2")


def write_tensor(path, name, array, dtype=None):
    """A file with one tensor; bits that NumPy has no type for come with the name of theirs."""
    dtype = dtype or next(key for key, text in DTYPES.items() if array.dtype == text)
    header = json.dumps({name: {"dtype": dtype, "shape": array.shape, "data_offsets": [0, array.nbytes]}}).encode()
    header += b" " * (-len(header) % 8)  # The numbers begin at a multiple of 8.
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + array.tobytes())
