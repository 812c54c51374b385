"""Topic `ingest`: what it costs to list and to open a data set of ImageNet's size, to decode, and to read from S3."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.decode_rate import decode_rate
from benchmarks.figures import Measured
from benchmarks.ingest_cost import ingest_cost
from benchmarks.linked_images import make
from benchmarks.listing_cost import listing_cost
from benchmarks.range_bytes import range_bytes


def measure(folder: Path) -> Iterator[Measured]:
    """The topic's figures."""
    root = folder / "linked"
    make(root)
    yield from listing_cost(folder, root)
    yield from ingest_cost(folder / "ingest", root)
    yield range_bytes(folder)
    yield decode_rate()
