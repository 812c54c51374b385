"""What a config may say of stage `psol`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.psol.parameters import DROPS, TRAININGS, VARIANT_SCHEDULES, Preset, Quality, Variant
from stages.vision.precision import Precision
from stages.vision.training.parameters import SCHEDULES, Chosen, Schedule

__all__ = ["FilledPsol", "PsolParams"]


@dataclass(frozen=True)
class FilledPsol:
    """A training with the values of preset and variant in place of null."""

    chosen: Chosen
    batch_size: int
    learning_rate: float
    head_rate: float
    weight_decay: float
    loss_weight: float
    drops: tuple[float, ...]


@dataclass(frozen=True)
class PsolParams:
    """Parameters of `psol`."""

    images: str = reads("images", "ingest", "the images")
    labels: str = reads("pseudo_labels", "boxes", "the pseudo boxes to train on")
    model: str = reads("model", "classify", "the classifier to start from; sep: without its last layer, of any classes")
    variant: Variant = option("sep", "sep: boxes alone; joint: classes too, by the classifier's own layer")
    preset: Preset = option("paper", "the training whose values replace null below")
    quality: Quality = option(
        "none",
        "weight of a pseudo box in the loss: none (all equal), contrast, score, or quality, as a consensus gives it",
    )
    min_quality: float | None = option(
        None, "leave out pseudo boxes of a lower quality, or of none", at_least=0, at_most=1
    )
    pooling: int = option(
        1, "side of the grid the features are averaged to before the branch; the paper: 1", at_least=1
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int | None = option(None, "images in one step, all workers together; null: the preset's", at_least=1)
    learning_rate: float | None = option(
        None, "peak learning rate of the network; null: the preset's, reference: 1e-3 for steps of 256 images"
    )
    head_rate: float | None = option(None, "factor on the learning rate of the branch; null: the preset's")
    weight_decay: float | None = option(None, "weight decay; null: the preset's", at_least=0)
    loss_weight: float | None = option(None, "weight of the boxes' squared error; null: the preset's", at_least=0)
    class_weight: float = option(1.0, "joint: weight of the cross-entropy", at_least=0)
    schedule: Schedule | None = option(
        None, f"one of {', '.join(SCHEDULES)}; null: constant (sep, for noisy labels) or steps (joint)"
    )
    drops: tuple[float, ...] | None = option(
        None, "steps: fractions of the training after which the rate falls to a tenth; null: each third"
    )
    clip_norm: float | None = option(None, "largest norm of all gradients together; null: no clipping", at_least=0)
    precision: Precision = option("float32", "float32 or bfloat16 (autocast)")
    seed: int = option(0, "seed of the branch's initial weights, order and augmentation")
    processes: int = option(0, "loading processes of a worker", resource=True)

    def filled(self) -> FilledPsol:
        """The training, with the values of preset and variant in place of null."""
        preset = TRAININGS[self.preset]
        epochs = preset.epochs if self.epochs is None else self.epochs
        batch_size = preset.batch_size if self.batch_size is None else self.batch_size
        schedule = VARIANT_SCHEDULES[self.variant] if self.schedule is None else self.schedule
        return FilledPsol(
            Chosen(epochs, schedule, self.seed, self.precision, self.clip_norm, self.processes),
            batch_size,
            preset.rate(batch_size) if self.learning_rate is None else self.learning_rate,
            preset.head_rate if self.head_rate is None else self.head_rate,
            preset.weight_decay if self.weight_decay is None else self.weight_decay,
            preset.loss_weight if self.loss_weight is None else self.loss_weight,
            DROPS if self.drops is None else self.drops,
        )
