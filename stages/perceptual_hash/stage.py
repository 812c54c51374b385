"""Stage `perceptual_hash`: images -> a 64-bit hash each, nearly equal for pictures that look alike."""

from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, one_to_one
from pipeline.store.records import Inputs, Shard
from stages.perceptual_hash.options import PerceptualHashParams


class PerceptualHash(Stage[PerceptualHashParams]):
    """The pHash of ImageHash, by the discrete cosine transform; needs the extra `weakbox[duplicates]`."""

    kind = "perceptual_hash"
    version = 1
    Params = PerceptualHashParams
    outputs = ("perceptual_hashes",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={})

    def worker(self, context: Context) -> Worker:
        """Raises UsageError on a node without the package."""
        self.check_packages()
        from stages.perceptual_hash.worker import PerceptualHashWorker

        return PerceptualHashWorker(self.name, self.params, context)

    def check_packages(self) -> None:
        """Its workers need an extra. Raises UsageError."""
        require("imagehash", "ImageHash", "duplicates", f"stage {self.name} (dataset: near_duplicates)")
