"""The interface of readers: how one layout of data sets becomes a listing of images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

from pipeline.base.params import option
from stages.bases.duplicate_groups import DuplicatePolicy
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Scan

__all__ = ["ClassNames", "Reader", "ReaderParams"]


Rescan = bool | Literal["content"]

ClassNames = Literal["imagenet"]
"""A predefined list of classes; the labels of ImageNet are those of published networks."""


@dataclass(frozen=True)
class ReaderParams:
    """`dataset:` of a run config, without `reader`."""

    root: str = option("", "folder or URI of the data, which may be moved later", by_content=True)
    dev_fraction: float = option(0.1, "fraction of the training images held out as dev: never trained on")
    shard_size: int = option(1000, "images per shard", resource=True, at_least=1)
    rescan: Rescan = option(
        True,
        "true: look for new and changed files at each run; content: also read all files, to find those replaced with"
        " size and time kept; false: trust the newest listing",
        resource=True,
    )
    orientation: Literal["apply", "stored"] | None = option(
        None,
        "apply: turn pixels by their EXIF orientation; stored: do not; null: as the boxes of the layout require",
    )
    duplicates: DuplicatePolicy = option(
        "keep",
        "what becomes of equal pictures, which are always reported: keep; one_split: move all to their most held-out"
        " split (test, val, dev, train); drop: keep only the first image of that split, or none if classes differ",
        resource=True,
    )
    near_duplicates: bool = option(
        False, "also find pictures that look alike, and treat them as equal (extra weakbox[duplicates])", resource=True
    )
    classes: ClassNames | None = option(
        None,
        "imagenet: the 1,000 wnids of ILSVRC, also those without an image here; null: the classes of the images",
    )
    reviewed: str | None = option(
        None,
        "CSV of boxes that a person drew (`weakbox review`): ground truth of its images; those of split train move to"
        " dev",
        by_content=True,
    )
    lenient: bool = option(False, "also use images whose file is damaged, as far as they can be decoded")


R = TypeVar("R", bound=ReaderParams, covariant=True)


class Reader(ABC, Generic[R]):
    """One layout, with its parameters.

    `name` is what `dataset: reader` says; `Params` is a frozen dataclass, see pipeline.base.params.
    """

    name: ClassVar[str]
    Params: type[ReaderParams]

    def __init__(self, params: R) -> None:
        self.params = params

    @abstractmethod
    def scan(self) -> Scan:
        """List the data set without opening its images.

        Raises: UsageError with one line that names what is wrong: a missing root, a bad annotation.
        """

    @property
    def displayed(self) -> bool:
        """Whether boxes and masks refer to images with their EXIF orientation applied, not to the stored pixels."""
        return False

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Whether the files below a root are laid out for this reader, looking at few of them; None: not at all.

        A layout that lacks one thing is a match that says what is `missing`. Raises UsageError where names cannot be
        listed.
        """
        return None

    def among(self, readers: Sequence["type[Reader[ReaderParams]]"]) -> None:
        """Receive all readers, most specific layouts first; for a reader that chooses among them or warns of them."""

    def is_absent(self) -> bool:
        """Whether the data set is missing and `provide` would make it."""
        return False

    def provide(self) -> None:
        """Make or unpack a data set that is absent."""
