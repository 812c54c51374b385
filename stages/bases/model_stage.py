"""What stages share that read a trained model and images."""

from pipeline.contract.stage import P, Stage, one_to_one
from pipeline.store.records import Inputs, Shard
from stages.vision.model_loaders import ModelLoaders

__all__ = ["ModelMapStage", "ModelStage"]


class ModelStage(Stage[P]):
    """A stage that reads a model; the catalog hands over how models are loaded."""

    def __init__(self, name: str, params: P, loaders: ModelLoaders) -> None:
        super().__init__(name, params)
        self.loaders = loaders


class ModelMapStage(ModelStage[P]):
    """Images and a model -> one score map an image."""

    outputs = ("score_maps",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={"model": inputs["model"]})
