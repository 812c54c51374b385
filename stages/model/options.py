"""What a config may say of stage `model`."""

from dataclasses import dataclass

from pipeline.base.params import option

__all__ = ["ModelParams"]


@dataclass(frozen=True)
class ModelParams:
    """Parameters of `model`."""

    run: str = option("", "run root, a path or a URI, of the run that trained it", by_content=True)
    of: str = option("", "name of the stage there that trained it", by_content=True)
