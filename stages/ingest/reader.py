"""What a reader is: how one layout of data sets becomes a listing of images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pipeline.base.params import option
from stages.ingest.scan import Scan

__all__ = ["Reader", "ReaderParams"]


@dataclass(frozen=True)
class ReaderParams:
    """`dataset:` of a run config, without `reader`."""

    root: str = option("", "folder or URI of the data", resource=True)
    dev_fraction: float = option(0.1, "fraction of the training images held out as dev: never trained on")
    shard_size: int = option(1000, "images a shard", resource=True, at_least=1)
    rescan: bool = option(True, "look for new images at each run; false: trust the newest listing", resource=True)


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

    def is_absent(self) -> bool:
        """Whether the data set is not there, and `provide` would make it."""
        return False

    def provide(self) -> None:
        """Make or unpack a data set that is absent."""
