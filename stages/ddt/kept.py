"""A class's descriptors, kept between two passes over them: on their GPU, then in memory, then in a file."""

import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np
import torch

from stages.vision.transfer import HostCopy

__all__ = ["Kept"]

_HALF = np.dtype(np.float16)


class Kept:
    """Chunks of descriptors in half precision, in the order they came; iterating again reads them again.

    budget: bytes that stay in memory; None: all. folder: of the file for the rest (unnamed: it vanishes with this
    object, or with the process). card: bytes of a GPU's descriptors that stay on it, where the second pass is fastest.
    """

    def __init__(self, budget: int | None = None, folder: str | None = None, card: int = 0) -> None:
        self.on_card = 0
        self.in_memory = 0
        self.spilled = 0
        self._budget = budget
        self._card = card
        self._folder = folder
        self._chunks: list[torch.Tensor | tuple[int, ...]] = []
        self._coming: HostCopy | None = None
        self._file: IO[bytes] | None = None

    def append(self, descriptors: torch.Tensor) -> None:
        """Keep a chunk ``(N, d)`` float16, of any device; a GPU's stays there, or is copied while the GPU goes on."""
        self._settle()
        if descriptors.is_cuda and self.on_card + descriptors.nbytes <= self._card:
            self.on_card += descriptors.nbytes
            self._chunks.append(descriptors)
            return
        self._coming = HostCopy(descriptors)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """The chunks ``(N, d)`` float16, on the CPU, or on the GPU where they stayed there."""
        self._settle()
        offset = 0
        for chunk in self._chunks:
            if isinstance(chunk, torch.Tensor):
                yield chunk
            else:
                values = self._read(offset, int(np.prod(chunk)))
                offset += values.nbytes
                yield torch.from_numpy(values.reshape(chunk))

    def _settle(self) -> None:
        """Wait for the pending copy, and put its chunk into memory or into the file."""
        if self._coming is None:
            return
        chunk, self._coming = self._coming.wait(), None
        if self._budget is None or self.in_memory + chunk.nbytes <= self._budget:
            self.in_memory += chunk.nbytes
            self._chunks.append(chunk.clone() if chunk.is_pinned() else chunk)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix="descriptors-")  # noqa: SIM115
        self._file.seek(self.spilled)
        self._file.write(chunk.contiguous().numpy().data)
        self.spilled += chunk.nbytes
        self._chunks.append(tuple(chunk.shape))

    def _read(self, offset: int, count: int) -> np.ndarray:
        assert self._file is not None, "a spilled chunk has a file"
        self._file.seek(offset)
        return np.frombuffer(bytearray(self._file.read(count * _HALF.itemsize)), _HALF)
