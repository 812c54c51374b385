"""Images in batches: read, decoded and brought to one size, bad ones set aside with their reason."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from stages.vision.image_reading import Read, load
from stages.vision.image_rows import ImageRow

Timed = Callable[[str], AbstractContextManager[None]]


def _untimed(phase: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass
class ImageStream:
    """Turns rows of the images table into batches.

    read: its storage errors pass through. shown: makes arrays of one shape of the images, ``(H, W, 3)`` uint8. ahead:
    number of threads that decode the next batch meanwhile; 0 decodes in the calling thread. timed: the worker's clock;
    what this thread decodes, or waits for decoders, is phase `decode`. `bad` collects (row, reason).
    """

    read: Read
    shown: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    ahead: int = 0
    timed: Timed = _untimed
    bad: list[tuple[ImageRow, str]] = field(default_factory=list)

    def batches(self, rows: Sequence[ImageRow]) -> Iterator[tuple[list[ImageRow], np.ndarray]]:
        """Batches (rows, what is shown (B, ...) uint8 RGB) in the order of `rows`, without the bad ones."""
        chunks = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        decoded = self._decoded(chunks)
        while True:
            with self.timed("decode"):
                found = next(decoded, None)
            if found is None:
                return
            chunk, images = found
            good = [(row, image) for row, image in zip(chunk, images, strict=True) if isinstance(image, np.ndarray)]
            self.bad += [(row, str(image)) for row, image in zip(chunk, images, strict=True) if isinstance(image, str)]
            if good:
                yield [row for row, _ in good], np.stack([image for _, image in good])

    def _decoded(
        self, chunks: Sequence[Sequence[ImageRow]]
    ) -> Iterator[tuple[Sequence[ImageRow], list[np.ndarray | str]]]:
        if self.ahead < 1:
            for chunk in chunks:
                yield chunk, [self._load(row) for row in chunk]
            return
        with ThreadPoolExecutor(self.ahead) as pool:
            waiting = [[pool.submit(self._load, row) for row in chunk] for chunk in chunks[:2]]
            for number, chunk in enumerate(chunks):
                images = [future.result() for future in waiting.pop(0)]
                if number + 2 < len(chunks):
                    waiting.append([pool.submit(self._load, row) for row in chunks[number + 2]])
                yield chunk, images

    def _load(self, row: ImageRow) -> np.ndarray | str:
        """The image, or the reason why there is none."""
        try:
            image = load(self.read, row)
        except ValueError as error:
            return str(error)
        return self.shown(image)
