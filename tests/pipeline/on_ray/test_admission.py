"""Which trainings start while others run."""

import threading
import time

import pytest

from pipeline.base.errors import Stopped
from pipeline.base.stop_signal import StopSignal
from pipeline.contract.resources import StageResources

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("ray_local")


class Trainings:
    """Trainings in threads of their own, each running until it is told to end; `log` has who started, in order."""

    def __init__(self):
        from pipeline.on_ray.admission import Admission

        self.admission, self.log, self.ends = Admission(), [], {}

    def start(self, name, stop=None, **resources):
        self.ends[name] = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(name, StageResources(**resources), stop or StopSignal()), daemon=True
        )
        thread.start()
        time.sleep(0.2)
        return thread

    def _run(self, name, resources, stop):
        try:
            with self.admission.admitted(resources, stop):
                self.log.append(name)
                self.ends[name].wait(30)
        except Stopped:
            self.log.append(f"{name} stopped")

    def end(self, name, then):
        self.ends[name].set()
        deadline = time.monotonic() + 20
        while len(self.log) < then and time.monotonic() < deadline:
            time.sleep(0.05)


def test_as_many_as_fit_in_the_order_of_coming():
    """Breaks when waiting trainings hold processes, a small one overtakes a large one for ever, or a place is lost."""
    trainings = Trainings()
    for name, cpus in {"a": 1, "b": 1, "large": 2, "c": 1}.items():
        trainings.start(name, cpus=cpus)
    assert trainings.log == ["a", "b"]
    trainings.end("b", then=2)
    time.sleep(0.5)
    assert trainings.log == ["a", "b"]
    trainings.end("a", then=3)
    assert trainings.log == ["a", "b", "large"]
    trainings.end("large", then=4)
    assert trainings.log == ["a", "b", "large", "c"]
    trainings.end("c", then=4)


def test_one_that_fits_nowhere_is_left_to_ray_when_nothing_runs():
    """Breaks when a training that needs nodes to come waits here, where nobody asks for them; workers count too."""
    trainings = Trainings()
    trainings.start("a", cpus=1)
    trainings.start("many", cpus=1, actors=3)
    assert trainings.log == ["a"]
    trainings.end("a", then=2)
    assert trainings.log == ["a", "many"]
    trainings.end("many", then=2)


def test_a_stop_ends_the_waiting_and_frees_the_queue():
    """Breaks when a stopped run hangs behind a training that has not started, or those behind it do."""
    trainings, stop = Trainings(), StopSignal()
    trainings.start("a", cpus=2)
    waiting = trainings.start("b", stop, cpus=2)
    trainings.start("c", cpus=2)
    stop.request()
    waiting.join(20)
    assert trainings.log == ["a", "b stopped"]
    trainings.end("a", then=3)
    assert trainings.log == ["a", "b stopped", "c"]
    trainings.end("c", then=3)
