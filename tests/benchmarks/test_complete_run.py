"""The made run in small: it must be a run like any other."""

from benchmarks.complete_run import CompleteRun
from pipeline.config.run_config import load_config
from pipeline.planning.plan import make_plan
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from stages import catalog


def test_it_is_complete_until_unfinished(tmp_path):
    """Breaks when the timed rerun would have something to compute, or nothing to finish."""
    run = CompleteRun(tmp_path, images=2500)
    config = load_config(str(run.config))
    stages, store = config.stage_objects(catalog), Store(config.run_root)
    assert len(run.ranges) == 3
    assert not any(stage.missing for stage in make_plan(stages, store).values())
    assert verify(store, list(stages)).damage == []
    run.unfinish()
    assert store.newest("cam") is None
    assert not make_plan(stages, store)["cam"].missing
