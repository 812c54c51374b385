"""Stage `plain_cam`: a classifier + images -> a classifier, fine-tuned with a technique of the literature or none."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.epochs import Batch, Training
from pipeline.errors import UsageError
from pipeline.params import option
from pipeline.stage import TrainContext
from stages.bases.localizer import FineTuningParams, LocalizerStage
from stages.plain import techniques
from stages.plain.guided_network import Guides
from stages.plain.hide_and_seek import patch_side
from stages.plain.self_produced_guidance import Sureness
from stages.plain.techniques import Technique
from stages.vision.backbones import LocalizerNetwork, TwoBranchNetwork, backbone, tap_path
from stages.vision.optimisers import groups_of_four
from stages.vision.stream import Row
from stages.vision.training import set_up, training_images
from stages.vision.views import View, random_view

TECHNIQUES = ("none", "has", "acol", "spg", "adl", "cutmix")
_FRACTIONS = ("has_rate", "acol_threshold", "adl_rate", "adl_threshold", "cutmix_probability")
_POSITIVE = ("has_grid", "cutmix_beta")
_WITH_TAPS = ("spg", "adl")


@dataclass(frozen=True)
class PlainCamParams(FineTuningParams):
    """Parameters of `plain_cam`."""

    technique: str = option(
        "none",
        "none, has (Hide-and-Seek), acol, spg, adl or cutmix; options that begin with a technique's name are for it"
        " alone",
        choices=TECHNIQUES,
    )
    has_grid: float = option(44.0, "side of a patch at inputs of 224 pixels, scaled with the input")
    has_rate: float = option(0.5, "probability of a patch being hidden", at_least=0)
    acol_threshold: float = option(
        0.6, "delta: what the first branch's min-maxed map exceeds it by is erased for the second", at_least=0
    )
    spg_high: tuple[float, ...] = option(
        (0.7, 0.5, 0.7), "object is above: in the class map (for B2), in B2's map (for B1), in the mean of both (for C)"
    )
    spg_low: tuple[float, ...] = option((0.01, 0.05, 0.1), "background is below, in the same three maps")
    adl_rate: float = option(0.75, "probability of the drop mask in place of the importance map", at_least=0)
    adl_threshold: float | None = option(
        None, "dropped is above this fraction of the largest attention; null: 0.9 for ResNets and Inceptions, else 0.8"
    )
    cutmix_beta: float = option(1.0, "lambda is drawn from Beta(beta, beta)")
    cutmix_probability: float = option(1.0, "probability of a batch being mixed", at_least=0)
    taps: tuple[str, ...] | None = option(
        None,
        "spg: the deeper and the shallower layer with guidance; adl: the layers with dropout; null: for spg the"
        " second (of two the first) and the last of the backbone's taps, for adl the first and the last",
    )
    epochs: int = option(50, "passes over the training images", at_least=1)
    batch_size: int = option(32, "images in one step and worker", at_least=1)
    bias_rate: float = option(1.0, "factor on the learning rate of biases")
    weight_decay: float = option(1e-4, "weight decay")
    drops: tuple[float, ...] = option(
        (0.3, 0.6, 0.9), "steps: fractions of the training after which the rate falls to a tenth"
    )


class PlainCam(LocalizerStage):
    """Cross-entropy with Hide-and-Seek, ACoL, SPG, ADL or CutMix; `none` is the baseline of the same budget."""

    kind = "plain_cam"
    version = 1
    Params = PlainCamParams

    def check(self) -> None:
        """Refuse values outside their range, and options of another technique than the chosen one."""
        super().check()
        self.check_drops(self.params.drops)
        if said := mistake(self.params):
            raise UsageError(f"stage {self.name}: {said}")

    def network(self, start: LocalizerNetwork) -> LocalizerNetwork:
        """The classifier; for ACoL with a second branch, which is kept too."""
        return TwoBranchNetwork(start, self.params.acol_threshold) if self.params.technique == "acol" else start

    def card(self, network: LocalizerNetwork) -> dict[str, Any]:
        """The technique is the method, the kind for none; of ACoL what it takes to build both branches."""
        if isinstance(network, TwoBranchNetwork):
            return {"method": "acol", "acol_threshold": network.threshold}
        return {"method": self.kind if self.params.technique == "none" else self.params.technique}

    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """The technique's loss on random views."""
        params: PlainCamParams = self.params
        view = View(size, params.crop, mirror=params.mirror)
        technique = _technique(network, params, size)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            return technique.loss(network, images, labels)

        batches = training_images(rows, prepared, params.batch_size, params, context)
        body, head = network.trained_parameters()
        groups = groups_of_four(body, [*head, *technique.beside], params.rates)
        return Training(technique.network, loss, **vars(set_up(batches, groups, params, params.drops)))


