"""Training on a real Ray Train: killed workers, equal weights, and one clear line when it fails for good."""

import pytest

from pipeline.context import LocalContext
from pipeline.errors import StageFailed
from pipeline.plan import plan_stage, resolve
from pipeline.resources import StageResources
from pipeline.runner import Job
from pipeline.stage import Done
from pipeline.store import Store
from pipeline.trainer import fit_in_process
from tests.pipeline import ray_stages

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.fixture
def train(tmp_path):
    """Train a `Fragile` stage on Ray, or in this process; returns the store and the manifest."""

    def train_stage(where, workers=1, **params):
        from pipeline.on_ray.runner import RayRunner

        notes = tmp_path / where
        notes.mkdir()
        store = Store(str(tmp_path / f"run-{where}"))
        stage = ray_stages.Fragile("fragile", ray_stages.FragileParams(notes=str(notes), **params))
        planned = plan_stage(stage, {}, store)
        tasks = [resolve(shard, {}) for shard in planned.shards]
        if where == "here":
            return store, fit_in_process(stage, planned.recipe, tasks[0], LocalContext(store))
        done: list[Done] = []
        job = Job(stage, planned.recipe, tasks, store, StageResources(actors=workers))
        RayRunner().run(job, done.append)
        return store, done[0]

    return train_stage


def epochs_begun(tmp_path, epochs, rank=0):
    """How often each epoch was begun on Ray by a rank."""
    return [len(ray_stages.pids(tmp_path / "ray", f"epoch{epoch}-rank{rank}")) for epoch in range(epochs)]


def test_a_training_whose_worker_is_killed_reaches_the_same_weights(train, tmp_path):
    """Breaks when a checkpoint lacks optimizer, schedule or seeds, or when finished epochs are trained again."""
    store, done = train("ray", kill_at=2)
    assert epochs_begun(tmp_path, 4) == [1, 1, 2, 1]
    here, expected = train("here")
    assert store.blob(done, "weight") == here.blob(expected, "weight")
    assert store.table(done, "training").equals(here.table(expected, "training"))


@pytest.mark.long
def test_two_workers_survive_the_death_of_one(train, tmp_path):
    """Breaks when ranks restart at different epochs or a result is committed before all of them are done."""
    store, done = train("ray", workers=2, kill_at=1)
    assert store.table(done, "training").column("epoch").to_pylist() == [1, 2, 3, 4]
    assert [max(a, b) for a, b in zip(epochs_begun(tmp_path, 4), epochs_begun(tmp_path, 4, rank=1), strict=True)] == [
        1,
        2,
        1,
        1,
    ]


@pytest.mark.long
def test_a_training_that_fails_for_good_says_why(train):
    """Breaks when the cause is buried under the messages of Ray Train."""
    with pytest.raises(StageFailed, match="the training loss is nan in epoch 2"):
        train("ray", poison=1)
