from functools import partial

import pytest
import structlog

from pipeline.contract.resources import Resources
from pipeline.planning.plan import make_plan
from pipeline.running.in_process import InProcessRunner
from pipeline.running.progress import NoProgress, log_training
from pipeline.running.run import Run, RunOptions
from pipeline.store.layout import RecipeFolder
from pipeline.store.sealed import unseal
from tests.pipeline.fakes import STEPS, run, stages


def model(store, chosen) -> tuple[bytes, list]:
    (done,) = make_plan(chosen, store)["fit"].done.values()
    return store.blob(done, "weight"), store.table(done, "training").to_pylist()


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_training_that_was_cut_off_goes_on(store, log, tmp_path, epochs_before):
    """Breaks when an epoch that was checkpointed is trained again, or the weights come out differently."""
    chosen = stages(fit={"kind": "fit", "epochs": 3})
    log.fail_after = 3 + 3 + 1 + epochs_before * (1 + STEPS)
    with pytest.raises(OSError, match="disk"):
        run(store, chosen)
    log.fail_after = None
    assert run(store, chosen) == {"fit": 1}
    assert [key for stage, key in log.computed if stage == "epoch"] == ["0", "1", "2"]
    whole = type(store)(str(tmp_path / "whole"))
    run(whole, chosen)
    assert model(store, chosen) == model(whole, chosen)


def test_another_recipe_starts_from_its_own_beginning(store, log):
    """Breaks when a changed learning rate goes on from the old recipe's checkpoint."""
    run(store, stages(fit={"kind": "fit", "epochs": 2}))
    log.computed.clear()
    run(store, stages(fit={"kind": "fit", "epochs": 2, "rate": 0.05}))
    assert [key for stage, key in log.computed if stage == "epoch"] == ["0", "1"]


def test_a_training_says_how_far_it_is(store):
    """Breaks when a training without Ray is silent for hours, in the log or in `status`."""
    chosen = stages(fit={"kind": "fit", "epochs": 2})
    with structlog.testing.capture_logs() as logs:
        runner = partial(InProcessRunner, told=log_training)
        Run(chosen, store, runner, Resources(), NoProgress(), RunOptions()).execute()
    said = [line for line in logs if line["event"] == "training"]
    assert [(line["stage"], line["epoch"], line["epochs"]) for line in said] == [("fit", 1, 2), ("fit", 2, 2)]
    planned = make_plan(chosen, store)["fit"]
    path = RecipeFolder("fit", planned.recipe.id).progress(planned.keys[0])
    assert unseal(store.files.get(path))["epoch"] == 2
