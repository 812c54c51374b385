"""`train: head` and `train: last_block` on one, two and four workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.worker.device import set_threads
from tests.stages.classify.parts_on_ranks import BAD, BATCH, CUT, IMAGES, WORLDS, Place, head, last_block, untrained

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cut():
    """The checkpoint of a head whose only worker saved after each batch, that of batch number CUT."""
    set_threads(1)
    place = Place(save_seconds=0.0)
    head(place)
    assert len(place.kept) == -(-IMAGES // BATCH)
    return place.kept[CUT - 1]


@pytest.fixture(scope="module")
def shared(cut, tmp_path_factory):
    """Rank -> what -> what several workers found."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(cut, folder / "cut.pt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "tests.stages.classify.parts_on_ranks", str(folder)]
    subprocess.run(command, env=environment, cwd=ROOT, timeout=300, check=True)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(max(WORLDS))]


@pytest.fixture(scope="module")
def alone():
    """A head that one worker fitted without being cut off."""
    set_threads(1)
    return head(Place())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("way", ["", " after one"])
@pytest.mark.parametrize("ranks", WORLDS)
def test_a_head_is_the_same_bytes_on_any_number_of_workers(alone, shared, ranks, way):
    """Breaks when the batches, their order or the fit depend on who computes them, or on where a worker was cut off."""
    weights, log, about = shared[0][f"head on {ranks}{way}"]
    assert same(weights, alone[0])
    assert (log, about) == alone[1:]


def test_a_head_that_was_cut_off_reads_no_image_again(alone, cut):
    """Breaks when a resumed pass begins anew, or takes the features of another batch for those it lost."""
    set_threads(1)
    place = Place(state=cut)
    assert same(head(place)[0], alone[0])
    assert place.reads[0] == str(CUT * BATCH)
    assert set(place.reads) == {str(n) for n in range(CUT * BATCH, IMAGES)}


@pytest.mark.parametrize("ranks", WORLDS)
def test_an_image_that_cannot_be_read_ends_all_workers_with_one_line(shared, ranks):
    """Breaks when the others wait for a worker that has given up, or do not say which image it was."""
    said = [shared[rank][f"failure on {ranks}"] for rank in range(ranks)]
    lines = {line.split(": ", 1)[1] for line in said}
    assert lines == {f"image {BAD}: empty file"}
    assert [line.split(": ")[0] for line in said].count("ImageError") == 1
    assert [line.split(": ")[0] for line in said].count("StageFailed") == ranks - 1


def moved(after):
    """The names of what is no longer as it was before the training."""
    before = untrained().state_dict()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("ranks", [1, *WORLDS])
def test_what_is_below_the_last_block_stays_on_any_number_of_workers(shared, ranks):
    """Breaks when DistributedDataParallel or the loop's training mode moves frozen weights or their statistics."""
    set_threads(1)
    after, log, about = last_block(Place(micro_batch=None)) if ranks == 1 else shared[0][f"last block on {ranks}"]
    assert moved(after) == {name for name in after if name.startswith(("features.layer3.", "classifier."))}
    assert about == {"train": "last_block"}
    assert len(log) == 2


def test_a_last_block_that_was_cut_off_reaches_the_same_weights():
    """Breaks when a resumed training thaws what is frozen, or its statistics move from the checkpoint on."""
    set_threads(1)
    place = Place(micro_batch=None, save_seconds=0.0)
    whole, _, _ = last_block(place)
    for kept in place.kept[:3]:
        assert same(last_block(Place(micro_batch=None, state=kept))[0], whole)


def test_a_head_alone_moves_nothing_else(alone):
    """Breaks when the pass that reads the features leaves the network in training mode."""
    weights, (epoch,), about = alone
    assert moved(weights) == {"classifier.weight", "classifier.bias"}
    assert (epoch.epoch, epoch.images, epoch.loss) == (1, IMAGES, about["log_loss"])
    assert about["folds"] == 5
