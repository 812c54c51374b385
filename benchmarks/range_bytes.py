"""What is fetched from S3 to ingest images in tar shards: bytes that the server sent over those of the images.

The whole of a run's ingest counts: recognising the shards, listing what is in them, and reading every image once.
"""

import io
import logging
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml

from benchmarks.chaos.flaky_s3 import FlakyS3
from benchmarks.figures import Measured
from benchmarks.outside_data import data_file

FIGURE = "s3_range_bytes"
SAMPLES = "imagenet-samples.tar"
SHARDS, BUCKET, DATA = 4, "bench", "data"
_ROOT = Path(__file__).parent.parent
_REGION = "AWS_DEFAULT_REGION"
_ACCESS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", _REGION: "us-east-1"}


def range_bytes(folder: Path) -> Measured:
    """The bytes of all answers to GET of a shard, to those of the images."""
    archive = data_file(SAMPLES)
    if archive is None:
        return Measured(FIGURE, None, 0, reason=f"{SAMPLES} is not there (WEAKBOX_DATA)", unit="ratio")
    images = _bodies(archive)
    shards = [_shard(number, images) for number in range(SHARDS)]
    with _serving(shards) as server:
        _ingest(folder, server.url)
    own = SHARDS * sum(map(len, images))
    said = f"{SHARDS} shards of {len(images)} photographs, {own / 1e6:.1f} MB, {server.answers} answers; moto"
    return Measured(FIGURE, server.sent / own, 1, reason=said, unit="ratio")


def _bodies(archive: Path) -> list[bytes]:
    with tarfile.open(archive) as tar:
        opened = [tar.extractfile(member) for member in tar if member.isfile()]
        return [file.read() for file in opened if file is not None]


def _shard(number: int, images: Sequence[bytes]) -> bytes:
    """A tar of all images, each beside the file of its class, as the package webdataset writes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for place, data in enumerate(images):
            for ending, body in (("jpg", data), ("cls", str(place % 10).encode())):
                member = tarfile.TarInfo(f"{number:02d}{place:04d}.{ending}")
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


class _Counting(FlakyS3):
    """Counts what it sends of the data. sent: bytes. answers: number of answers."""

    def __init__(self) -> None:
        self.sent = self.answers = 0
        self._counting = threading.Lock()
        super().__init__()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = super()._serve(environ, start_response)
        is_data = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].startswith(f"/{BUCKET}/{DATA}/")
        return self._counted(answer) if is_data else answer

    def _counted(self, answer: Iterable[bytes]) -> Iterator[bytes]:
        with self._counting:
            self.answers += 1
        for part in answer:
            with self._counting:
                self.sent += len(part)
            yield part


@contextmanager
def _serving(shards: Sequence[bytes]) -> Iterator[_Counting]:
    """A server that holds the shards."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = _Counting()
    try:
        access = {name.lower(): value for name, value in _ACCESS.items() if name != _REGION}
        client = boto3.client("s3", endpoint_url=server.url, region_name=_ACCESS[_REGION], **access)
        client.create_bucket(Bucket=BUCKET)
        for number, data in enumerate(shards):
            client.put_object(Bucket=BUCKET, Key=f"{DATA}/train-{number:06d}.tar", Body=data)
        yield server
    finally:
        server.close()


def _ingest(folder: Path, url: str) -> None:
    config = folder / "shards.yaml"
    dataset = {"reader": "auto", "root": f"s3://{BUCKET}/{DATA}"}
    config.write_text(yaml.safe_dump({"run_root": str(folder / "shards"), "dataset": dataset}), encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if name.lower() != "http_proxy"}
    subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", str(config), "--in-process", "--only", "ingest"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        env={**plain, **_ACCESS, "AWS_ENDPOINT_URL": url},
    )
