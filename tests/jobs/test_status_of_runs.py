"""`weakbox status` of runs that are at work, were killed, or left a damaged record."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.store import layout
from pipeline.store.run_records import runs
from pipeline.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def endless(demo_data, tmp_path):
    """A config whose classifier trains for ever."""
    path = tmp_path / "endless.yaml"
    stages = {"classify": {"epochs": 100000, "batch_size": 16, "refit": "never"}}
    dataset = {"reader": "folder", "root": str(demo_data), "shard_size": 30}
    path.write_text(yaml.safe_dump({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": stages}))
    return path


def start(config):
    command = [sys.executable, "-m", "jobs.cli", "run", str(config), "--in-process"]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)


def wait_for_runs(store, count):
    deadline = time.monotonic() + 60
    while len(runs(store)[0]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def last_lines(weakbox, config):
    """What status says below its table."""
    code, out, err = weakbox("status", str(config))
    assert (code, err) == (0, "")
    return [line for line in out.splitlines() if " run: " in line or "damaged" in line]


def test_two_runs_are_listed_and_killed_ones_died(weakbox, endless, tmp_path):
    """Breaks when a dead run is running for ever, or of two runs on one root only one is shown."""
    store = Store(str(tmp_path / "run"))
    first = start(endless)
    try:
        wait_for_runs(store, 1)
        second = start(endless)
        try:
            wait_for_runs(store, 2)
            last, other = last_lines(weakbox, endless)
            assert f"pid {second.pid} on " in last
            assert last.startswith("last run: running (last seen ")
            assert other.startswith("another run: running (last seen ")
            assert f"pid {first.pid} on " in other
            _, _, err = weakbox("gc", str(endless), "--yes", "--older-than", "0")
            assert err.count("a run is at work here") == 2
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()
    (died,) = last_lines(weakbox, endless)
    assert died.startswith("last run: died (last seen ")
    assert f"pid {second.pid} on " in died


def test_a_damaged_record_is_one_line_below_the_table(weakbox, run_copy, tmp_path):
    """Breaks when a record cut off by a full disk makes status fail, or passes unsaid."""
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(run_copy))
    Store(run_copy["run_root"]).files.put(layout.run_record("20261126T120000-0"), b'{"id": "2026')
    code, out, err = weakbox("status", str(config))
    assert (code, err) == (0, "")
    assert "classify" in out
    assert out.splitlines()[-1] == "_runs/20261126T120000-0.json is damaged: nothing is known of that run"
