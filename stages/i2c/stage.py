"""Stage `i2c`: a classifier + images -> a classifier whose maps agree between the images of a class."""

from pipeline.base.errors import UsageError
from stages.bases.drops import check_drops
from stages.bases.localizer import LocalizerStage, Trainer
from stages.i2c.options import I2cParams


class I2c(LocalizerStage[I2cParams]):
    """Inter-image communication: training with stochastic and global consistency beside cross-entropy."""

    kind = "i2c"
    version = 3
    Params = I2cParams

    def check(self) -> None:
        """Refuse an odd set_size, and numbers outside their range."""
        super().check()
        params = self.params
        check_drops(self.name, params.drops)
        rules = {
            f"set_size must be even, not {params.set_size}": params.set_size % 2 == 0,
            f"region_threshold must be below 1, not {params.region_threshold:g}": params.region_threshold < 1,
            f"dropout must be at least 0 and below 1, not {params.dropout:g}": 0 <= params.dropout < 1,
            f"warm_up must be at most epochs, not {params.warm_up}": params.warm_up <= params.epochs,
        }
        if wrong := [rule for rule, holds in rules.items() if not holds]:
            raise UsageError(f"stage {self.name}: {wrong[0]}")

    def trainer(self) -> Trainer:
        """A trainer of the classifier's own network, with the memory of class centres beside it."""
        from stages.i2c.trainer import I2cTrainer

        return I2cTrainer(self.name, self.kind, self.params)
