"""The technique's loss on random views."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

from pipeline.contract.context import TrainContext
from pipeline.training.draws import StepDraws
from pipeline.training.loop import Training
from pipeline.training.step import Batch
from stages.bases.localizer_trainer import LocalizerTrainer
from stages.bases.planned_network import PlannedNetwork
from stages.plain_cam import techniques
from stages.plain_cam.cutmix import Box, draw_box
from stages.plain_cam.hide_and_seek import patch_side
from stages.plain_cam.options import PlainCamParams
from stages.plain_cam.techniques import Technique
from stages.plain_cam.two_branches import THRESHOLD, TwoBranchNetwork
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size
from stages.vision.image_rows import ImageRow
from stages.vision.model_card import Said
from stages.vision.training.optimisers import groups_of_four
from stages.vision.training.setup import set_up, shuffled_batches
from stages.vision.training.views import View, random_view

__all__ = ["PlainCamTrainer"]


class PlainCamTrainer(LocalizerTrainer[PlainCamParams, LocalizerNetwork]):
    """Fine-tunes a classifier with one technique, whose name becomes the method of its models."""

    @property
    def method(self) -> str:
        """The technique's name; without one, the stage's kind."""
        return self.kind if self.params.technique == "none" else self.params.technique

    def network(self, start: LocalizerNetwork) -> LocalizerNetwork:
        """The classifier's network; for ACoL with a second branch."""
        return TwoBranchNetwork(start, self.params.acol_threshold) if self.params.technique == "acol" else start

    def parts(self, network: LocalizerNetwork) -> Mapping[str, Said]:
        """For ACoL, the threshold with which both branches are built."""
        return {THRESHOLD: network.threshold} if isinstance(network, TwoBranchNetwork) else {}

    def check(self, network: LocalizerNetwork, planned: PlannedNetwork) -> None:
        """Refuse a network as every localizer does, and layers that the technique cannot use."""
        super().check(network, planned)
        size = planned.input_size or input_size(planned.backbone)
        _technique(self.network(network), self.params, size, StepDraws())

    def training(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """The technique's loss on random views."""
        params, chosen = self.params, self.params.chosen(self.params.epochs)
        said = network.preprocessing
        view = View(size, params.crop, mirror=params.mirror, interpolation=said.interpolation)
        draws = StepDraws()
        technique = _technique(network, params, size, draws)

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            return technique.loss(network, images, labels)

        batches = shuffled_batches(rows, prepared, said, params.batch_size, chosen, context, technique.together)
        body, head = network.trained_parameters(params.head_taps)
        groups = groups_of_four(body, [*head, *technique.beside], params.rates)
        made = set_up(batches, groups, chosen, params.drops)
        return Training(technique.network, loss, **vars(made), draws=draws)


def _technique(network: LocalizerNetwork, params: PlainCamParams, size: int, draws: StepDraws) -> Technique:
    """The technique that the parameters name. Raises ValueError for taps that the backbone does not have."""

    def box() -> Box | None:
        return draw_box(size, params.cutmix_beta, params.cutmix_probability, draws.generator)

    match params.technique:
        case "has":
            return techniques.hide_and_seek(network, patch_side(params.has_grid, size), params.has_rate, draws.rand)
        case "acol":
            if not isinstance(network, TwoBranchNetwork):
                raise TypeError("acol trains a network with two branches")
            return techniques.acol(network)
        case "spg":
            named = params.taps or techniques.deep_and_shallow(tuple(network.tap_names.main))
            deep, shallow = _paths(network, named)
            return techniques.self_produced_guidance(network, (deep, shallow), params.guides(), size, params.seed)
        case "adl":
            known = tuple(network.tap_names.main)
            paths = _paths(network, params.taps or dict.fromkeys((known[0], known[-1])))
            usual = techniques.adl_threshold(network.backbone)
            threshold = usual if params.adl_threshold is None else params.adl_threshold
            return techniques.adl(network, paths, params.adl_rate, threshold, lambda: draws.generator.random())
        case "cutmix":
            return techniques.cutmix(network, box)
        case _:
            return techniques.no_technique(network)


def _paths(network: LocalizerNetwork, taps: Iterable[str]) -> list[str]:
    """Module paths of taps. Raises ValueError for unknown ones, and those that the classes do not depend on."""
    paths = {tap: network.tap_path(tap) for tap in taps}
    for tap in paths:
        if tap in network.tap_names.off:
            raise ValueError(f"the classes of {network.backbone} do not depend on tap {tap!r}")
    return list(paths.values())
