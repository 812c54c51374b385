"""The pool on a real Ray: processes die, shards fail, and every row comes out once or the user gets one clear line."""

import os
import signal
import time

import pytest

from pipeline.base.errors import StageFailed, Stopped, UsageError
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.planning.plan import Planner, resolve
from pipeline.store.records import Done, Recipe, Shard, ShardResult
from pipeline.store.store import Store
from schemas import TABLES
from tests.pipeline import ray_stages

pytest.importorskip("ray")
TWO = StageResources(actors=2)
pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One runner and one store for the module: starting actors is what costs time here."""
    from pipeline.on_ray.runner import RayRunner

    runner = RayRunner(placement=0)
    yield runner, Store(str(tmp_path_factory.mktemp("ray") / "run"))
    runner.close()


@pytest.fixture
def run(shared, tmp_path, request):
    """Run a `Faulty` stage of the test's own name; returns (planned keys, manifests in the order they came)."""
    runner, store = shared

    def run_stage(*, resources=TWO, watch=None, planned=None, stop=None, **params):
        stage = ray_stages.Faulty(request.node.originalname, ray_stages.FaultyParams(notes=str(tmp_path), **params))
        plan = Planner(store).plan(stage)
        (planned if planned is not None else []).extend(plan.keys)
        done = []

        def on_done(entry):
            done.append(entry)
            if watch:
                watch(done)

        tasks = [resolve(shard, {}) for shard in plan.missing]
        job = Job(stage, plan.recipe.id, tasks, store, resources, stop or StopSignal())
        runner.run(job, on_done)
        return plan.keys, done

    return run_stage


def each_row_once(shared, keys, done):
    """Whether every planned shard was reported once and its two rows are there."""
    store = shared[1]
    rows = sorted(n for entry in done for n in store.table(entry, "training").column("epoch").to_pylist())
    return sorted(entry.key for entry in done) == sorted(keys) and rows == list(range(1, 2 * len(keys) + 1))


def test_every_shard_is_computed_once_and_by_every_actor(run, shared, tmp_path):
    """Breaks when the feed drops or repeats a shard, or leaves an actor idle."""
    keys, done = run(shards=12)
    assert each_row_once(shared, keys, done)
    assert all(len(ray_stages.pids(tmp_path, str(number))) == 1 for number in range(12))


def test_the_pool_stays_for_the_next_stage(run, tmp_path):
    """Breaks when every stage pays for new processes."""
    run(shards=4)
    run(shards=5, fault="none")
    noted = [ray_stages.pids(tmp_path, str(number)) for number in range(4)]
    assert len({pid for pids in noted for pid in pids}) <= 2


def test_a_shard_whose_process_dies_goes_to_another(run, shared, tmp_path):
    """Breaks when the death of an actor loses the shards that it held, or hands one in twice."""
    keys, done = run(shards=8, fault="kill once")
    assert each_row_once(shared, keys, done)
    assert len(set(ray_stages.pids(tmp_path, "2"))) == 2


def test_an_actor_killed_from_outside_loses_nothing(run, shared, tmp_path):
    """Breaks when only errors inside a call are seen, not the end of a process between calls."""
    killed: list[int] = []

    def kill_first(done):
        if not killed:
            killed.append(ray_stages.pids(tmp_path, "0")[0])
            os.kill(killed[0], signal.SIGKILL)

    keys, done = run(shards=12, watch=kill_first)
    assert each_row_once(shared, keys, done)
    assert killed[0] not in ray_stages.pids(tmp_path, "11")


def test_a_passing_error_is_tried_again(run, shared):
    """Breaks when one failed call fails the stage."""
    keys, done = run(fault="raise once")
    assert each_row_once(shared, keys, done)


@pytest.mark.parametrize(
    ("fault", "said"), [("raise", "the moon is full"), ("kill", "died"), ("unpicklable", "cannot")]
)
def test_a_shard_that_always_fails_stops_the_stage_and_is_named(run, tmp_path, fault, said):
    """Breaks when attempts are not bounded, the line names an innocent shard, or an odd error escapes the count."""
    planned: list[str] = []
    with pytest.raises(StageFailed) as caught:
        run(fault=fault, planned=planned)
    assert f"shard {planned[2]} failed 3 times" in str(caught.value)
    assert said in str(caught.value)
    assert len(ray_stages.pids(tmp_path, "2")) == 3


def test_an_error_with_a_line_for_the_user_arrives_as_itself(run, tmp_path):
    """Breaks when a usage error in a worker loses its exit code or is tried three times."""
    with pytest.raises(UsageError, match="^there is no dev split$"):
        run(fault="usage")
    assert len(ray_stages.pids(tmp_path, "2")) == 1


def test_a_failed_set_up_ends_the_stage_at_once(run, tmp_path):
    """Breaks when actors that cannot set up are replaced again and again."""
    with pytest.raises(StageFailed, match="no such model"):
        run(fault="set-up")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("resources", "missing"),
    [
        (StageResources(cpus=64), "64 CPU"),
        (StageResources(gpus=1), "1 GPU"),
        (StageResources(custom={"disk": 1}), "1 disk"),
    ],
)
def test_resources_that_no_node_has_are_refused(run, resources, missing):
    """Breaks when the pool waits for ever for an actor that fits nowhere."""
    with pytest.raises(StageFailed, match=f"one actor needs {missing}, the largest node has 0|2"):
        run(resources=resources)


