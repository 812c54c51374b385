"""What a config may say of stage `sdcam`."""

from dataclasses import dataclass

from pipeline.base.params import option
from stages.bases.localizer import LocalizerParams
from stages.sdcam.parameters import TRAININGS, Preset, SdcamTraining, Teacher

__all__ = ["SdcamParams"]


@dataclass(frozen=True)
class SdcamParams(LocalizerParams):
    """Parameters of `sdcam`."""

    preset: Preset = option("cub", "the paper's data set whose values replace null below")
    teacher: Teacher | None = option(
        None, "mlp: a hidden layer with GELU and a linear one; linear: that alone; null: the preset's"
    )
    hidden: int | None = option(None, "mlp: width of the hidden layer; null: that of its input", at_least=1)
    alpha: float = option(0.3, "weight of the student's cross-entropy; 1 - alpha: of its distillation", at_least=0)
    temperature: float = option(3.0, "T, of both heads in the distillation")
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int = option(256, "images in one step, all workers together", at_least=1)
    learning_rate: float | None = option(
        None, "peak rate at 256 images in a step, scaled with batch_size; null: the preset's"
    )
    weight_decay: float | None = option(None, "weight decay, of biases too; null: the preset's", at_least=0)
    warm_up: float | None = option(
        None, "fraction of the training in which the rate rises; then it falls by a cosine; null: the preset's"
    )

    def filled(self) -> SdcamTraining:
        """The training, with the preset's values in place of null."""
        preset = TRAININGS[self.preset]
        return SdcamTraining(
            preset.teacher if self.teacher is None else self.teacher,
            preset.epochs if self.epochs is None else self.epochs,
            preset.learning_rate if self.learning_rate is None else self.learning_rate,
            preset.weight_decay if self.weight_decay is None else self.weight_decay,
            preset.warm_up if self.warm_up is None else self.warm_up,
        )
