"""A summary of a scanned data set in a few lines: classes, splits, ground truth, what was left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from stages.ingest.scan import Candidate, Scan

_SHOWN = 5


class Understood:
    """Counts the images of a scan, which are added in parts, by their final splits."""

    def __init__(self, reader: str, scan: Scan) -> None:
        self._reader, self._classes, self._left_out = reader, scan.classes, scan.left_out
        self._images = Counter[tuple[str, str]]()
        self._boxed = self._several = self._masked = 0
        self._troubled: list[str] = []

    def add(self, rows: Iterable[Candidate]) -> None:
        """Count some more images."""
        self._images.update((row.split, row.image.label_name) for row in rows)
        for image, *_ in rows:
            if image.boxes:
                self._boxed += 1
                self._several += len(image.boxes) > 1
            self._masked += bool(image.masks)
            if image.trouble is not None:
                self._troubled.append(image.image_id)

    def lines(self) -> Iterator[str]:
        """The lines, totals first."""
        images, splits = self._images.total(), Counter[str]()
        for (split, _), number in self._images.items():
            splits[split] += number
        by_split = ", ".join(f"{splits[split]} {split}" for split in ("train", "dev", "val", "test") if splits[split])
        yield (
            f"understood by reader {self._reader}: {_count(len(self._classes), 'class', 'classes')}"
            f" ({_some(self._classes)}), {_count(images, 'image', 'images')} ({by_split}), {self._truth()}"
        )
        if self._troubled:
            yield f"cannot be opened: {len(self._troubled)} ({_some(sorted(self._troubled))})"
        untrained = [name for name in self._classes if not self._images["train", name]]
        if untrained and splits["train"]:
            yield f"without a training image: {_count(len(untrained), 'class', 'classes')} ({_some(untrained)})"
        yield from (f"left out: {words}" for words in self._left_out)

    def _truth(self) -> str:
        several = f" ({self._several} with several)" if self._several else ""
        truth = [f"{self._boxed} with boxes{several}"] if self._boxed else []
        truth += [f"{self._masked} with masks"] if self._masked else []
        return ", ".join(truth) or "no ground truth"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