def test_a_label_that_no_node_has_is_named(run):
    """Breaks when only amounts are looked at, and the stage waits for ever for a node group that is not there."""
    with pytest.raises(StageFailed, match="no node has the labels group=fast"):
        run(resources=StageResources(labels={"group": "fast"}))


def test_a_stage_waits_for_a_node_but_not_for_ever(run, shared, monkeypatch):
    """Breaks when the reminders that it prints start the waiting anew."""
    from pipeline.on_ray import pool

    monkeypatch.setattr(pool, "_REMIND_SECONDS", 0.5)
    monkeypatch.setattr(pool, "_GROW_SECONDS", 0.2)
    monkeypatch.setattr(shared[0]._pool, "_placement", 3.0)
    started = time.monotonic()
    with pytest.raises(StageFailed, match="one actor needs 1 GPU"):
        run(resources=StageResources(gpus=1))
    assert 3 <= time.monotonic() - started < 60


def test_actors_are_counted_node_by_node():
    """Breaks when two nodes of two processors count as a place for an actor of four."""
    from pipeline.on_ray.pool import _on_node

    assert _on_node({"CPU": 2.0}, {"CPU": 4}) == 0
    assert _on_node({"CPU": 16.0, "GPU": 1.0}, {"CPU": 4, "GPU": 0.5}) == 2
    assert _on_node({"CPU": 2.0}, {}) == 1


def test_a_full_disk_ends_the_stage_at_once(run, tmp_path):
    """Breaks when a full disk is tried again and again, or shown as a traceback."""
    with pytest.raises(StageFailed, match="no space left"):
        run(fault="disk full")
    assert len(ray_stages.pids(tmp_path, "2")) == 1


def test_a_shard_that_hangs_is_given_to_a_second_actor(run, shared, tmp_path, monkeypatch):
    """Breaks when one stalled actor holds up a whole stage, or its shard is handed in twice."""
    monkeypatch.setattr(shared[0], "_stall", 2.0)
    keys, done = run(shards=8, fault="hang once", shard=5)
    assert each_row_once(shared, keys, done)
    assert len(set(ray_stages.pids(tmp_path, "5"))) == 2


def test_a_stop_signal_lets_running_shards_finish_and_takes_no_new_one(run, shared):
    """Breaks when a stop drops what is nearly done, or goes on for ever."""
    stop = StopSignal()
    finished: list[Done] = []

    def stop_after_three(done):
        finished[:] = done
        if len(done) >= 3:
            stop.request()

    with pytest.raises(Stopped, match="the same command continues"):
        run(shards=40, watch=stop_after_three, stop=stop)
    assert 3 <= len(finished) <= 3 + 2


@pytest.fixture
def eat(shared, tmp_path, request):
    """Run an `Eater` over one shard of 16 images; returns the predictions' ids, and those that were quarantined."""
    runner, store = shared

    def run_stage(**params):
        rows = [{**IMAGE, "image_id": f"{number:02d}", "uri": f"{number:02d}"} for number in range(16)]
        name = request.node.name.replace("[", "_").strip("]")
        ingest = ray_stages.Faulty(name, ray_stages.FaultyParams())
        recipe = Recipe("ingest", 1, {})
        images = store.commit(name, recipe.id, "k", ShardResult({"images": TABLES["images"].from_rows(rows)}))
        planner = Planner(store)
        planner.walk.step(ingest, recipe, [Shard("k", rows=16)])
        stage = ray_stages.Eater(f"eater_{name}", ray_stages.EaterParams(notes=str(tmp_path), images=name, **params))
        plan = planner.plan(stage)
        tasks = [resolve(shard, {name: {"k": images}}) for shard in plan.shards]
        done: list[Done] = []
        runner.run(Job(stage, plan.recipe.id, tasks, store, TWO), done.append)
        tables = [store.table(done[0], table) for table in ("predictions", "quarantine")]
        return [table.column("image_id").to_pylist() for table in tables]

    return run_stage


IMAGE = {"width": 1, "height": 1, "label": 0, "label_name": "a", "split": "train", "content_hash": "0"}


@pytest.mark.long
def test_images_that_kill_their_workers_are_found_and_quarantined(eat, shared):
    """Breaks when a poisonous image fails its whole shard, innocent ones are blamed, or rows lose their order."""
    kept, refused = eat(poison=("07",))
    assert refused == ["07"]
    assert kept == [f"{number:02d}" for number in range(16) if number != 7]


def test_a_batch_too_large_for_memory_is_taken_apart_and_no_image_blamed(eat, tmp_path):
    """Breaks when a process that was killed for its memory is given the same batch for ever, or images are blamed."""
    kept, refused = eat(most=8)
    assert (len(kept), refused) == (16, [])


def test_an_out_of_memory_error_halves_the_batch_in_place(eat, tmp_path):
    """Breaks when CUDA's error costs the process, or ends the stage."""
    kept, refused = eat(most=2, raises=True)
    assert (len(kept), refused) == (16, [])
    assert [len(ray_stages.pids(tmp_path, f"batch{size}")) for size in (16, 8, 4, 2)] == [1, 1, 1, 1]
