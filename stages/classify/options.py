"""What a config may say of stage `classify`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads
from stages.vision.backbones.registry import backbone_name
from stages.vision.backbones.weight_names import SCRATCH
from stages.vision.precision import Precision
from stages.vision.preprocessing import LARGEST_INPUT
from stages.vision.training.parameters import SCHEDULES, Chosen, Schedule

__all__ = ["ClassifyParams"]


@dataclass(frozen=True)
class ClassifyParams:
    """Parameters of `classify`."""

    images: str = reads("images", "ingest", "the images")
    backbone: str = option("smallnet", "name of the network, see docs/backbones.md, or timm:<any network of timm>")
    output_stride: int | None = option(
        None, "input pixels per cell of the last map: 8, 16 or 32, by removing strides; null: the backbone's own"
    )
    start: str | None = reads("model", None, "classifier whose network the training starts from, in place of weights")
    weights: str = option(
        SCRATCH, "scratch, a torchvision weights name, timm:<name>, or a .safetensors / .pth file or URI"
    )
    weights_card: str | None = option(
        None, "JSON file with the preprocessing of a weights file; null: the one beside it, see docs/backbones.md"
    )
    train: Literal["all", "last_block", "head"] = option(
        "all",
        "all; last_block: the last block of the features and the head, all below frozen with its statistics; head: the "
        "classifier layer alone, by logistic regression on features computed once, its strength by cross-validation; "
        "it ignores the parameters from epochs to clip_norm",
    )
    keep_head: bool = option(
        False,
        "take the classifier layer from the weights too: of ImageNet's 1,000 classes the rows of the data's classes, "
        "by wnid; else the classes and their order must be equal; with `start` it is taken anyway where it fits",
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: the backbone's own", at_least=1, at_most=LARGEST_INPUT
    )
    epochs: int = option(10, "passes over the training images; 0 takes the weights as they are", at_least=0)
    batch_size: int = option(64, "images in one step, all workers together", at_least=1)
    learning_rate: float = option(0.1, "peak learning rate")
    head_rate: float = option(1.0, "factor on the learning rate of the classifier layer and the head's convolutions")
    weight_decay: float = option(5e-4, "weight decay")
    schedule: Schedule = option("one_cycle", f"one of {', '.join(SCHEDULES)}")
    drops: tuple[float, ...] = option(
        (0.2, 0.4, 0.6, 0.8),
        "steps: fractions of the training after which the rate falls to a tenth (PSOL: every 2 of 10 epochs)",
    )
    label_smoothing: float = option(0.0, "label smoothing of the cross-entropy")
    min_crop: float = option(1.0, "smallest area of the random resized crop, fraction of the image; 1: no crop")
    flip: bool = option(False, "mirror half of the images")
    jitter: float = option(0.0, "largest change of brightness and contrast, fraction")
    clip_norm: float | None = option(None, "largest norm of all gradients together; null: no clipping", at_least=0)
    precision: Precision = option("float32", "float32 or bfloat16 (autocast)")
    seed: int = option(0, "seed of initial weights, order and augmentation")
    refit: Literal["on_growth", "never"] = option(
        "on_growth",
        "on_growth: train again when images are added; never: keep the first model",
    )
    processes: int = option(0, "loading processes of a worker", resource=True)

    @property
    def network(self) -> str:
        """The backbone's name with its strides. Raises ValueError for an unknown one, or fixed strides."""
        return backbone_name(self.backbone, self.output_stride)

    @property
    def chosen(self) -> Chosen:
        """The settings that every training has."""
        return Chosen(self.epochs, self.schedule, self.seed, self.precision, self.clip_norm, self.processes)
