import sys
from pathlib import Path

import pytest

from pipeline.contract.resources import StageResources
from pipeline.planning.plan import make_plan
from pipeline.store.layout import RecipeFolder
from pipeline.training import tensorboard
from pipeline.training.in_process import InProcessTrainContext
from pipeline.training.loop import train
from pipeline.training.tensorboard import event_file, publish
from pipeline.upkeep.garbage import find_garbage
from pipeline.upkeep.verify import verify
from pipeline.worker.local_context import LocalContext
from tests.pipeline.fakes import STEPS, checkpoint_of, line_training, run, stages

FOLDER = RecipeFolder("fit", "recipe")
CURVES = FOLDER.event_files("key")


class Cut(InProcessTrainContext):
    """Saved after each step; the process may be killed behind a checkpoint, before or after its curves are written."""

    def __init__(self, store, cut_after=None):
        super().__init__(LocalContext(store), FOLDER.checkpoint("key"), None, CURVES, StageResources(save_minutes=0))
        self.left = cut_after

    def save(self, state, progress):
        if self.left == 1:
            self._curves = None
        super().save(state, progress)
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture
def every_step(monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(tensorboard, "EVERY", 1)


def points(store, folder=CURVES):
    """Curve -> its (step, value), in the order in which TensorBoard reads the files."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader").EventFileLoader
    found: dict[str, list] = {}
    for path in sorted(Path(store.files.full(folder)).iterdir()):
        for event in loader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.tensor.float_val[0]))
    return found


@pytest.mark.parametrize("cut_after", [1, 3, 4, 6])
def test_curves_of_a_resumed_training_have_each_step_once(store, every_step, cut_after):
    """Breaks when a kill between checkpoint and curves loses points, or a resumed training writes some again."""
    with pytest.raises(KeyboardInterrupt):
        train(line_training(2), Cut(store, cut_after))
    log = train(line_training(2), Cut(store))
    found = points(store)
    steps = list(range(1, 2 * STEPS + 1))
    names = ("loss", "images_per_second", "learning_rate/0")
    assert [[step for step, _ in found[name]] for name in names] == [steps] * 3
    assert found["epoch/loss"] == [(STEPS * e.epoch, pytest.approx(e.loss, rel=1e-6)) for e in log]
    assert [rate for _, rate in found["epoch/learning_rate/0"]] == pytest.approx([e.learning_rate for e in log])
    for number, epoch in enumerate(log):
        losses = [value for _, value in found["loss"][STEPS * number : STEPS * (number + 1)]]
        assert sum(losses) / STEPS == pytest.approx(epoch.loss, rel=1e-5)
    assert min(value for _, value in found["images_per_second"]) > 0


def test_a_training_from_the_start_leaves_no_older_curves(store, every_step):
    """Breaks when --force draws the new curves into those of the forgotten training."""
    chosen = stages(fit={"kind": "fit", "epochs": 3})
    run(store, chosen)
    run(store, chosen, force=("fit",))
    planned = make_plan(chosen, store)["fit"]
    found = points(store, RecipeFolder("fit", planned.recipe.id).event_files(planned.keys[0]))
    assert [step for step, _ in found["loss"]] == list(range(1, 3 * STEPS + 1))


def test_curves_are_neither_damage_nor_garbage(store, every_step):
    """Breaks when verify or gc takes the folder for a recipe, or gc removes curves of a training that counts."""
    chosen = stages(fit={"kind": "fit"})
    run(store, chosen)
    assert verify(store, chosen).damage == []
    found = find_garbage(store, older_than=0)
    assert found.left_alone == []
    files = [file.path for garbage in found.old for file in garbage.files]
    assert files
    assert not [path for path in files if "tensorboard" in path]
    assert list(Path(store.files.full("fit")).glob("*/tensorboard/*/events.out.tfevents.*"))


def test_without_the_package_nothing_happens(store, tmp_path, monkeypatch):
    """Breaks when a training needs tensorboard."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert event_file([(1, 0.0, "loss", 1.0)], str(tmp_path)) is None
    run(store, stages(fit={"kind": "fit"}))
    assert not list(Path(store.files.full("")).rglob("tensorboard"))


def test_a_checkpoint_without_points_writes_no_file(store, tmp_path):
    """Breaks when each checkpoint leaves an empty file."""
    publish(store, CURVES, checkpoint_of({}), str(tmp_path))
    assert store.files.names(CURVES) == []
