"""The run behind `weakbox label`: which stages a folder of labeled pictures goes through, depending on its content."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.types import HELD_OUT

__all__ = ["CONSENSUS", "QUALITY", "Lying", "stages_of"]

QUALITY, CONSENSUS = "quality", "consensus"

_CAM_THRESHOLD = 0.25
"""Where CAM is best on ImageNet's photographs with EfficientNet-Lite0, see docs/real-photographs.md."""


_ENOUGH = 30
"""The fewest true boxes of a split that choose thresholds."""


class Lying(NamedTuple):
    """What is listed: images by split, the classes of train, and images with a true box by split."""

    images: Mapping[str, int]
    classes: Sequence[str]
    boxed: Mapping[str, int]

    @property
    def scored(self) -> list[str]:
        """The splits to evaluate: held-out splits with true boxes, else held-out splits, else all."""
        boxed: list[str] = [split for split in HELD_OUT if self.boxed.get(split)]
        return boxed or [split for split in HELD_OUT if self.images.get(split)] or sorted(self.images)

    @property
    def chooses(self) -> str | None:
        """The split whose true boxes choose thresholds; None where they are too few."""
        return next((split for split in HELD_OUT if self.boxed.get(split, 0) >= _ENOUGH), None)


def stages_of(lying: Lying, backbone: str, weights: str) -> dict[str, dict[str, Any]]:
    """`stages:` of the run's config.

    Several classes: CAM, with a head fitted to the published features, and DDT. One class, where there is nothing to
    classify: DDT alone. NCut is not used: on this network it gives the whole image. DDT maps are cut where they change
    sign (a threshold chosen by forty true boxes of raccoons was worse: 85 % right by cross-fitting, 95 % by the sign),
    CAM maps at their usual threshold, or at one chosen by true boxes if there are enough.
    """
    network = {"backbone": backbone, "weights": weights}
    several, boxed = len(lying.classes) > 1, lying.chooses
    maps = ["cam", "ddt"] if several else ["ddt"]
    by_cam: dict[str, dict[str, Any]] = {
        "classes": {"stage": "localize", "model": "classify", "splits": sorted(lying.images)},
        "cam": {},
    }
    boxes: dict[str, dict[str, Any]] = {
        "boxes_ddt": {"stage": "boxes", "maps": "ddt", "threshold": 0.0, "kind": "absolute"}
    }
    chosen: dict[str, dict[str, Any]] = {}
    if several:
        boxes["boxes_cam"] = {"stage": "boxes", "maps": "cam", "threshold": _CAM_THRESHOLD}
    if several and boxed:
        chosen["sweep_cam"] = {"stage": "sweep", "maps": "cam"}
        chosen["calibrate_cam"] = {"stage": "calibrate", "counts": "sweep_cam", "split": boxed, "cross_fit": True}
        boxes["boxes_cam"] = {"stage": "boxes", "maps": "cam", "thresholds": "calibrate_cam"}
    sources = sorted(boxes)
    classes = {"classes": "classes"} if several else {}
    return {
        "classify": {**network, "train": "head"} if several else {**network, "epochs": 0},
        **(by_cam if several else {}),
        "ddt": {},
        **chosen,
        **boxes,
        QUALITY: {"labels": sources, **classes},
        CONSENSUS: {"labels": sources},
        "evaluate": {"labels": [*sources, CONSENSUS], "splits": lying.scored, **classes},
        "report": {"maps": maps, "labels": [*sources, CONSENSUS], "quality": QUALITY},
    }
