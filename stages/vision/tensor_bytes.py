"""Tensors to bytes and back in the safetensors format, written out here so that bare machines can run the stages.

The format: the header's length as 8 little-endian bytes; the header, JSON that gives each tensor's type, shape and
place; then the tensors' bytes. The largest types come first, so that every tensor is aligned.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["load", "save"]

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_LENGTH = struct.Struct("<Q")


def save(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The file of these tensors; equal tensors give equal bytes. Raises KeyError for a type the format lacks."""
    header: dict[str, object] = {}
    parts, end = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        part = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = [end, end + len(part)]
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        parts.append(part)
        end += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([_LENGTH.pack(len(text)), text, *parts])


def load(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file, on the CPU. Raises ValueError for bytes that are no such file, or are cut short."""
    try:
        (length,) = _LENGTH.unpack_from(data)
        header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        body = memoryview(data)[_LENGTH.size + length :]
        return {name: _tensor(entry, body) for name, entry in header.items() if name != "__metadata__"}
    except (struct.error, KeyError, TypeError, AttributeError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"no safetensors file, or a damaged one: {error}") from error


def _tensor(entry: Mapping[str, Any], body: memoryview) -> torch.Tensor:
    start, end = entry["data_offsets"]
    dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
    if start == end:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(body[start:end]), dtype=dtype).reshape(shape)
