"""Stage `sgrm`: score maps + images -> masks, by a network trained on each image alone (LCAR's last step)."""

from collections.abc import Sequence

from pipeline.base.errors import UsageError
from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from pipeline.store.records import Shard
from pipeline.store.store import Store
from stages.bases.aligned import AlignedStage
from stages.sgrm.options import SgrmStageParams


class Sgrm(AlignedStage[SgrmStageParams]):
    """Self-guided re-prediction from any method's maps; their method becomes `<method>_sgrm`. Needs `weakbox[lcar]`."""

    kind = "sgrm"
    version = 2
    Params = SgrmStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        try:
            self.params.settings()
            self.params.superpixel_settings()
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def prepare(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Refuse to start without the package of its superpixels. Raises UsageError."""
        self._require_package()

    def worker(self, context: Context) -> Worker:
        """Needs no set-up. Raises UsageError on a node without the package of its superpixels."""
        self._require_package()
        from stages.sgrm.worker import SgrmWorker

        return SgrmWorker(self.name, self.params, context)

    def _require_package(self) -> None:
        require("skimage", "scikit-image", "lcar", f"stage {self.name}")
