"""Images that lie in shards and tables in a bucket: a run fetches about their own bytes."""

import io
import uuid

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from tests import runs

IMAGES = 40
TAILS = 4 * 2**16
"""What pyarrow reads of a table's end, twice to recognise it, once to list it, once in a worker."""


def photographs():
    """JPEGs of 60 to 120 kB."""
    chance = np.random.default_rng(0)
    for _ in range(IMAGES):
        pixels = chance.integers(0, 255, (256, chance.integers(200, 300), 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
        yield buffer.getvalue()


@pytest.fixture
def fetched(s3_root, monkeypatch):
    """Bytes of each object, or part of one, that is fetched from the bucket."""
    import s3fs

    seen, plain = [], s3fs.S3FileSystem._cat_file

    async def counted(self, *args, **more):
        data = await plain(self, *args, **more)
        seen.append(len(data))
        return data

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", counted)
    return seen


def shard(data):
    buffer = io.BytesIO()
    with webdataset.TarWriter(buffer) as writer:
        for number, each in enumerate(data):
            writer.write({"__key__": f"{number:06}", "jpg": each, "cls": number % 2})
    return buffer.getvalue()


def table(data):
    """As Hugging Face's `datasets` writes it; the order of names is not that of rows."""
    images = [{"bytes": each, "path": f"{uuid.UUID(int=number * 2**96)}.jpg"[::-1]} for number, each in enumerate(data)]
    buffer = io.BytesIO()
    options = {"compression": "none", "use_dictionary": False, "write_page_index": True, "write_batch_size": 4}
    pq.write_table(pa.table({"image": images, "label": [i % 2 for i in range(IMAGES)]}), buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "pack"), [("train.tar", shard), ("train.parquet", table)])
def test_a_run_fetches_the_images_once_and_little_else(s3_root, fetched, tmp_path, name, pack):
    """Breaks when shards or tables are fetched whole for each image, or twice: listed, then read."""
    data = list(photographs())
    root = f"{s3_root.rpartition('/')[0]}/{uuid.uuid4()}"
    fsspec.filesystem("s3").pipe_file(f"{root}/{name}", pack(data))
    dataset = {"reader": "auto", "root": root, "dev_fraction": 0.0, "shard_size": 15}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    assert len(runs.rows(target, "ingest", "images")) == IMAGES
    own = sum(map(len, data))
    print(f"{name}: {sum(fetched)} bytes in {len(fetched)} requests for {IMAGES} images of {own} bytes")
    assert sum(fetched) < 1.1 * own + (TAILS if name == "train.parquet" else 0)
