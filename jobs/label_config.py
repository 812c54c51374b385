"""The run behind `weakbox label`: which stages a folder of labelled pictures goes through, by what lies in it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.types import HELD_OUT

__all__ = ["CONSENSUS", "QUALITY", "Lying", "stages_of"]

QUALITY, CONSENSUS = "quality", "consensus"

_CAM_THRESHOLD = 0.25
"""Where CAM is best on ImageNet's photographs with EfficientNet-Lite0, see docs/real-photographs.md."""


class Lying(NamedTuple):
    """What is listed: images by split, the classes of train, and images with a true box by split."""

    images: Mapping[str, int]
    classes: Sequence[str]
    boxed: Mapping[str, int]

    @property
    def scored(self) -> list[str]:
        """The splits that numbers are of: those held out that have true boxes, else those held out, else all."""
        boxed: list[str] = [split for split in HELD_OUT if self.boxed.get(split)]
        return boxed or [split for split in HELD_OUT if self.images.get(split)] or sorted(self.images)


def stages_of(lying: Lying, backbone: str, weights: str) -> dict[str, dict[str, Any]]:
    """`stages:` of the run's config.

    Of several classes CAM, by a head that is fitted to the published features, and DDT; of one class, where nothing can
    be told apart, DDT alone, by its sign. NCut is not among them: on this network it gives the whole image.
    """
    network = {"backbone": backbone, "weights": weights}
    several = len(lying.classes) > 1
    sources = ["boxes_cam", "boxes_ddt"] if several else ["boxes_ddt"]
    by_cam: dict[str, dict[str, Any]] = {
        "classes": {"stage": "localize", "model": "classify", "splits": sorted(lying.images)},
        "cam": {},
        "boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": _CAM_THRESHOLD},
    }
    classes = {"classes": "classes"} if several else {}
    return {
        "classify": {**network, "train": "head"} if several else {**network, "epochs": 0},
        **(by_cam if several else {}),
        "ddt": {},
        "boxes_ddt": {"stage": "boxes", "maps": "ddt", "threshold": 0.0, "kind": "absolute"},
        QUALITY: {"labels": sources, **classes},
        CONSENSUS: {"labels": sources},
        "evaluate": {"labels": [*sources, CONSENSUS], "splits": lying.scored, **classes},
        "report": {"maps": ["cam", "ddt"] if several else ["ddt"], "labels": [*sources, CONSENSUS]},
    }
