"""A data set and a run root that both lie in a bucket, on a server that drops connections."""

import os
import random
import sys
import threading

import boto3
import pytest

from benchmarks.chaos.flaky_s3 import FlakyS3
from pipeline.config.implied import INGEST, TRUTH
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from tests.cluster import mini
from tests.equality import assert_runs_equal


class Dropping(threading.Thread):
    """Makes requests go wrong, at moments that a seed chooses, until it is stopped."""

    KINDS = ("s3_refused", "s3_reset", "s3_lost_answer")

    def __init__(self, s3: FlakyS3, seed: int) -> None:
        super().__init__(daemon=True)
        self._s3, self._chance = s3, random.Random(seed)
        self._stopped = threading.Event()
        self.dropped = 0

    def run(self) -> None:
        while not self._stopped.wait(self._chance.uniform(0.2, 1.0)):
            if not self._s3.armed:  # while nobody asks for anything, nothing piles up
                self._s3.arm(self._chance.choice(self.KINDS), 1)
                self.dropped += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture
def bucket(monkeypatch):
    """A bucket called demo on a server of this test alone."""
    s3 = FlakyS3()
    for name, value in mini.s3_environment(s3.url).items():
        monkeypatch.setenv(name, value)
    for proxy in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    boto3.client("s3").create_bucket(Bucket="demo")
    mini.forget_s3()
    yield s3
    s3.close()
    mini.forget_s3()


def upload(folder):
    client = boto3.client("s3")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        client.upload_file(os.fspath(path), "demo", f"data/{path.relative_to(folder)}")


def run(run_root, data_root):
    dataset = f"dataset={{reader: folder, root: '{data_root}', shard_size: 100}}"
    arguments = ["run", mini.CONFIG, "--set", f"run_root={run_root}", "--set", dataset, "--in-process"]
    mini.start([sys.executable, "-m", "jobs.cli", *arguments]).check()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_data_and_run_root_in_a_bucket_with_dropped_connections(bucket, mini_data, reference, tmp_path):
    """Breaks when a listing or an image from S3 differs, or a dropped connection ends a run or quarantines an image."""
    run(tmp_path / "run", mini_data)
    local = Store(str(tmp_path / "run"))
    upload(mini_data)
    dropping = Dropping(bucket, seed=17)
    dropping.start()
    try:
        run("s3://demo/run", "s3://demo/data")
    finally:
        dropping.stop()
    remote = Store("s3://demo/run")
    print(f"{dropping.dropped} requests went wrong")
    assert dropping.dropped > 20
    stamped = {INGEST: "images", TRUTH: "truth"}  # their keys hold sizes and times of files
    assert_runs_equal(local, remote, [stage for stage in mini.STAGES if stage not in stamped])
    for stage, table in stamped.items():
        assert rows(local, stage, table) == rows(remote, stage, table)
    assert verify(remote, mini.STAGES).damage == []


def rows(store, stage, table):
    found = [store.table(done, table) for done in store.newest_set(stage).dones.values()]
    return sorted((row for part in found for row in part.to_pylist()), key=lambda row: row["image_id"])
