"""Stage `spa`: a classifier + images -> a classifier whose maps are restricted to objects (SPA's RAM)."""

from pipeline.base.errors import UsageError
from stages.bases.drops import check_drops
from stages.bases.localizer import LocalizerStage, Trainer
from stages.spa.options import SpaParams


class Spa(LocalizerStage[SpaParams]):
    """SPA's first stage: cross-entropy and the restricted activation loss. Its second is stage `scg`."""

    kind = "spa"
    version = 2
    Params = SpaParams

    def check(self) -> None:
        """Refuse drops outside the training, and a loss that would never be switched on."""
        super().check()
        chosen = self.params.filled()
        check_drops(self.name, chosen.drops)
        if chosen.ram.weight and chosen.ram.first_epoch >= chosen.epochs:
            most = chosen.epochs - 1
            raise UsageError(f"stage {self.name}: first_epoch must be at most {most}, not {chosen.ram.first_epoch}")

    def trainer(self) -> Trainer:
        """A trainer of the classifier's own network."""
        from stages.spa.trainer import SpaTrainer

        return SpaTrainer(self.name, self.kind, self.params)
