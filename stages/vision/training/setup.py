"""Sets up a training: the classifier that it starts from, its images, its optimizer and schedule."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pyarrow as pa
import torch
from torch.optim.lr_scheduler import LRScheduler

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_reading import Read
from stages.vision.image_rows import ImageRow, by_id
from stages.vision.inference import Classifier
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import plain_network
from stages.vision.precision import Precision
from stages.vision.preprocessing import Preprocessing
from stages.vision.training.class_balanced_batches import ClassBalancedBatches
from stages.vision.training.class_balanced_sampler import ClassBalancedSampler
from stages.vision.training.division import Workers
from stages.vision.training.image_batches import Augment, TrainingImages
from stages.vision.training.optimisers import ParameterGroup, schedule, sgd
from stages.vision.training.parameters import Chosen
from stages.vision.training.shuffled_batches import ShuffledBatches

__all__ = [
    "Batches",
    "Place",
    "SetUp",
    "check_cam",
    "class_balanced_batches",
    "read_classifier_card",
    "set_up",
    "shuffled_batches",
    "starting_classifier",
    "training_rows",
]

Image = TypeVar("Image", bound=ImageRow)


class Place(Workers, Protocol):
    """This rank among the workers, and how it reads images."""

    @property
    def read_image(self) -> Read:
        """How the bytes of an image are read."""


class Batches(Protocol):
    """This rank's shares of any epoch's steps, as many in each epoch."""

    @property
    def images(self) -> int:
        """Images of one step, all ranks together."""

    @property
    def micro_batches(self) -> Sequence[slice]:
        """Which images of each step this rank's micro batches hold."""

    @property
    def batches_an_epoch(self) -> int:
        """Steps of one epoch."""

    def __call__(self, epoch: int, start: int = 0) -> Iterable[tuple[torch.Tensor, ...]]:
        """The shares of an epoch's steps, from step `start` on."""


@dataclass(frozen=True)
class SetUp:
    """The parts of a training besides network and loss, named as in `pipeline.training.loop.Training`."""

    batches: Batches
    images: int
    micro_batches: Sequence[slice]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    epochs: int
    seed: int
    precision: Precision
    clip_norm: float | None


def shuffled_batches(
    rows: Sequence[Image],
    augment: Augment[Image],
    preprocessing: Preprocessing,
    batch_size: int,
    chosen: Chosen,
    place: Place,
    together: int = 1,
) -> ShuffledBatches[Image]:
    """This rank's share of `batch_size` images a step, in a random order each epoch.

    together: this many neighbors in that order stay in one micro batch. Raises: ValueError as `divide`.
    """
    return ShuffledBatches(_loaded(rows, augment, preprocessing, chosen, place), batch_size, place, together)


def class_balanced_batches(
    rows: Sequence[Image],
    augment: Augment[Image],
    preprocessing: Preprocessing,
    shape: tuple[int, int],
    chosen: Chosen,
    place: Place,
) -> ClassBalancedBatches[Image]:
    """This rank's class sets; `shape`: classes in a step (fewer where the data have fewer), images of each.

    Raises: ValueError as `divide`.
    """
    sets = ClassBalancedSampler([row["label"] for row in rows], *shape, seed=chosen.seed)
    return ClassBalancedBatches(_loaded(rows, augment, preprocessing, chosen, place), sets, place)


def _loaded(
    rows: Sequence[Image], augment: Augment[Image], preprocessing: Preprocessing, chosen: Chosen, place: Place
) -> TrainingImages[Image]:
    return TrainingImages(rows, place.read_image, augment, preprocessing, chosen.seed, chosen.processes)


def set_up(batches: Batches, groups: Sequence[ParameterGroup], chosen: Chosen, drops: Sequence[float] = ()) -> SetUp:
    """Batches with SGD over parameter groups and a schedule as long as the training; `drops` as in `schedule`."""
    optimizer = sgd(groups)
    planned = schedule(chosen.schedule, optimizer, batches.batches_an_epoch * chosen.epochs, drops)
    return SetUp(
        batches,
        batches.images,
        batches.micro_batches,
        optimizer,
        planned,
        chosen.epochs,
        chosen.seed,
        chosen.precision,
        chosen.clip_norm,
    )


def training_rows(images: Iterable[pa.Table]) -> list[ImageRow]:
    """The images of split train, in the order of their ids. Raises: ValueError if there is none."""
    rows = by_id([row for table in images for row in table.to_pylist() if row["split"] == "train"])
    if not rows:
        raise ValueError("no image is of split train")
    return rows


def read_classifier_card(name: str, blob: Callable[[str], bytes]) -> ModelCard:
    """The card of stage `name`'s model, which must be an ordinary classifier. Raises: ValueError for any other."""
    card = read_card(blob(CARD))
    if not card.classes:
        raise ValueError(f"{name!r} is no classifier")
    if not card.is_classifier:
        raise ValueError(f"{name!r} has more parts than a classifier: start from another model")
    return card


def check_cam(network: LocalizerNetwork) -> None:
    """Refuse a network for which CAM is not defined. Raises ValueError."""
    if not network.has_cam:
        raise ValueError(f"the classes of {network.backbone} do not come from one linear layer after pooling: no CAM")


def starting_classifier(
    name: str, blob: Callable[[str], bytes], rows: Sequence[ImageRow], device: str, *, needs_cam: bool = True
) -> Classifier:
    """The classifier of stage `name`, for a localizer of these images to start from.

    blob: file name -> bytes of its artifact. rows: the training images. needs_cam: CAM must be defined for it.
    Raises: ValueError when the model is no classifier, lacks CAM, or knows other classes than those of the images.
    """
    card = read_classifier_card(name, blob)
    network = plain_network(card, blob(WEIGHTS), device)
    if needs_cam:
        check_cam(network)
    known = dict(enumerate(card.classes))
    if any(known.get(row["label"]) != row["label_name"] for row in rows):
        raise ValueError(f"the images have other classes than {name!r}")
    return Classifier(network, card)
