"""The check as a bare machine runs it: in a process where everything but the libraries that it names is missing."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.devices import compare, compute
from benchmarks.figures import Measured
from benchmarks.gpu_check import RATES, TOLERANCES
from benchmarks.shared_card import shared_rate
from benchmarks.stage_cases import Case
from benchmarks.training_step import Setting, training_rates

ROOT = Path(__file__).resolve().parents[2]
MISSING = """
    ray pydantic structlog tenacity rich click yaml pycocotools simplejpeg pandas s3fs jinja2 matplotlib psutil
"""
PROGRAM = f"""
import sys
from importlib.machinery import PathFinder
from pathlib import Path

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        missing = name.partition(".")[0] in {MISSING.split()!r}
        return None if missing else PathFinder.find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import torch
torch.set_num_threads(1)
torch.cuda.is_available = lambda: False
from benchmarks import gpu_check
gpu_check.rates = lambda folder, device: iter(())
gpu_check.training_rates = lambda setting: iter(())
sys.exit(gpu_check.main(Path(sys.argv[1])))
"""


def test_runs_on_a_bare_machine_without_a_gpu(tmp_path):
    """Breaks when mathematics, store or in-process runner come to need a library that a bare machine lacks."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "gpu_check.json").read_text())
    assert [row["figure"] for row in rows] == [*TOLERANCES, *RATES]
    assert all(row["met"] is None and "no GPU" in row["reason"] for row in rows)
    assert {"card", "driver", "torch", "processor"} <= rows[0]["environment"].keys()


def test_what_a_card_measured_stays_where_there_is_none(tmp_path, monkeypatch, capsys):
    """Breaks when whoever checks on a laptop overwrites the only numbers of a GPU."""
    monkeypatch.setattr(gpu_check, "check", lambda folder, *, cuda: iter([Measured("new", 1.0, 1)]))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "gpu_check.json"
    path.write_text(json.dumps([{"figure": "old", "environment": {"card": "H100"}}]))
    before = path.read_bytes()
    gpu_check.main(tmp_path)
    assert path.read_bytes() == before
    assert "stays as a card measured it" in capsys.readouterr().out
    path.write_text(json.dumps([{"figure": "old", "environment": {"card": None}}]))
    gpu_check.main(tmp_path)
    assert [row["figure"] for row in json.loads(path.read_text())] == ["new"]


def test_trainings_are_timed_on_batches_of_any_size():
    """Breaks when a training asks its context for what the timing does not have, or draws for another batch."""
    measured = list(training_rates(Setting("smallnet", size=64, batch=20, classes=20, steps=1), repeats=1))
    rates = {each.figure for each in measured if each.figure.endswith("_rate")}
    assert rates == {f"cpu_train_{kind}_rate" for kind in ("plain", "psol", "i2c", "spa", "minmax")}
    assert all(each.value is not None and each.value > 0 for each in measured)


def test_actors_that_share_a_device_are_timed_together(tmp_path):
    """Breaks when an actor's process cannot be started, waits for ever, or its images are not counted."""
    case = Case("cam", "smallnet", 64, "float32", batch={"cpu": 8}, images={"cpu": 32})
    started = time.perf_counter()
    rate = shared_rate(tmp_path, case, "cpu", 2)
    assert 32 / (time.perf_counter() - started) < rate < 1e5
    with pytest.raises(RuntimeError, match="cam on nonet: an actor failed"):
        shared_rate(tmp_path / "wrong", replace(case, backbone="nonet"), "cpu", 1)


@pytest.mark.long
def test_equal_results_differ_by_nothing_and_others_by_what_they_differ(tmp_path):
    """Breaks when a comparison is blind: two runs on one device must agree to the bit, and a damaged one must not."""
    first = compute(tmp_path / "first", "cpu")
    again = compute(tmp_path / "again", "cpu")
    found = compare(first, again)
    assert found.keys() == TOLERANCES.keys()
    for agreeing in ("cam_boxes_equal", "cam_bfloat16_boxes_equal", "sgrm_masks_equal"):
        assert found.pop(agreeing) >= 90
    assert found.pop("ddt_component_difference") < 1e-12
    assert set(found.values()) == {0.0}
    assert np.ptp(first.maps["cam"], axis=(1, 2)).min() > 0
    damaged = compare(first, replace(again, maps={**again.maps, "cam": again.maps["cam"][::-1]}))
    assert not TOLERANCES["cam_maps_difference"].met(damaged["cam_maps_difference"])
