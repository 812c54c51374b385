"""Stage `minmax`: a classifier + images -> a classifier whose maps keep to the object and cover all of it."""

from stages.bases.drops import check_drops
from stages.bases.localizer import LocalizerStage, Trainer
from stages.minmax.options import MinmaxParams


class Minmax(LocalizerStage[MinmaxParams]):
    """MinMaxCAM: on each batch a step of cross-entropy, then one of the classifier alone on common and full region."""

    kind = "minmax"
    version = 2
    Params = MinmaxParams

    def check(self) -> None:
        """Refuse drops outside the training."""
        super().check()
        check_drops(self.name, self.params.drops)

    def trainer(self) -> Trainer:
        """A trainer of the classifier's own network."""
        from stages.minmax.trainer import MinmaxTrainer

        return MinmaxTrainer(self.name, self.kind, self.params)
