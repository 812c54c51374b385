"""Stage `plain_cam`: a classifier + images -> a classifier, fine-tuned with a technique of the literature or none."""

from pipeline.base.errors import UsageError
from stages.bases.drops import check_drops
from stages.bases.localizer import LocalizerStage, Trainer
from stages.plain_cam.options import PlainCamParams, mistake


class PlainCam(LocalizerStage[PlainCamParams]):
    """Cross-entropy with Hide-and-Seek, ACoL, SPG, ADL or CutMix; `none` is the baseline of the same budget."""

    kind = "plain_cam"
    version = 2
    Params = PlainCamParams

    def check(self) -> None:
        """Refuse values outside their range, and options of another technique than the chosen one."""
        super().check()
        check_drops(self.name, self.params.drops)
        if said := mistake(self.params):
            raise UsageError(f"stage {self.name}: {said}")

    def trainer(self) -> Trainer:
        """A trainer of the classifier's own network; for ACoL with a second branch, which is kept too."""
        from stages.plain_cam.trainer import PlainCamTrainer

        return PlainCamTrainer(self.name, self.kind, self.params)
