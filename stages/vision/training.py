"""What every training is set up from: the classifier it starts from, its images, its optimizer and schedule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import torch
from torch.optim.lr_scheduler import LRScheduler

from stages.vision.class_set_images import ClassSetImages
from stages.vision.class_sets import ClassSets
from stages.vision.inference import Classifier
from stages.vision.models import CARD, WEIGHTS, classifier_network, read_card
from stages.vision.optimisers import schedule, sgd
from stages.vision.rows import by_id
from stages.vision.stream import Read, Row
from stages.vision.training_images import Augment, TrainingImages

__all__ = [
    "Batches",
    "Chosen",
    "Place",
    "SetUp",
    "class_set_images",
    "set_up",
    "starting_classifier",
    "training_images",
    "training_rows",
]


class Chosen(Protocol):
    """The parameters that every training has."""

    @property
    def epochs(self) -> int:
        """Passes over the images."""

    @property
    def schedule(self) -> str:
        """Name of the learning-rate schedule."""

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of the gradients together; None: any."""

    @property
    def precision(self) -> str:
        """float32 or bfloat16."""

    @property
    def seed(self) -> int:
        """Seed of order and augmentation."""

    @property
    def processes(self) -> int:
        """Loading processes of a worker."""


class Place(Protocol):
    """This rank among the workers, and how it reads images."""

    @property
    def rank(self) -> int:
        """This rank."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    @property
    def read(self) -> Read:
        """(uri, offset, length) -> the bytes of an image."""


class Batches(Protocol):
    """Batches of any epoch, as many in each."""

    @property
    def batches_an_epoch(self) -> int:
        """Batches of one rank in one epoch."""

    def __call__(self, epoch: int, start: int = 0) -> Iterable[tuple[torch.Tensor, ...]]:
        """The batches of an epoch, from batch `start` on."""


@dataclass(frozen=True)
class SetUp:
    """What a training is made of besides network and loss, under the names of `pipeline.epochs.Training`."""

    batches: Batches
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    epochs: int
    seed: int
    precision: str
    clip_norm: float | None


def training_images(
    rows: Sequence[Row], augment: Augment, batch_size: int, chosen: Chosen, place: Place
) -> TrainingImages:
    """This rank's images, in a random order each epoch."""
    return TrainingImages(
        rows,
        place.read,
        augment,
        batch_size,
        chosen.seed,
        rank=place.rank,
        world_size=place.world_size,
        processes=chosen.processes,
    )


def class_set_images(
    rows: Sequence[Row], augment: Augment, shape: tuple[int, int], chosen: Chosen, place: Place
) -> ClassSetImages:
    """This rank's images in class sets; `shape`: classes in a batch (fewer where the data have fewer), images of each.

    Raises: ValueError for more ranks than classes.
    """
    labels = [row["label"] for row in rows]
    sets = ClassSets(labels, *shape, seed=chosen.seed, rank=place.rank, world_size=place.world_size)
    return ClassSetImages(training_images(rows, augment, shape[0] * shape[1], chosen, place), sets)


def set_up(batches: Batches, groups: Sequence[dict[str, Any]], chosen: Chosen, drops: Sequence[float] = ()) -> SetUp:
    """Batches with SGD over parameter groups and a schedule as long as the training; `drops` as in `schedule`."""
    optimizer = sgd(groups)
    steps = batches.batches_an_epoch * chosen.epochs
    planned = schedule(chosen.schedule, optimizer, steps, drops)
    return SetUp(batches, optimizer, planned, chosen.epochs, chosen.seed, chosen.precision, chosen.clip_norm)


def training_rows(images: Iterable[pa.Table]) -> list[Row]:
    """The images of split train, by their ids. Raises: ValueError where there is none."""
    rows = by_id([row for table in images for row in table.to_pylist() if row["split"] == "train"])
    if not rows:
        raise ValueError("no image is of split train")
    return rows


def starting_classifier(
    name: str,
    blob: Callable[[str], bytes],
    rows: Sequence[Mapping[str, Any]],
    device: str,
    *,
    needs_cam: bool = True,
) -> Classifier:
    """The classifier of stage `name`, for a localizer of these images to start from.

    blob: file name -> bytes of its artifact. rows: the training images. needs_cam: CAM must be defined for it.
    Raises: ValueError when the model is no classifier, lacks CAM, or knows other classes than those of the images.
    """
    card = read_card(blob(CARD))
    if "classes" not in card:
        raise ValueError(f"{name!r} is no classifier")
    network = classifier_network(card, blob(WEIGHTS), device)
    if needs_cam and not network.has_cam:
        raise ValueError(f"the classes of {card['backbone']} do not come from one linear layer after pooling: no CAM")
    known = dict(enumerate(card["classes"]))
    if any(known.get(row["label"]) != row["label_name"] for row in rows):
        raise ValueError(f"the images have other classes than {name!r}")
    return Classifier(network, card)