def mistake(params: PlainCamParams) -> str | None:
    """The first thing wrong with the technique's parameters, in words; None if nothing is."""
    for field in fields(params):
        value, owner = getattr(params, field.name), field.name.partition("_")[0]
        if owner in TECHNIQUES and owner != params.technique and value != field.default:
            return f"{field.name} is an option of technique {owner}, not of {params.technique}"
        if field.name in _FRACTIONS and value is not None and not 0 <= value <= 1:
            return f"{field.name} must lie in [0, 1], not {value:g}"
        if field.name in _POSITIVE and value <= 0:
            return f"{field.name} must be above 0, not {value:g}"
    if len(params.spg_high) != 3 or len(params.spg_low) != 3:
        return "spg_high and spg_low must have three values each"
    if params.taps is not None and params.technique not in _WITH_TAPS:
        return f"taps are for {' and '.join(_WITH_TAPS)}, not for technique {params.technique}"
    if params.taps is not None and (len(params.taps) != 2 if params.technique == "spg" else not params.taps):
        return f"taps must be {'two' if params.technique == 'spg' else 'one at least'}, not {len(params.taps)}"
    if params.taps is not None and len(set(params.taps)) < len(params.taps):
        return f"taps must differ, not {', '.join(params.taps)}"
    try:
        _guides(params)
    except ValueError as error:
        return str(error)
    return None


def _technique(network: LocalizerNetwork, params: PlainCamParams, size: int) -> Technique:
    """The technique that the parameters name. Raises ValueError for taps that the backbone does not have."""
    match params.technique:
        case "has":
            return techniques.hide_and_seek(network, patch_side(params.has_grid, size), params.has_rate)
        case "acol":
            if not isinstance(network, TwoBranchNetwork):
                raise TypeError("acol trains a network with two branches")
            return techniques.acol(network)
        case "spg":
            named = params.taps or techniques.deep_and_shallow(tuple(backbone(network.backbone).taps))
            deep, shallow = _paths(network, named)
            return techniques.self_produced_guidance(network, (deep, shallow), _guides(params), size, params.seed)
        case "adl":
            known = tuple(backbone(network.backbone).taps)
            paths = _paths(network, params.taps or dict.fromkeys((known[0], known[-1])))
            usual = techniques.adl_threshold(network.backbone)
            threshold = usual if params.adl_threshold is None else params.adl_threshold
            return techniques.adl(network, paths, params.adl_rate, threshold)
        case "cutmix":
            return techniques.cutmix(network, params.cutmix_beta, params.cutmix_probability)
        case _:
            return techniques.plain(network)


def _paths(network: LocalizerNetwork, taps: Iterable[str]) -> list[str]:
    """Module paths of taps. Raises ValueError for unknown ones, and those that the classes do not depend on."""
    paths, known = {tap: tap_path(network.backbone, tap) for tap in taps}, backbone(network.backbone).taps
    for tap in paths:
        if tap not in known:
            raise ValueError(f"the classes of {network.backbone} do not depend on tap {tap!r}")
    return list(paths.values())


def _guides(params: PlainCamParams) -> Guides:
    attention, deep, fused = (Sureness(*pair) for pair in zip(params.spg_high, params.spg_low, strict=True))
    return Guides(attention, deep, fused)
