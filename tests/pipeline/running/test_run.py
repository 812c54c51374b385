import dataclasses
import errno

import pytest
import structlog

from pipeline.base.errors import StageFailed, Stopped, UsageError
from pipeline.planning.plan import make_plan
from pipeline.store.layout import TIMELINE
from pipeline.upkeep.verify import verify
from tests.pipeline.fakes import Each, numbers, run, stages


def tables(store, chosen) -> dict[str, list]:
    """Every table of every stage of a finished run, rows sorted."""
    planned = make_plan(chosen, store)
    return {
        name: sorted(
            (tuple(row.values()) for done in stage.done.values() for row in store.table(done, "training").to_pylist()),
        )
        for name, stage in planned.items()
    }


def test_a_run_computes_everything_once(store, log):
    """Breaks when a shard is computed twice, or a second run computes anything."""
    assert run(store, stages()) == {"source": 3, "each": 3, "total": 1}
    assert len(log.computed) == len(set(log.computed)) == 7
    assert run(store, stages()) == {}
    assert len(log.computed) == 7
    assert verify(store, list(stages())).damage == []


@pytest.mark.parametrize("shards", range(7))
def test_after_an_exception_only_missing_shards_are_computed(store, log, tmp_path, shards):
    """Breaks when a rerun computes a shard again that was done, or ends with other tables."""
    log.fail_after = shards
    with pytest.raises(OSError, match="disk"):
        run(store, stages())
    before = list(log.computed)
    assert len(before) == shards
    log.fail_after = None
    run(store, stages())
    assert len(log.computed) == len(set(log.computed)) == 7
    assert log.computed[:shards] == before
    whole = type(store)(str(tmp_path / "uninterrupted"))
    run(whole, stages())
    assert tables(store, stages()) == tables(whole, stages())


def test_a_note_that_cannot_be_written_does_not_hide_why_a_stage_failed(store, log, monkeypatch):
    """Breaks when the timeline, on a disk that is full by then, is what the user hears of."""
    log.fail_after = 1
    put = store.files.put

    def full(path, data):
        if path == TIMELINE:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(path, data)

    monkeypatch.setattr(store.files, "put", full)
    with pytest.raises(OSError, match="disk") as failed:
        run(store, stages())
    assert failed.value.errno != errno.ENOSPC


def test_only_runs_one_stage_on_the_newest_inputs(store):
    """Breaks when --only touches another stage, or loses what its inputs were made from."""
    run(store, stages())
    assert run(store, stages(), only="total") == {}
    assert run(store, stages(total={"note": "again"}), only="total") == {"total": 1}
    assert run(store, stages(each={"factor": 5.0}), only="each") == {"each": 3}


def test_only_gives_a_stage_its_inputs_ingredients(store, monkeypatch):
    """Breaks when a stage that looks at what its input was made from (evaluate: the data set) fails under --only."""
    run(store, stages())
    seen = []
    plan = Each.plan

    def watched(self, recipe, inputs):
        seen.append(inputs["numbers"][0])
        return plan(self, recipe, inputs)

    monkeypatch.setattr(Each, "plan", watched)
    run(store, stages(each={"factor": 7.0}), only="each")
    assert seen[0].recipe.params == {"bad": 0, "flavour": "plain"}


def test_only_warns_of_stale_inputs(store):
    """Breaks when numbers made on old inputs look like those of the config."""
    run(store, stages())
    with structlog.testing.capture_logs() as logs:
        run(store, stages(total={"note": "b"}), only="total")
    assert [entry for entry in logs if entry["log_level"] == "warning"] == []
    with structlog.testing.capture_logs() as logs:
        run(store, stages(each={"factor": 5.0}, total={"note": "a"}), only="total")
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert warning["stage"] == "each"
    assert "stale" in warning["event"]


def test_only_without_inputs_is_refused(store):
    """Breaks when --only on an empty root gives a traceback."""
    with pytest.raises(UsageError, match="--only each: its input source was never completed"):
        run(store, stages(), only="each")


@pytest.mark.parametrize("options", [{"only": "eech"}, {"force": ("eech",)}])
def test_an_unknown_stage_names_the_nearest(store, options):
    """Breaks when a misspelt stage is silently not run."""
    with pytest.raises(UsageError, match="there is no stage 'eech'; did you mean 'each'"):
        run(store, stages(), **options)


def test_force_computes_a_finished_stage_again_and_nothing_else(store):
    """Breaks when --force does nothing, or runs what hangs below with unchanged inputs."""
    run(store, stages())
    assert run(store, stages(), force=("each",)) == {"each": 3}
    assert run(store, stages()) == {}
    assert verify(store, list(stages())).damage == []


def test_force_mends_a_damaged_store(store):
    """Breaks when the advice of verify's error (--force) leaves the damage."""
    run(store, stages())
    done = next(iter(make_plan(stages(), store)["each"].done.values()))
    store.files.remove(done.tables["training"].file)
    assert len(verify(store, ["each"]).damage) == 1
    run(store, stages(), force=("each",))
    assert verify(store, ["each"]).damage == []


def test_force_trains_again(store, log):
    """Breaks when a forced training finds its finished checkpoint and trains nothing."""
    chosen = stages(fit={"kind": "fit", "epochs": 2})
    run(store, chosen)
    trained = [entry for entry in log.computed if entry[0] == "epoch"]
    run(store, chosen, force=("fit",))
    assert [entry for entry in log.computed if entry[0] == "epoch"] == 2 * trained
    assert len(trained) == 2


def test_too_many_bad_images_stop_the_run(store):
    """Breaks when an outage that makes images unreadable passes for bad images: exit 3."""
    chosen = stages(source={"rows": 100, "size": 50, "bad": 11})
    with pytest.raises(Stopped, match=r"source: 11 of 100 images quarantined.*0\.1") as caught:
        run(store, chosen, max_quarantined=0.1)
    assert caught.value.exit_code == 3
    assert run(store, chosen, max_quarantined=0.11)["total"] == 1


def test_a_few_bad_images_stop_nothing(store):
    """Breaks when one broken photo in a folder of fifty stops the run."""
    assert run(store, stages(source={"rows": 20, "size": 20, "bad": 10}))["total"] == 1


def test_a_shard_that_loses_rows_fails_the_run(store, monkeypatch):
    """Breaks when a worker that drops rows silently is committed."""
    from pipeline.store.records import ShardResult

    monkeypatch.setattr(Each, "worker", lambda self, context: lambda task: ShardResult({"training": numbers(0, 1)}))
    with pytest.raises(StageFailed, match="each: shard .* 4 rows in, 1 out and 0 quarantined"):
        run(store, stages())


def test_options_are_frozen():
    """Breaks when an option of a run appears without a decision (and a word in the README)."""
    from pipeline.running.run import RunOptions

    names = ["only", "force", "max_quarantined", "stop", "listing", "accepted"]
    assert [f.name for f in dataclasses.fields(RunOptions)] == names
