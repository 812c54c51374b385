"""Images in batches: read, decoded and brought to one size, bad ones set aside with their reason."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stages.vision.image_reading import Read, load
from stages.vision.image_rows import ImageRow

Timed = Callable[[str], AbstractContextManager[None]]


def _untimed(phase: str) -> AbstractContextManager[None]:
    return nullcontext()


class _Part(NamedTuple):
    """Images that one thread decoded: those that can be used, stacked (n, ...), and those that cannot, with reasons."""

    rows: list[ImageRow]
    pixels: np.ndarray | None
    bad: list[tuple[ImageRow, str]]


@dataclass
class ImageStream:
    """Turns rows of the images table into batches.

    read: reads an image; its storage errors pass through. shown: turns images ``(H, W, 3)`` uint8 into arrays of one
    shape. ahead: number of threads that decode the next batch meanwhile; 0 decodes in the calling thread. timed: the
    worker's clock; decoding, or waiting for it, is phase `decode`. bad: collects (row, reason).
    """

    read: Read
    shown: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    ahead: int = 0
    timed: Timed = _untimed
    bad: list[tuple[ImageRow, str]] = field(default_factory=list)

    def batches(self, rows: Sequence[ImageRow]) -> Iterator[tuple[list[ImageRow], np.ndarray]]:
        """Batches (rows, arrays of `shown` (B, ...) uint8 RGB) in the order of `rows`, without the bad ones."""
        chunks = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        decoded = self._decoded(chunks)
        while True:
            with self.timed("decode"):
                parts = next(decoded, None)
                if parts is None:
                    return
                self.bad += [bad for part in parts for bad in part.bad]
                shown = [part.pixels for part in parts if part.pixels is not None]
                pixels = shown[0] if len(shown) == 1 else np.concatenate(shown) if shown else None
            if pixels is not None:
                yield [row for part in parts for row in part.rows], pixels

    def _decoded(self, chunks: Sequence[Sequence[ImageRow]]) -> Iterator[list[_Part]]:
        """The parts of each chunk, one a thread, so that the computing thread waits for them once a part, not an image.

        Whenever the computing thread releases the GIL, even to copy an image, all decoding threads run before it: with
        15 threads that took a millisecond an image, more than the forward pass of any network on a large GPU.
        """
        if self.ahead < 1:
            for chunk in chunks:
                yield [self._part(chunk)]
            return
        with ThreadPoolExecutor(self.ahead) as pool:

            def submitted(chunk: Sequence[ImageRow]) -> list[Future[_Part]]:
                size = -(-len(chunk) // self.ahead)
                return [pool.submit(self._part, chunk[at : at + size]) for at in range(0, len(chunk), size)]

            waiting = [submitted(chunk) for chunk in chunks[:2]]
            for number in range(len(chunks)):
                parts = [future.result() for future in waiting.pop(0)]
                if number + 2 < len(chunks):
                    waiting.append(submitted(chunks[number + 2]))
                yield parts

    def _part(self, rows: Sequence[ImageRow]) -> _Part:
        """Some rows, decoded in this thread and stacked."""
        loaded = [(row, self._load(row)) for row in rows]
        good = [(row, image) for row, image in loaded if isinstance(image, np.ndarray)]
        bad = [(row, image) for row, image in loaded if isinstance(image, str)]
        return _Part([row for row, _ in good], np.stack([image for _, image in good]) if good else None, bad)

    def _load(self, row: ImageRow) -> np.ndarray | str:
        """The image, or the reason why there is none."""
        try:
            image = load(self.read, row)
        except ValueError as error:
            return str(error)
        return self.shown(image)
