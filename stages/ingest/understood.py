"""What was understood of a data set, in a few lines for people: classes, splits, ground truth, what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence

from stages.ingest.scan import Candidate, Scan

_SHOWN = 5


def lines(reader: str, scan: Scan, rows: Sequence[Candidate]) -> Iterator[str]:
    """The lines, first the sums. rows: the scan's images with their final splits."""
    splits = Counter(row.split for row in rows)
    by_split = ", ".join(f"{splits[split]} {split}" for split in ("train", "dev", "val", "test") if splits[split])
    boxed = sum(bool(row.image.boxes) for row in rows)
    several = sum(len(row.image.boxes or ()) > 1 for row in rows)
    masked = sum(bool(row.image.masks) for row in rows)
    truth = [f"{boxed} with boxes" + (f" ({several} with several)" if several else "")] if boxed else []
    truth += [f"{masked} with masks"] if masked else []
    yield (
        f"understood by reader {reader}: {_count(len(scan.classes), 'class', 'classes')} ({_some(scan.classes)}),"
        f" {_count(len(rows), 'image', 'images')} ({by_split}), {', '.join(truth) or 'no ground truth'}"
    )
    troubled = [row.image.image_id for row in rows if row.image.trouble is not None]
    if troubled:
        yield f"cannot be opened: {len(troubled)} ({_some(troubled)})"
    trained = {row.image.label_name for row in rows if row.split == "train"}
    untrained = [name for name in scan.classes if name not in trained]
    if untrained and splits["train"]:
        yield f"without a training image: {_count(len(untrained), 'class', 'classes')} ({_some(untrained)})"
    yield from (f"left out: {words}" for words in scan.left_out)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
