"""Calls beside the driver, on a real Ray: what they raise, how they are stopped, and that a driver loads no torch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import Stopped, UsageError
from pipeline.base.stop_signal import StopSignal
from tests import runs

pytest.importorskip("ray")
PROGRAM = """
import sys
from jobs import cli

try:
    cli.main(["run", sys.argv[1]])
except SystemExit as end:
    print("torch" in sys.modules, end.code)
"""


@pytest.fixture
def runner(ray_local):
    from pipeline.on_ray.runner import RayRunner

    runner = RayRunner(placement=0)
    yield runner
    runner.close()


def test_a_refusal_arrives_as_it_was_raised(runner):
    """Breaks when a user sees Ray's traceback in place of the one line that says what is wrong."""

    def refuse():
        raise UsageError("stage cam: no such layer")

    with pytest.raises(UsageError, match="^stage cam: no such layer$"):
        runner.call_apart(refuse, StopSignal())


def test_a_call_takes_place_elsewhere_and_a_lost_one_here(runner, tmp_path):
    """Breaks when a check runs in the driver after all, or a killed process leaves a run unchecked."""
    places = tmp_path / "places"

    def note(lost: bool, driver: int = os.getpid()):
        with places.open("a") as file:
            file.write(f"{os.getpid() == driver}\n")
        if lost and os.getpid() != driver:
            os.kill(os.getpid(), signal.SIGKILL)

    runner.call_apart(lambda: note(lost=False), StopSignal())
    runner.call_apart(lambda: note(lost=True), StopSignal())
    assert places.read_text().split() == ["False", "False", "True"]


def test_a_stop_does_not_wait_for_a_call(runner):
    """Breaks when Ctrl-C during the checks of a slow network waits for them."""
    stop = StopSignal()
    stop.request()
    began = time.monotonic()
    with pytest.raises(Stopped):
        runner.call_apart(lambda: time.sleep(300), stop)
    assert time.monotonic() - began < 100


def test_a_first_run_on_ray_leaves_torch_to_others(demo_data: Path, tmp_path: Path):
    """Breaks when asking for packages or trying networks fills the driver of a cluster, which computes nothing."""
    lite = {"backbone": "efficientnet_lite0", "weights": "package:efficientnet_lite0", "epochs": 0}
    config = runs.config(demo_data, tmp_path / "run") | {"stages": {"classify": {**lite, "keep_head": True}, "cam": {}}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=550)
    assert "stage classify: " in done.stderr, "the last of these checks refuses a head of other classes"
    assert done.stdout.splitlines()[-1] == "False 2", done.stderr
