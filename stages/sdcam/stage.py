"""Stage `sdcam`: a frozen vision transformer + images -> a classifier whose maps give LCAR its seeds (SD-CAM)."""

from pipeline.base.errors import UsageError
from stages.bases.localizer import LocalizerStage, Trainer
from stages.sdcam.options import SdcamParams


class Sdcam(LocalizerStage[SdcamParams]):
    """SD-CAM: stage `cam` takes the student's maps, stage `localize` the teacher's classes."""

    kind = "sdcam"
    version = 2
    Params = SdcamParams

    def check(self) -> None:
        """Refuse alpha above 1, a temperature of 0, a warm-up of the whole training, hidden without an mlp."""
        super().check()
        params, chosen = self.params, self.params.filled()
        demands = {
            f"alpha must be at most 1, not {params.alpha:g}": params.alpha <= 1,
            f"temperature must be above 0, not {params.temperature:g}": params.temperature > 0,
            f"warm_up must be at least 0 and below 1, not {chosen.warm_up:g}": 0 <= chosen.warm_up < 1,
            "hidden needs teacher: mlp": params.hidden is None or chosen.teacher == "mlp",
        }
        for demand, met in demands.items():
            if not met:
                raise UsageError(f"stage {self.name}: {demand}")

    def trainer(self) -> Trainer:
        """A trainer of two heads over a frozen transformer."""
        from stages.sdcam.trainer import SdcamTrainer

        return SdcamTrainer(self.name, self.kind, self.params)
