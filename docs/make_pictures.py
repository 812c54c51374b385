"""Pictures of methods on photographs, for the README and docs/methods: `python -m docs.make_pictures`.

The photographs come with scikit-image: a cat (CC0, Stéfan van der Walt), a cup (CC0, Rachel Michetti) and a
motorcycle (public domain, D. Scharstein). The network is EfficientNet-Lite0 as a package brings it; nothing is trained,
and no threshold was chosen for these pictures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage
from PIL import Image

import weakbox as wb

FOLDER = Path(__file__).parent / "images"
PHOTOGRAPHS = {
    "n02123045": "chelsea.png",  # tabby
    "n07920052": "coffee.png",  # espresso
    "n03791053": "motorcycle_left.png",  # motor scooter
}
"""wnid -> file of scikit-image."""

_ZERO = {"threshold": 0.0, "kind": "absolute"}
METHODS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cam": ({}, {"threshold": 0.25}),
    "gradcam": ({"method": "layercam"}, {"threshold": 0.25}),
    "ddt": ({}, _ZERO),
    "ncut": ({}, _ZERO),
    "scg": ({"maps": "cam", "model": "classify"}, {"threshold": 0.25}),
    "arm": ({"maps": "cam"}, {"threshold": 0.25}),
    "sgrm": ({"maps": "cam", "output": "mask"}, {"threshold": 0.5, "kind": "absolute"}),
}
"""Kind of stage -> its parameters, and those of the boxes of its maps."""

CORNERS = ("x0", "y0", "x1", "y1")
_HEIGHT, _GAP = 220, 6
_BOX = (46, 204, 64)


def config(folder: Path) -> dict[str, Any]:
    """A run of every method on the photographs."""
    stages: dict[str, Any] = {
        "classify": {
            "backbone": "efficientnet_lite0",
            "weights": "package:efficientnet_lite0",
            "keep_head": True,
            "epochs": 0,
        }
    }
    for kind, (own, boxes) in METHODS.items():
        stages[kind] = own
        stages[f"boxes_{kind}"] = {"stage": "boxes", "maps": kind, **boxes}
    dataset = {"reader": "folder", "root": str(folder / "photographs"), "dev_fraction": 0.0, "classes": "imagenet"}
    return {"run_root": str(folder / "run"), "dataset": dataset, "stages": stages}


def write_photographs(folder: Path) -> None:
    """A class folder a photograph, as readers expect it."""
    for wnid, name in PHOTOGRAPHS.items():
        (folder / wnid).mkdir(parents=True, exist_ok=True)
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        picture.save(folder / wnid / f"{Path(name).stem}.jpg", quality=95)


def panel(pixels: np.ndarray, boxes: list[list[float]], scores: np.ndarray | None) -> np.ndarray:
    """A photograph (H, W, 3) at the height of all, its map (h, w) over it if there is one, and boxes (B, 4)."""
    scale = _HEIGHT / pixels.shape[0]
    size = (round(pixels.shape[1] * scale), _HEIGHT)
    drawn = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if scores is not None:
        span = max(float(np.ptp(scores)), 1e-9)
        grown = np.clip(cv2.resize((scores - scores.min()) / span, size, interpolation=cv2.INTER_LINEAR), 0, 1)
        heat = cv2.cvtColor(cv2.applyColorMap((grown * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
        drawn = cv2.addWeighted(drawn, 0.5, heat, 0.5, 0)
    for box in boxes:
        x0, y0, x1, y1 = (round(side * scale) for side in box)
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), (255, 255, 255), 5)
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), _BOX, 3)
    return drawn


def beside(panels: list[np.ndarray]) -> np.ndarray:
    """Panels of one height, with a white gap."""
    gap = np.full((_HEIGHT, _GAP, 3), 255, np.uint8)
    parts = [part for each in panels for part in (each, gap)][:-1]
    return np.concatenate(parts, axis=1)


def main() -> None:
    """Run, draw, write. The run stays in build/pictures: a second call only draws."""
    folder = FOLDER.parents[1] / "build" / "pictures"
    write_photographs(folder / "photographs")
    run = config(folder)
    wb.run(run, in_process=True)
    images = wb.table(run, "ingest", "images").to_pylist()
    pixels = [np.asarray(Image.open(folder / "photographs" / row["image_id"])) for row in images]
    (FOLDER / "methods").mkdir(parents=True, exist_ok=True)
    for kind in METHODS:
        maps = {row["image_id"]: row for row in wb.table(run, kind, "score_maps").to_pylist()}
        labels = wb.table(run, f"boxes_{kind}", "pseudo_labels").to_pylist()
        boxes = {row["image_id"]: [[box[side] for side in CORNERS] for box in row["boxes"] or ()] for row in labels}
        panels = []
        for row, picture in zip(images, pixels, strict=True):
            own = maps[row["image_id"]]
            scores = np.asarray(own["map"], np.float32).reshape(own["height"], own["width"])
            panels.append(panel(picture, boxes[row["image_id"]], scores))
        Image.fromarray(beside(panels)).save(FOLDER / "methods" / f"{kind}.webp", quality=80)
        if kind == "cam":
            plain = [panel(picture, boxes[row["image_id"]], None) for row, picture in zip(images, pixels, strict=True)]
            gap = np.full((_GAP, beside(panels).shape[1], 3), 255, np.uint8)
            both = np.concatenate([beside(panels), gap, beside(plain)])
            Image.fromarray(both).save(FOLDER / "photographs.webp", quality=80)


if __name__ == "__main__":
    main()
