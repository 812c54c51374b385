"""What a config may say of stage `spa`."""

from dataclasses import dataclass

from pipeline.base.params import option
from stages.bases.localizer import FineTuningParams
from stages.spa.parameters import TRAININGS, Preset, RamSettings, SpaTraining

__all__ = ["SpaParams"]


@dataclass(frozen=True)
class SpaParams(FineTuningParams):
    """Parameters of `spa`."""

    preset: Preset = option("cub", "the released script whose values replace null below")
    weight: float | None = option(
        None, "alpha: weight of the restricted activation loss; null: the preset's", at_least=0
    )
    threshold: float | None = option(
        None, "tau: background is where the min-maxed variance is below it; null: the preset's", at_least=0
    )
    gap: float | None = option(
        None, "sigma: objects are where that variance exceeds tau + sigma; null: the preset's", at_least=0
    )
    first_epoch: int | None = option(
        None, "e0: first epoch with this loss, counted from 0; null: the preset's share of the epochs", at_least=0
    )
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int | None = option(None, "images in one step, all workers together; null: the preset's", at_least=1)
    drops: tuple[float, ...] | None = option(
        None, "steps: fractions of the training after which the rate falls to a tenth; null: the preset's"
    )

    def filled(self) -> SpaTraining:
        """The training, with the preset's values in place of null."""
        preset = TRAININGS[self.preset]
        epochs = preset.epochs if self.epochs is None else self.epochs
        ram = RamSettings(
            preset.ram.weight if self.weight is None else self.weight,
            preset.ram.threshold if self.threshold is None else self.threshold,
            preset.ram.gap if self.gap is None else self.gap,
            round(preset.start * epochs) if self.first_epoch is None else self.first_epoch,
        )
        batch_size = preset.batch_size if self.batch_size is None else self.batch_size
        return SpaTraining(ram, epochs, batch_size, preset.drops if self.drops is None else self.drops)
