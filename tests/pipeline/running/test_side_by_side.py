import threading
from typing import Any

import pytest

from pipeline.base.errors import Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import Resources
from pipeline.contract.stage import TrainStage
from pipeline.planning.graph import topological, training_groups
from pipeline.planning.plan import make_plan
from pipeline.running import timeline
from pipeline.running.in_process import InProcessRunner
from pipeline.running.parallel import in_threads
from pipeline.running.progress import NoProgress
from pipeline.running.run import Run, RunOptions
from pipeline.store.layout import TRAININGS, RecipeFolder
from tests.pipeline.fakes import stages

THREE: dict[str, dict[str, Any]] = {
    "one": {"kind": "fit"},
    "two": {"kind": "fit", "epochs": 2},
    "three": {"kind": "fit", "epochs": 1},
}


def test_trainings_that_can_start_together_do():
    """Breaks when a training waits for another that it does not read, or starts before what it reads."""
    chosen = stages(
        one={"kind": "fit"}, two={"kind": "fit", "numbers": "each"}, last={"kind": "each", "numbers": "source"}
    )
    assert training_groups(chosen) == [("source",), ("each",), ("total",), ("one", "two"), ("last",)]
    chosen = stages(one={"kind": "fit"}, two={"kind": "fit", "numbers": "one"})
    assert training_groups(chosen)[-2:] == [("one",), ("two",)]


def test_waves_without_trainings_are_the_old_order():
    """Breaks when ordinary stages are put together or change places."""
    assert training_groups(stages()) == [(name,) for name in topological(stages())]


def test_all_works_end_before_an_error_is_told():
    """Breaks when one error cuts the others off."""
    begun, ended = threading.Event(), []

    def fails():
        begun.set()
        raise ValueError("one")

    def works():
        assert begun.wait(10)
        ended.append(True)

    assert [str(error) for error in in_threads([works, fails, works])] == ["one"]
    assert ended == [True, True]


class Shared(InProcessRunner):
    """Trainings in several threads of this process; each waits until `parties` of them are there."""

    side_by_side = True

    def __init__(self, parties, failing=(), stop=None):
        super().__init__()
        self.together = threading.Barrier(parties)
        self.lock = threading.Lock()
        self.failing, self.stop = failing, stop
        self.threads = {}

    def run(self, job, on_done):
        if isinstance(job.stage, TrainStage):
            self.threads[job.stage.name] = threading.current_thread()
            self.together.wait(20)
            if job.stage.name in self.failing:
                raise OSError(f"{job.stage.name} has no disk")
            if self.stop:
                self.stop.request()
        with self.lock:
            super().run(job, on_done)


def execute(store, chosen, runner, **options):
    return Run(chosen, store, lambda: runner, Resources(), NoProgress(), RunOptions(**options)).execute()


def test_a_runner_that_can_gets_trainings_at_once(store):
    """Breaks when trainings wait for each other, or the timeline of one is lost to another's."""
    chosen = stages(**THREE)
    computed = execute(store, chosen, Shared(3))
    assert {name: computed[name] for name in THREE} == dict.fromkeys(THREE, 1)
    assert set(timeline.read(store)) == set(chosen)
    assert execute(store, chosen, Shared(1)) == {}


def test_one_process_takes_trainings_one_after_another(store, log):
    """Breaks when trainings of one process take each other's random numbers."""
    execute(store, stages(**THREE), InProcessRunner())
    assert [key for kind, key in log.computed if kind == "epoch"] == ["0", "1", "2", "0", "1", "0"]


def test_what_is_done_already_is_no_company(store):
    """Breaks when a single missing training leaves the main thread."""
    execute(store, stages(one={"kind": "fit"}), InProcessRunner())
    runner = Shared(1)
    assert execute(store, stages(**{name: THREE[name] for name in ("one", "two")}), runner) == {"two": 1}
    assert runner.threads == {"two": threading.main_thread()}


def test_the_failure_of_one_training_lets_the_others_end(store):
    """Breaks when the work of an hour goes with another training's error, or the error is swallowed."""
    chosen = stages(**THREE)
    with pytest.raises(OSError, match="two has no disk"):
        execute(store, chosen, Shared(3, failing=("two",)))
    assert {name for name, stage in make_plan(chosen, store).items() if stage.missing} == {"two"}
    assert set(store.files.names("one")) & {"newest.json"}
    assert execute(store, chosen, Shared(1)) == {"two": 1}


def test_a_stop_signal_reaches_all(store):
    """Breaks when one of two trainings goes on until its end."""
    stop = StopSignal()
    chosen = stages(one={"kind": "fit"}, two={"kind": "fit", "epochs": 2})
    with pytest.raises(Stopped):
        execute(store, chosen, Shared(2, stop=stop), stop=stop)
    assert {name for name, stage in make_plan(chosen, store).items() if stage.missing} == {"one", "two"}
    for name in ("one", "two"):
        folder = RecipeFolder(name, make_plan(chosen, store)[name].recipe.id)
        assert len(store.files.listing(folder.area(TRAININGS))) == 1
