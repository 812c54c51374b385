"""Training on a real Ray Train: killed workers and drivers, several trainings at once, and one line when it fails."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.errors import StageFailed, Stopped, UsageError
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import Resources, StageResources
from pipeline.contract.runner import Job
from pipeline.planning.plan import Planner, make_plan, resolve
from pipeline.running import timeline
from pipeline.running.in_process import InProcessRunner
from pipeline.running.parallel import in_threads
from pipeline.running.progress import NoProgress
from pipeline.running.run import Run, RunOptions
from pipeline.store.layout import RecipeFolder
from pipeline.store.records import Done
from pipeline.store.store import Store
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.in_process import fit_in_process
from pipeline.worker.local_context import LocalContext
from stages.vision.model_card import WEIGHTS
from stages.vision.training.setup import training_rows
from tests.cluster import mini
from tests.pipeline import ray_stages
from tests.stages import localizers

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
        planned = Planner(store).plan(stage)
        tasks = [resolve(shard, {}) for shard in planned.shards]
        if where == "here":
            return store, fit_in_process(stage, planned.recipe.id, tasks[0], LocalContext(store))
        done: list[Done] = []
        job = Job(stage, planned.recipe.id, tasks, store, StageResources(actors=workers))
        RayRunner().run(job, done.append)
        return store, done[0]

    return train_stage


def epochs_begun(notes, epochs, rank=0):
    """How often each epoch was begun on Ray by a rank."""
    return [len(ray_stages.pids(notes, f"epoch{epoch}-rank{rank}")) for epoch in range(epochs)]


@pytest.fixture
def whole(tmp_path):
    """Weights and batches of an uninterrupted training of MortalMinmax in this process."""
    notes = tmp_path / "whole-notes"
    job = ray_stages.minmax_job(tmp_path / "whole", notes)
    done = fit_in_process(ray_stages.minmax_stage(job), job.recipe, job.tasks[0], LocalContext(job.store))
    return job.store.blob(done, WEIGHTS), taken(notes)


def taken(notes: Path) -> dict[str, int]:
    """Epoch.batch.rank.digest -> how often that batch was taken."""
    return {path.name: len(path.read_text().split()) for path in notes.iterdir() if path.name != "hangs"}


def on_ray(job: Job) -> bytes:
    """The weights of a training on Ray."""
    from pipeline.on_ray.runner import RayRunner

    done: list[Done] = []
    RayRunner().run(job, done.append)
    return job.store.blob(done[0], WEIGHTS)


@pytest.mark.long
def test_a_localizer_whose_worker_is_killed_inside_an_epoch_reaches_the_same_weights(whole, tmp_path):
    """Breaks when a step is taken again or left out, or any of its state is not in the checkpoint before it."""
    weights, batches = whole
    job = ray_stages.minmax_job(tmp_path / "killed", tmp_path / "notes", "kill")
    assert on_ray(job) == weights
    again = taken(tmp_path / "notes")
    assert again.keys() == batches.keys()
    assert sorted(name for name, times in again.items() if times > 1) == [n for n in batches if n.startswith("1.1.")]


@pytest.mark.long
def test_a_localizer_whose_driver_is_killed_inside_an_epoch_is_finished_by_the_same_command(whole, tmp_path):
    """Breaks when workers outlive their driver, or the second driver does not find what the first one saved."""
    weights, batches = whole
    arguments = [sys.executable, "-m", "tests.pipeline.train_driver", str(tmp_path / "driven")]
    notes = tmp_path / "driven" / "notes"
    first = mini.start(arguments)
    try:
        assert mini.wait_until(first, lambda: bool(ray_stages.pids(notes, "hangs")))
        (worker,) = ray_stages.pids(notes, "hangs")
        first.kill()
        assert ended(first, worker)
    finally:
        first.clean_up()
    second = mini.start(arguments)
    try:
        second.check()
    finally:
        second.clean_up()
    store = Store(str(tmp_path / "driven" / "run"))
    assert store.blob(store.done("minmax", "r", ["k"])["k"], WEIGHTS) == weights
    assert Counter(taken(notes).values()) == {1: len(batches) - 1, 2: 1}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_stopped_training_saves_at_once_and_is_continued_by_another_number_of_workers(whole, tmp_path, workers):
    """Breaks when SIGTERM waits for the next checkpoint's time, a rank goes on alone, or what was saved is lost."""
    _, batches = whole
    job = ray_stages.minmax_job(tmp_path / "run", tmp_path / "notes", "slow", workers=workers, save_minutes=10)
    ended: list[tuple[float, BaseException]] = []
    running = threading.Thread(target=lambda: ended.append((time.monotonic(), stopped(job))))
    running.start()
    assert wait_for(lambda: taken(tmp_path / "notes"))
    asked = time.monotonic()
    job.stop.request()
    running.join(240)
    ((moment, error),) = ended
    assert isinstance(error, Stopped)
    assert moment - asked < 180, "a checkpoint is due every ten minutes"
    folder = RecipeFolder("minmax", "r")
    state = load_checkpoint(job.store.files.get(folder.checkpoint("k")), "state.pt")
    steps = state["running"]["steps"]
    assert (state["log"], 1 <= steps < 3) == ([], True), "inside the first epoch"
    before = taken(tmp_path / "notes")
    assert len(before) == workers * steps, "no step was taken that was not saved"
    again = replace(job, stage=ray_stages.MortalMinmax(str(tmp_path / "notes")), stop=StopSignal())
    again = replace(again, resources=replace(job.resources, actors=3 - workers))
    assert on_ray(again)
    table = job.store.table(job.store.done("minmax", "r", ["k"])["k"], "training")
    assert table.column("images").to_pylist() == [12] * 3
    assert len(taken(tmp_path / "notes")) == len(before) + (3 - workers) * (len(batches) - steps)
    assert not job.store.files.exists(folder.stop("k"))


