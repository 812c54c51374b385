"""What a config may say of stage `cam`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads
from stages.vision.precision import InferencePrecision

__all__ = ["CamParams", "Combination", "Form"]

_WITH_BIAS = "spa"
Form = Literal["classic", "simplified"]
Combination = Literal["linear", "quadratic"]


@dataclass(frozen=True)
class CamParams:
    """Parameters of `cam`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the classifier whose maps are taken")
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the classifier was trained", at_least=1
    )
    classes: Literal["label", "predicted"] = option(
        "label",
        "label: the image's own class; predicted: the class of the largest logit, which column `label` then holds",
    )
    form: Form | None = option(
        None,
        "classic: features weighted by the class's weights; simplified: plus its bias, as a 1x1 convolution gives it "
        "(ACoL); null: simplified for models of spa, which are trained on maps with the bias, else classic",
    )
    combination: Combination | None = option(
        None, "linear or quadratic: one map of all classes, the likely ones added, the unlikely ones subtracted (CCAM)"
    )
    negative_weights: bool = option(True, "false sets the class's negative weights to 0 (Bae et al. 2020)")
    precision: InferencePrecision = option("float32", "float32, bfloat16 or float16 (autocast), see docs/backbones.md")
    batch_size: int = option(32, "images in one forward pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)

    def form_of(self, method: str) -> Form:
        """The form of a model's maps; method: the one that trained the model."""
        return self.form or ("simplified" if method == _WITH_BIAS and self.combination is None else "classic")
