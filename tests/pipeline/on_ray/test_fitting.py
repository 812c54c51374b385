"""What surrounds a training on Ray Train, without a Ray: what is asked for, and what a stop signal does."""

import subprocess
import sys
import time
from typing import Any

import pytest

from pipeline.base.errors import Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources
from pipeline.on_ray.stop_flag import StopFlag
from pipeline.store.layout import RecipeFolder

pytest.importorskip("ray")
FOLDER, KEY = RecipeFolder("fit", "recipe"), "key"


@pytest.mark.parametrize("gpus", [0.0, 0.5, 1.0, 2.0])
def test_fractions_and_counts_of_gpus_reach_ray_train(gpus):
    """Breaks when several localizers cannot share a GPU, or one cannot have two."""
    from pipeline.on_ray.trainer import scaling

    asked: Any = scaling(StageResources(actors=3, cpus=2, gpus=gpus, custom={"disk": 1.0}, labels={"zone": "a"}))
    assert (asked.num_workers, asked.use_gpu) == (3, gpus > 0)
    assert asked._resources_per_worker_not_none == {"CPU": 2, "disk": 1.0, **({"GPU": gpus} if gpus else {})}
    assert asked.label_selector == {"zone": "a"}


def test_the_modules_of_a_driver_load_neither_torch_nor_ray_train():
    """Breaks when the driver of a cluster, which computes nothing, takes the gigabyte of those that do."""
    code = "import sys, pipeline.on_ray.runner; print({'torch', 'ray.train', 'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Trainer:
    """In place of the process of Ray Train: trains until the flag in the store says that it is to end."""

    def __init__(self, store):
        self.flag = StopFlag(store, FOLDER.stop(KEY))
        self.killed = False

    def ended(self, seconds):
        time.sleep(seconds)
        return self.flag.raised

    def end(self):
        self.killed = True


@pytest.fixture
def following(store, monkeypatch):
    """Wait for a training as the driver does; `begun`: its process is at work."""
    from pipeline.on_ray import stop_flag
    from pipeline.on_ray import training as ours

    monkeypatch.setattr(ours, "_PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(stop_flag, "_LOOK_SECONDS", 0.05)
    stop = StopSignal()
    trainer: Any = Trainer(store)

    def follow(begun):
        if begun:
            store.files.put(FOLDER.begun(KEY), b"")
        stop.request()
        try:
            ours._follow(trainer, FOLDER, KEY, store, stop)
        finally:
            assert trainer.killed != begun

    return follow


def test_a_training_that_waits_for_machines_is_ended_at_once(following):
    """Breaks when a run that is to end waits for a training that has not got its workers, or leaves it running."""
    with pytest.raises(Stopped):
        following(begun=False)


def test_a_training_at_work_is_told_and_ends_by_itself(following):
    """Breaks when a stop signal does not reach the workers, or the driver ends them before they have saved."""
    following(begun=True)


def test_the_flag_is_looked_for_seldom(store):
    """Breaks when each step of a training asks a bucket whether it is to go on."""
    path, asked = FOLDER.stop(KEY), []
    flag, exists = StopFlag(store, path), store.files.exists

    def noted(name):
        asked.append(name)
        return exists(name)

    store.files.exists = noted
    assert not any(flag.raised for _ in range(1000))
    assert asked == [path]