@pytest.mark.long
def test_a_worker_hears_of_the_micro_batch(tmp_path):
    """Breaks when the setting does not reach a training on Ray, or its refusal is no line of wrong usage."""
    job = ray_stages.minmax_job(tmp_path / "run", tmp_path / "notes", micro_batch=1)
    with pytest.raises(UsageError, match="stage minmax: a step of 2 class sets of 2 images cannot be cut at"):
        on_ray(job)


def stopped(job: Job) -> BaseException:
    """How a training on Ray ends."""
    try:
        on_ray(job)
    except BaseException as error:
        return error
    raise AssertionError("it was not stopped")


def wait_for(happened: Callable[[], Any], within: float = 300) -> bool:
    """Whether something happens in time."""
    deadline = time.monotonic() + within
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.2)
    return bool(happened())


@pytest.mark.long
def test_trainings_side_by_side_overlap_and_reach_the_same_weights(tmp_path):
    """Breaks when trainings wait for each other, share random numbers or files, or one's death ends the other.

    Neither takes a step before the process of the other is at work. The worker of `one` is killed in its third epoch,
    and goes on from the end of the second: that takes less than the minutes between two checkpoints.
    """
    from pipeline.on_ray.runner import RayRunner

    def side(name, other="", kill_at=None, epochs=4):
        notes = tmp_path / name
        notes.mkdir(exist_ok=True)
        return ray_stages.Fragile(name, ray_stages.FragileParams(str(notes), epochs, kill_at, meets=other))

    def trained(where, runner, *chosen):
        store, stages = Store(str(tmp_path / where)), {stage.name: stage for stage in chosen}
        computed = Run(stages, store, runner, Resources(), NoProgress(), RunOptions()).execute()
        assert computed == dict.fromkeys(stages, 1)
        dones = {name: next(iter(stage.done.values())) for name, stage in make_plan(stages, store).items()}
        assert timeline.read(store).keys() == stages.keys()
        return {name: (store.blob(done, "weight"), store.table(done, "training")) for name, done in dones.items()}

    both = trained("ray", RayRunner, side("one", "two", kill_at=2), side("two", "one", epochs=3))
    assert epochs_begun(tmp_path / "one", 4) == [1, 1, 2, 1]
    assert epochs_begun(tmp_path / "two", 3) == [1, 1, 1]
    assert both == trained("here", InProcessRunner, side("one"), side("two", epochs=3))


def ended(command: mini.Command, pid: int, within: float = 60) -> bool:
    """Whether a process of a command ends by itself; Ray's agents may take longer."""
    deadline = time.monotonic() + within
    while alive := pid in {process.pid for process in command.processes()}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return not alive


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_trainings_that_do_not_fit_beside_each_other_wait(tmp_path, workers):
    """Breaks when two trainings each hold a part of the machines and wait for the rest."""
    from pipeline.on_ray.runner import RayRunner

    jobs = [
        ray_stages.minmax_job(tmp_path / name, tmp_path / f"{name}-notes", at=(-1, 0, 0), workers=workers)
        for name in "abc"[: 4 - workers]
    ]
    runner = RayRunner()
    done: list[Done] = []
    assert in_threads([partial(runner.run, job, done.append) for job in jobs]) == []
    assert len(done) == len(jobs)
    weights = {job.store.blob(each, WEIGHTS) for job in jobs for each in [job.store.done("minmax", "r", ["k"])["k"]]}
    assert len(weights) == 1


@pytest.mark.long
def test_two_workers_of_which_one_is_killed_take_the_same_batches(tmp_path):
    """Breaks when a rank goes on at another step than the other, or with another share of the images."""
    for rank in range(2):
        job = ray_stages.minmax_job(tmp_path / f"rank{rank}", tmp_path / "order")
        context = SimpleNamespace(
            rank=rank, world_size=2, micro_batch=None, device="cpu", read_image=LocalContext(job.store).read_image
        )
        rows = training_rows([job.store.table(job.tasks[0].inputs["images"][0], "images")])
        batches = ray_stages.minmax_stage(job).trainer().training(localizers.network(), rows, 64, context).batches
        for epoch in range(3):
            list(batches(epoch, 0))
    job = ray_stages.minmax_job(tmp_path / "killed", tmp_path / "notes", "kill", at=(1, 1, 1), workers=2)
    assert on_ray(job)
    again = taken(tmp_path / "notes")
    assert again.keys() == taken(tmp_path / "order").keys()
    assert {name[:4] for name, times in again.items() if times > 1} == {"1.1."}


@pytest.mark.long
def test_two_workers_survive_the_death_of_one(train, tmp_path):
    """Breaks when ranks restart at different epochs or a result is committed before all of them are done."""
    store, done = train("ray", workers=2, kill_at=1)
    assert store.table(done, "training").column("epoch").to_pylist() == [1, 2, 3, 4]
    assert [
        max(a, b)
        for a, b in zip(epochs_begun(tmp_path / "ray", 4), epochs_begun(tmp_path / "ray", 4, rank=1), strict=True)
    ] == [
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
