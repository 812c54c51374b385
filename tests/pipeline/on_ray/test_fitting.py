"""What surrounds a training on Ray Train, without a Ray: what is asked for, and what a stop signal does."""

import threading
from typing import Any

import pytest

from pipeline.base.errors import Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources
from pipeline.store.layout import RecipeFolder
from pipeline.store.sealed import seal

pytest.importorskip("ray")
FOLDER, KEY = RecipeFolder("fit", "recipe"), "key"


@pytest.mark.parametrize("gpus", [0.0, 0.5, 1.0, 2.0])
def test_fractions_and_counts_of_gpus_reach_ray_train(gpus):
    """Breaks when several localizers cannot share a GPU, or one cannot have two."""
    from pipeline.on_ray.training import scaling

    asked: Any = scaling(StageResources(actors=3, cpus=2, gpus=gpus, custom={"disk": 1.0}, labels={"zone": "a"}))
    assert (asked.num_workers, asked.use_gpu) == (3, gpus > 0)
    assert asked._resources_per_worker_not_none == {"CPU": 2, "disk": 1.0, **({"GPU": gpus} if gpus else {})}
    assert asked.label_selector == {"zone": "a"}


class Trainer:
    """In place of Ray Train's: trains until it is told to end."""

    def __init__(self):
        self.ended = threading.Event()

    def fit(self):
        self.ended.wait(30)


@pytest.fixture
def fitting(store, monkeypatch):
    """Wait for a training as the driver does; `begun`: its process is at work."""
    from pipeline.on_ray import training as ours

    monkeypatch.setattr(ours, "_PROGRESS_SECONDS", 0.05)
    stop = StopSignal()
    trainer: Any = Trainer()

    def fit(begun):
        if begun:
            store.files.put(FOLDER.begun(KEY), b"")
        stop.request()
        ours._fit(trainer, FOLDER, KEY, store, stop)

    yield fit
    trainer.ended.set()


def test_a_training_that_waits_for_machines_is_stopped_at_once(fitting):
    """Breaks when a run that is to end waits for a training that has not got its workers."""
    with pytest.raises(Stopped):
        fitting(begun=False)


def test_a_training_at_work_is_stopped_behind_its_next_checkpoint(fitting, store):
    """Breaks when a stop signal throws away what was trained since the last checkpoint."""
    said = threading.Timer(0.5, store.files.put, (FOLDER.progress(KEY), seal({"epoch": 0, "epochs": 2})))
    said.start()
    with pytest.raises(Stopped):
        fitting(begun=True)
    assert store.files.exists(FOLDER.progress(KEY)), "stopped before"
