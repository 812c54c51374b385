from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from schemas import TABLES
from stages.vision.backbones.build import build
from stages.vision.model_card import ModelCard
from stages.vision.models import to_blobs
from stages.vision.preprocessing import IMAGENET
from stages.vision.training.parameters import Chosen
from stages.vision.training.setup import (
    class_balanced_batches,
    set_up,
    shuffled_batches,
    starting_classifier,
    training_rows,
)
from tests.stages import rooms

CHOSEN = Chosen(epochs=2, schedule="steps", precision="float32", seed=3, processes=0, clip_norm=None)


@pytest.fixture
def rows(tmp_path):
    return training_rows([rooms.images_table(rooms.write_images(tmp_path))])


def place(rank=0, world_size=1, micro_batch=None):
    return SimpleNamespace(rank=rank, world_size=world_size, micro_batch=micro_batch, read_image=read)


def read(row, *_):
    return Path(row["uri"]).read_bytes()


def shown(image, row, generator):
    """The image's number in place of a label, and a pixel of the generator."""
    return np.full((4, 4, 3), generator.integers(256), np.uint8), int(row["image_id"])


def test_only_images_of_train_are_kept_in_the_order_of_their_ids(rows, tmp_path):
    """Breaks when dev or test images enter a training, or its order depends on shards."""
    table = rooms.images_table(rooms.write_images(tmp_path))
    assert [row["image_id"] for row in rows] == ["0", "1", "2", "3"]
    assert training_rows([table.slice(3), table.slice(0, 3)]) == rows
    with pytest.raises(ValueError, match="no image is of split train"):
        training_rows([TABLES["images"].empty()])


@pytest.mark.parametrize("processes", [0, 1])
def test_class_sets_stand_side_by_side(rows, processes):
    """Breaks when loading processes change a batch, or a set mixes classes."""
    chosen = replace(CHOSEN, processes=processes)
    batches = class_balanced_batches(rows, shown, IMAGENET, (2, 2), chosen, place())
    for epoch in range(3):
        ((images, numbers),) = batches(epoch)
        assert images.shape == (4, 3, 4, 4)
        assert sorted(numbers.tolist()) == [0, 1, 2, 3]
        assert [number % 2 for number in numbers.tolist()] in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_an_image_looks_as_it_does_in_a_plain_training(rows):
    """Breaks when the augmentation depends on the place in a batch, and not on seed, epoch and image alone."""
    plain = shuffled_batches(rows, shown, IMAGENET, 2, CHOSEN, place())
    sets = class_balanced_batches(rows, shown, IMAGENET, (2, 2), CHOSEN, place())
    assert looks(plain) == looks(sets)
    assert len(set(looks(sets).values())) == 4


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("kind", ["images", "sets"])
def test_an_epoch_goes_on_at_any_batch(rows, kind, processes):
    """Breaks when a resumed epoch sees other batches than the rest of the whole one, or reads those before again."""
    read: list[str] = []

    def noted(row, *_):
        read.append(row["uri"])
        return Path(row["uri"]).read_bytes()

    chosen = replace(CHOSEN, processes=processes)
    here = SimpleNamespace(rank=0, world_size=1, micro_batch=None, read_image=noted)
    made = (
        shuffled_batches(rows, shown, IMAGENET, 1, chosen, here),
        class_balanced_batches(rows, shown, IMAGENET, (1, 1), chosen, here),
    )
    batches = made[kind == "sets"]
    whole = list(batches(1))
    assert len(whole) == 4
    for start in range(5):
        read.clear()
        rest = list(batches(1, start))
        assert len(rest) == 4 - start
        for one, other in zip(rest, whole[start:], strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
        assert len(read) == (0 if processes else 4 - start)


def looks(batches):
    """A pixel of each image in epoch 1, by its number."""
    pairs = ((x, n) for images, numbers in batches(1) for x, n in zip(images, numbers.tolist(), strict=True))
    return {number: float(image[0, 0, 0]) for image, number in pairs}


@pytest.mark.parametrize("batch_size", [1, 3, 4, 9])
def test_a_step_holds_the_same_images_for_any_number_of_workers(rows, batch_size):
    """Breaks when the batch size is that of each worker, or a step's images depend on their number."""
    whole = shuffled_batches(rows, shown, IMAGENET, batch_size, CHOSEN, place())
    assert whole.images == min(batch_size, 4)
    for ranks in range(1, whole.images + 1):
        shares = [
            shuffled_batches(rows, shown, IMAGENET, batch_size, CHOSEN, place(rank, ranks)) for rank in range(ranks)
        ]
        assert {share.batches_an_epoch for share in shares} == {whole.batches_an_epoch}
        steps = zip(whole(2), *(share(2) for share in shares), strict=True)
        for (images, numbers), *parts in steps:
            assert torch.equal(torch.cat([part[0] for part in parts]), images)
            assert torch.cat([part[1] for part in parts]).tolist() == numbers.tolist()


def test_what_stays_together_needs_enough_images(rows):
    """Breaks when a step of no image is planned."""
    assert shuffled_batches(rows, shown, IMAGENET, 3, CHOSEN, place(), together=2).images == 2
    with pytest.raises(ValueError, match="a step needs at least 2 images"):
        shuffled_batches(rows[:1], shown, IMAGENET, 4, CHOSEN, place(), together=2)


def test_ranks_hold_different_classes(rows):
    """Breaks when a class is split over ranks, whose pairs would then talk to nobody."""
    labels = []
    for rank in range(2):
        ((_, numbers),) = class_balanced_batches(rows, shown, IMAGENET, (40, 2), CHOSEN, place(rank, 2))(0)
        labels.append({number % 2 for number in numbers.tolist()})
    assert labels in ([{0}, {1}], [{1}, {0}])


def test_the_schedule_is_as_long_as_the_training(rows):
    """Breaks when steps are counted for one epoch, or for the images instead of the batches."""
    weight = torch.nn.Parameter(torch.ones(1))
    batches = shuffled_batches(rows, shown, IMAGENET, 2, CHOSEN, place())
    made = set_up(batches, [{"params": [weight], "lr": 1.0, "weight_decay": 0.0}], CHOSEN, (0.5,))
    rates = []
    for _ in range(CHOSEN.epochs * batches.batches_an_epoch):
        rates.append(made.optimizer.param_groups[0]["lr"])
        made.optimizer.step()
        made.schedule.step()
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1])
    assert (made.epochs, made.seed, made.precision) == (2, 3, "float32")


def test_a_classifier_without_maps_is_no_start(rows):
    """Breaks when a localizer is trained on a network whose maps stage cam would refuse."""
    network = build("smallnet", 2)
    blobs = to_blobs(network, ModelCard("classify", "smallnet", ("cat", "dog"), input_size=64, seed=0))
    start = starting_classifier("first", blobs.__getitem__, rows, "cpu")
    assert torch.equal(start.network.classifier.weight, network.classifier.weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network), "has_cam", False)
        with pytest.raises(ValueError, match="the classes of smallnet do not come from one linear layer"):
            starting_classifier("first", blobs.__getitem__, rows, "cpu")
