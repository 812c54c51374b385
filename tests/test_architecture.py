"""docs/architecture.md against a real run: its walk from a config to the first Parquet part."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.store.layout import PARTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
STEP = re.compile(r"^\d+\. `(?P<file>[\w/]+\.py)` `(?P<function>[\w.]+)`", re.MULTILINE)

PROGRAM = """
import json, sys
from jobs import cli

root, called = sys.argv[1] + "/", []

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(root):
        called.append((code.co_filename[len(root):], code.co_qualname))

sys.setprofile(note)
try:
    cli.main(["run", sys.argv[2], "--in-process"])
finally:
    sys.setprofile(None)
    print(json.dumps(called))
"""


@pytest.fixture(scope="module")
def walk() -> list[tuple[str, str]]:
    """(file, function) of each step of the page."""
    return [(step["file"], step["function"]) for step in STEP.finditer(PAGE.read_text())]


def test_a_run_takes_the_walk_that_the_page_describes(walk, demo_data, tmp_path):
    """Breaks when a function of the page is gone, is not on the way, or comes at another place."""
    config = tmp_path / "config.yaml"
    dataset = {"reader": "folder", "root": str(demo_data)}
    config.write_text(yaml.safe_dump({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=250, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    called = [tuple(call) for call in json.loads(done.stdout.splitlines()[-1])]
    places = [called.index(step) for step in walk]
    assert places == sorted(places), "the order of first calls"
    assert list((tmp_path / "run").glob(f"ingest/*/{PARTS}/*.parquet"))


def test_at_most_eight_files_come_before_the_worker(walk):
    """Breaks when the way to a worker grows longer than a newcomer follows."""
    files = [file for file, _ in walk]
    worker = files.index("pipeline/worker/shard_worker.py")
    assert worker <= 8
    assert len(set(files)) == len(files), "the walk never comes back to a file"


def test_the_page_names_every_room_of_the_pipeline():
    """Breaks when a room is added, renamed or removed and the page is not."""
    rooms = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert rooms == set(
        re.findall(r"^\| `(\w+)` \|", PAGE.read_text().split("## The rooms of the pipeline")[1].split("##")[0], re.M)
    )
    assert len(rooms) <= 10
