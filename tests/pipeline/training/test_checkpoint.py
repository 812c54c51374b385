import pickle
import random

import pytest
import torch

from pipeline.base.errors import StageFailed
from pipeline.planning.plan import make_plan
from pipeline.store.layout import RecipeFolder
from pipeline.training.checkpoint import dump_checkpoint, load_checkpoint
from tests.pipeline.fakes import checkpoint_of, run, stages

SAID = "the checkpoint run/state.pt is damaged, or was not written by this version of weakbox: remove it"


@pytest.fixture(scope="module")
def data():
    return dump_checkpoint(checkpoint_of({"weight": torch.arange(12.0).view(3, 4)}))


def test_a_checkpoint_comes_back(data):
    """Breaks when the header is taken for numbers, or numbers for the header."""
    assert torch.equal(load_checkpoint(data, "run/state.pt")["network"]["weight"], torch.arange(12.0).view(3, 4))


@pytest.mark.parametrize("seed", range(50))
def test_a_flipped_bit_is_refused(data, seed):
    """Breaks when a training goes on from other numbers than it saved, or ends in a traceback."""
    damaged, bit = bytearray(data), random.Random(seed).randrange(8 * len(data))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StageFailed, match=SAID):
        load_checkpoint(bytes(damaged), "run/state.pt")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[53:],
    ],
    ids=["empty", "header alone", "cut off", "longer", "without header"],
)
def test_other_bytes_are_refused(data, change):
    """Breaks when a checkpoint that a full disk cut off, or an older program wrote, is loaded or not named."""
    with pytest.raises(StageFailed, match=SAID):
        load_checkpoint(change(data), "run/state.pt")


def test_somebody_elses_pickle_is_refused_unread(tmp_path):
    """Breaks when reading a checkpoint runs code that somebody put there."""
    touched = tmp_path / "touched"

    class Evil:
        def __reduce__(self):
            return (touched.write_text, ("run",))

    with pytest.raises(StageFailed, match=SAID):
        load_checkpoint(pickle.dumps(Evil()), "run/state.pt")
    assert not touched.exists()


def test_a_damaged_checkpoint_is_named_and_may_be_removed(store, log):
    """Breaks when a begun training can neither go on nor begin anew, or the line does not say which file it is."""
    chosen = stages(fit={"kind": "fit"})
    log.fail_after = 3 + 3 + 5
    with pytest.raises(OSError, match="disk"):
        run(store, chosen)
    log.fail_after = None
    planned = make_plan(chosen, store)["fit"]
    path = RecipeFolder("fit", planned.recipe.id).checkpoint(planned.keys[0])
    store.files.put(path, store.files.get(path)[:-5])
    with pytest.raises(StageFailed, match=f"the checkpoint {store.files.full(path)} is damaged") as refused:
        run(store, chosen)
    assert (refused.value.exit_code, "\n" in str(refused.value)) == (1, False)
    store.files.remove(path)
    assert run(store, chosen) == {"fit": 1}
