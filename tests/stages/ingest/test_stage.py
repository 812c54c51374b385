import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.stage import Ingest
from tests import runs


def image(form: str = "JPEG", mode: str = "RGB", side: int = 9) -> bytes:
    """A small noisy image file."""
    pixels = np.random.default_rng(1).integers(0, 255, (side, side + 2, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form)
    return buffer.getvalue()


def ingest(params: FolderParams) -> Ingest:
    return Ingest("ingest", params, FolderReader(params))


GOOD = {
    "plain.jpg": image(),
    "cmyk.jpg": image(mode="CMYK"),
    "grey.jpg": image(mode="L"),
    "palette.png": image("PNG", "P"),
    "alpha.png": image("PNG", "RGBA"),
    "png_called.jpg": image("PNG"),
    "no_extension": image(),
}
BAD = {
    "empty.jpg": (b"", "empty file"),
    "cut.jpg": (image(side=99)[:-800], "truncated"),
    "cut.png": (image("PNG", side=99)[:900], "truncated"),
    "text.jpg": (b"hello world", "not an image"),
    "odd.bin": (bytes(range(256)), "not an image"),
}


@pytest.fixture
def target(tmp_path):
    """A folder with good and bad files, and the run on it."""
    for name, data in {**GOOD, **{name: data for name, (data, _) in BAD.items()}}.items():
        path = tmp_path / "data" / "cat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    dataset = {"reader": "folder", "root": str(tmp_path / "data"), "shard_size": 5}
    return runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset})


def test_bad_files_become_quarantine_rows_and_the_run_goes_on(target):
    """Breaks when a bad file stops the run, vanishes, or a good but unusual one is refused."""
    assert runs.execute(target) == {"ingest": 3, "duplicates": 1}
    images = {row["image_id"]: row for row in runs.rows(target, "ingest", "images")}
    bad = {row["image_id"]: row for row in runs.rows(target, "ingest", "quarantine")}
    assert set(images) == {f"cat/{name}" for name in GOOD}
    assert set(bad) == {f"cat/{name}" for name in BAD}
    for name, (data, reason) in BAD.items():
        row = bad[f"cat/{name}"]
        assert reason in row["reason"], row
        assert row["content_hash"] == hashlib.sha256(data).hexdigest()
        assert row["uri"] == f"dataset://ingest/cat/{name}"
    for name, data in GOOD.items():
        row = images[f"cat/{name}"]
        assert (row["width"], row["height"]) == (11, 9)
        assert row["content_hash"] == hashlib.sha256(data).hexdigest()


def test_a_replaced_file_runs_its_shard_alone(target):
    """Breaks when mending one file computes another shard than its own, or moves images to other shards."""
    runs.execute(target)
    path = runs.Path(target.stages["ingest"].params.root) / "cat" / "empty.jpg"
    path.write_bytes(image())
    assert runs.execute(target) == {"ingest": 1, "duplicates": 1}
    assert len(runs.rows(target, "ingest", "images")) == len(GOOD) + 1
    assert runs.execute(target) == {}


def test_trusting_the_listing_skips_the_scan(target, monkeypatch):
    """Breaks when `rescan: false` still lists a million files, or runs on with a listing that never was."""
    trusting = FolderParams(root=target.stages["ingest"].params.root, shard_size=5, rescan=False)
    target.stages["ingest"] = ingest(trusting)
    assert runs.execute(target) == {"ingest": 3, "duplicates": 1}
    monkeypatch.setattr(FolderReader, "scan", lambda self: pytest.fail("it scanned"))
    assert runs.missing(target) == {}
    assert runs.execute(target) == {}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "dataset: root is missing"),
        ({"root": "x", "dev_fraction": 1.0}, r"dev_fraction must be in \[0, 1\)"),
        ({"root": "x", "shard_size": 0}, "shard_size must be at least 1"),
    ],
)
def test_impossible_parameters_are_refused(params, words):
    """Breaks when a bad number surfaces as a traceback in the middle of a run."""
    with pytest.raises(UsageError, match=words):
        ingest(FolderParams(**params)).check()


def test_planning_writes_nothing(target):
    """Breaks when `weakbox plan` leaves traces that change what a run does."""
    assert set(runs.missing(target)) == {"ingest", "duplicates"}
    assert target.store.files.names("") == []
