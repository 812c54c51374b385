"""Parameters that all readers share."""

from dataclasses import dataclass

from pipeline.params import option


@dataclass(frozen=True)
class ReaderParams:
    """`dataset:` of a run config, without `reader`."""

    root: str = option("", "folder or URI of the data")
    dev_fraction: float = option(0.1, "fraction of the training images held out as dev: never trained on")
    shard_size: int = option(1000, "images a shard", resource=True, at_least=1)
    rescan: bool = option(True, "look for new images at each run; false: trust the newest listing", resource=True)
