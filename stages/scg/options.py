"""What a config may say of stage `scg`."""

from dataclasses import dataclass, fields, replace

from pipeline.base.params import option, reads
from stages.bases.refinement import RefinementParams
from stages.scg.parameters import Normalisation, Preset, ScgParameters, preset
from stages.vision.precision import InferencePrecision

__all__ = ["ScgStageParams"]


@dataclass(frozen=True)
class ScgStageParams(RefinementParams):
    """Parameters of `scg`."""

    model: str = reads("model", "classify", "the network whose features are correlated")
    taps: tuple[str, ...] = option(
        (),
        "layers whose correlations are summed (SPA: two); empty: those of SPA's stages 4 and 5 (VGG16: pool4 and "
        "relu5_3; Inception: mixed_5d and mixed_6e), else the backbone's first two of one grid, or its default",
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    preset: Preset = option(
        "cub", "the data set whose released values replace null below; Inception networks: the paper's equations"
    )
    theta1: float | None = option(None, "similarities below it are 0; null: the preset's")
    theta2: float | None = option(
        None, "high-order entries below it (vgg: below theta2 / hw) are 0; null: the preset's"
    )
    omega: float | None = option(None, "weight of the high order beside the first; null: the preset's")
    delta_h: float | None = option(None, "object is where the min-maxed map is at least this; null: the preset's")
    delta_l: float | None = option(None, "background is where the map is at most this; null: the preset's")
    order: int | None = option(None, "h of the high order; 1: the first order alone; null: the preset's, 2")
    normalisation: Normalisation | None = option(
        None,
        "vgg: columns divided by their sums (released code); paper: stretched from 0 to 1 (equations 8 to 10); null: "
        "the preset's, paper on Inception networks, vgg on others",
    )
    precision: InferencePrecision = option("float32", "of the features: float32, bfloat16 or float16 (autocast)")
    batch_size: int = option(32, "images in one forward pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)

    def settings(self, backbone: str) -> ScgParameters:
        """The backbone's preset with given options in place of its values.

        Raises: ValueError where they do not fit, see `ScgParameters`.
        """
        given = {field.name: getattr(self, field.name) for field in fields(ScgParameters)}
        said = {name: value for name, value in given.items() if value is not None}
        return replace(preset(self.preset, backbone), **said)
