"""What a config may say of stage `minmax`."""

from dataclasses import dataclass, replace

from pipeline.base.params import option
from stages.bases.localizer import FineTuningParams
from stages.minmax.parameters import TRAININGS, Masking, MinmaxTraining, Preset, Scale, preset_of

__all__ = ["MinmaxParams"]


@dataclass(frozen=True)
class MinmaxParams(FineTuningParams):
    """Parameters of `minmax`."""

    preset: Preset | None = option(
        None,
        "the paper's backbone whose values replace null below; null: that of the classifier's family, mobilenet_v2 if "
        "it is neither VGG nor ResNet",
    )
    classes: int | None = option(
        None,
        "N: classes in one step, all workers together; fewer where the data have fewer; null: the preset's",
        at_least=1,
    )
    set_size: int = option(5, "S: images of each class in a step; those of smaller classes are repeated", at_least=2)
    common_weight: float | None = option(None, "lambda1, of the common region; null: the preset's", at_least=0)
    full_weight: float | None = option(None, "lambda2, of the full region; null: the preset's", at_least=0)
    scale: Scale = option("mean", "mean over channels (released code; the weights are meant for it) or sum (paper)")
    masking: Masking = option(
        "images",
        "what a class map multiplies: images, or features without a second pass (table 2: worse by 4 to 19 points)",
    )
    intensity: float = option(
        0.0, "largest relative change of an image's intensity in the step of cross-entropy (section 4.4)", at_least=0
    )
    epochs: int = option(200, "passes over the training images", at_least=1)
    learning_rate: float = option(1e-4, "peak learning rate of the features' weights")
    bias_rate: float = option(1.0, "factor on the learning rate of biases")
    drops: tuple[float, ...] = option(
        (0.25, 0.5), "steps: fractions of the training after which the rate falls to a tenth"
    )
    upside_down: bool = option(False, "turn half of the images upside down (released code)")

    def training(self, backbone: str) -> MinmaxTraining:
        """The preset of a classifier's backbone, with given options in place of its values."""
        given = {name: getattr(self, name) for name in ("classes", "common_weight", "full_weight")}
        preset = TRAININGS[self.preset or preset_of(backbone)]
        return replace(preset, **{name: value for name, value in given.items() if value is not None})
