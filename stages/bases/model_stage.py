"""Shared base of stages that read a trained model and images."""

from typing import TYPE_CHECKING, ClassVar

from pipeline.base.errors import UsageError
from pipeline.contract.stage import P, Stage, one_to_one
from pipeline.store.records import Inputs, Shard
from stages.bases.planned_network import PlannedNetwork, planned_network, try_network
from stages.vision.model_loaders import ModelLoaders

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["ModelMapStage", "ModelStage"]


class ModelStage(Stage[P]):
    """A stage that reads a model; the catalog passes the model loaders in.

    needs_classifier: whether a model that predicts boxes alone is refused.
    """

    needs_classifier: ClassVar[bool] = True

    def __init__(self, name: str, params: P, loaders: ModelLoaders) -> None:
        super().__init__(name, params)
        self.loaders = loaders

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse a model that is no classifier where one is needed."""
        super().check_inputs(inputs)
        for model in inputs["model"]:
            if self.needs_classifier and model.recipe.kind in self.loaders.predictors:
                raise UsageError(f"stage {self.name}: model {model.name!r} ({model.recipe.kind}) is no classifier")

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a network for which the stage is not defined, or an input size that the network does not take."""
        planned = planned_network(inputs["model"][0])
        if planned is None:
            return
        planned = planned._replace(input_size=getattr(self.params, "input_size", None) or planned.input_size)
        try_network(self, planned, lambda network: self.check_network(network, planned))

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a network, given on torch's meta device, that does not fit. Raises ValueError."""


class ModelMapStage(ModelStage[P]):
    """Images and a model -> one score map an image."""

    outputs = ("score_maps",)
    per_image = True
    divisible = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images."""
        return one_to_one(recipe, inputs["images"][0], "images", extra={"model": inputs["model"]})
