"""What a config may say of stage `ddt`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.ddt.parameters import SignRule
from stages.vision.backbones.tap_names import TapNames
from stages.vision.precision import InferencePrecision

__all__ = ["DdtParams"]


@dataclass(frozen=True)
class DdtParams:
    """Parameters of `ddt`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose descriptors are read")
    tap: str | None = option(None, "layer whose output is read; null: the backbone's default")
    second_tap: str | None = option(None, "DDT+: another layer; a map is positive where the maps of both are")
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the classifier was trained", at_least=1
    )
    sign: SignRule = option("energy", "rule for the component's sign: energy, max_abs_coef, max_abs_proj or skew")
    precision: InferencePrecision = option("float32", "float32, bfloat16 or float16 (autocast), see docs/backbones.md")
    batch_size: int = option(32, "images in one forward pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)
    memory: int = option(
        2000,
        "MB of a class's descriptors in memory; the rest goes to the scratch folder",
        resource=True,
        at_least=0,
    )

    def taps(self, names: TapNames, backbone: str) -> list[str]:
        """The names of the layers to read. Raises: ValueError for one unknown to the backbone, or two equal ones."""
        taps = [self.tap or names.ddt_default, *filter(None, [self.second_tap])]
        for tap in taps:
            names.path(tap, backbone)
        if len(set(taps)) < len(taps):
            raise ValueError(f"second_tap is {taps[0]}, as the first one")
        return taps
