"""A small finished run with every kind of table, and its report: what the tests of this folder look at."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.base.params import input_names
from pipeline.planning.walk import ancestry
from pipeline.store.records import QuarantineRow, Recipe, Shard, ShardResult, Task, Upstream
from pipeline.store.store import Store
from pipeline.worker.local_context import LocalContext
from schemas import TABLES
from stages.report.options import ReportParams
from stages.report.stage import Report
from stages.report.worker import PAGE
from stages.vision import masks

AT_HALF: dict[str, Any] = {"iou": 0.5, "protocol": "original"}
LEVELS: dict[str, dict[str, Any]] = {
    "cls_top1": {"iou": None, "protocol": None},
    "max_box_acc": {"iou": 0.5, "protocol": "wsolevaluation"},
    "max_box_acc_v2": {"iou": None, "protocol": "wsolevaluation"},
}
CLASSES = ("<b>&", "cat", "zebra")
SIZE = 96
KEY = "0" * 16
NO_MASKS: dict[str, list[str]] = {"mask_uris": [], "mask_hashes": [], "ignore_uris": [], "ignore_hashes": []}
BAD: QuarantineRow = {
    "image_id": "test/broken.jpg", "uri": "u", "stage": "ingest", "reason": "truncated: <i>", "content_hash": None,
}  # fmt: skip
VERDICT = {
    "check": "agreement", "source": "cam_boxes", "level": "look", "value": 40.0, "n": 29,
    "said": "they <b>disagree</b>",
}  # fmt: skip
CLASSIFIER = Recipe("classify", 1, {"epochs": 30})
RECIPES = {
    "classifier": CLASSIFIER,
    "cam": Recipe("cam", 3, {"input_size": 448}, {"model": [("classifier", CLASSIFIER.id)]}),
}


def build(root: Path, images: int = 30, truth: bool = True) -> Store:
    """Make image files and commit the tables of a run over them below `root`; truth: with ground-truth boxes."""
    store = Store(str(root / "run"))
    rows = [_image(root, number) for number in range(images)]
    cam, ddt, psol = (
        [_boxes(row, method, error) for row in rows] for method, error in (("cam", 14), ("ddt", 7), ("psol", 4))
    )
    classified = {"classes": [1, 0, 2], "class_scores": [0.7, 0.2, 0.1]}
    _commit(store, "ingest", {"images": rows}, quarantine=[BAD])
    known = [{**NO_MASKS, "image_id": row["image_id"], "boxes": row["gt_boxes"]} for row in rows if truth]
    _commit(store, "truth", {"truth": known})
    _commit(store, "duplicates", {"duplicates": duplicates()})
    for method, boxes in (("cam", cam), ("ddt", ddt)):
        _commit(store, method, {"score_maps": [_map(row, method) for row in rows]})
        _commit(store, f"{method}_boxes", {"pseudo_labels": [_pseudo(row) for row in boxes]})
    _commit(store, "psol", {"predictions": psol})
    votes = [{**row, **classified, "method": "classify", "boxes": None} for row in psol]
    _commit(store, "classes", {"predictions": votes})
    scored = {"metrics": metrics(), "curves": curves(), "groups": groups(), "comparisons": comparisons()}
    _commit(store, "evaluate", scored)
    judged = [row for boxes, stage in ((cam, "cam_boxes"), (ddt, "ddt_boxes")) for row in _qualities(boxes, stage)]
    _commit(store, "quality", {"qualities": judged, "verdicts": [VERDICT]})
    for stage, recipe in RECIPES.items():
        store.keep_recipe(stage, recipe)
    return store


def _qualities(boxes: Sequence[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    """Qualities of a stage's boxes: 0, 0.05, 0.1, ... by the number of the image."""
    signals = {column.name: None for column in TABLES["qualities"].columns if column.nullable}
    return [
        {**signals, **{name: row[name] for name in ("image_id", "label", "split", "method")}, "source": stage,
         "quality": min(1.0, number / 20)}
        for number, row in enumerate(boxes)
    ]  # fmt: skip


def report(store: Store, **changes: Any) -> bytes:
    """The page of that run."""
    params = ReportParams(
        **{"maps": ("cam", "ddt"), "labels": ("cam_boxes", "ddt_boxes"), "predictions": ("psol", "classes"), **changes}
    )
    stage = Report("report", params)
    stage.check()
    inputs = {slot: tuple(_upstream(store, name) for name in names) for slot, names in input_names(params).items()}
    (shard,) = stage.plan("x", inputs)
    done = {
        slot: tuple(store.done(ref.stage, ref.recipe, [ref.key])[ref.key] for ref in refs)
        for slot, refs in shard.inputs.items()
    }
    return stage.worker(LocalContext(store))(Task(shard, done)).blobs[PAGE]


def duplicates() -> list[dict[str, Any]]:
    """A picture of train that test has too, three times in all; one under two classes; one repeated as it is."""
    groups = [
        [("test/1.jpg", "test", "cat"), ("train/leak.jpg", "train", "cat"), ("train/x.jpg", "train", "cat")],
        [("train/<a>.jpg", "train", "cat"), ("train/b.jpg", "train", "<b>&")],
        [("train/c.jpg", "train", "cat"), ("train/d.jpg", "train", "cat")],
    ]
    return [
        {"kind": "exact", "group": group[0][0], "image_id": image_id, "split": split, "label_name": label_name,
         "content_hash": "0" * 64, "used_as": ("test", None, split)[number]}
        for number, group in enumerate(groups)
        for image_id, split, label_name in group
    ]  # fmt: skip


def metrics() -> list[dict[str, Any]]:
    """Figures of two splits: validated, fixed and oracle, with and without intervals, and trivial predictors."""
    rows = []
    for split, offset in (("test", 0.0), ("dev", 1.3)):
        add = _figures(split, offset)
        rows += add("cam", "cam_boxes", gt_known=71.25, top1_loc=69.5, choice="validated", tau=0.42)
        rows += add("cam", "cam_boxes", gt_known=72.0, top1_loc=70.2, choice="oracle", tau=0.38)
        rows += add("cam", "cam", max_box_acc=72.5, max_box_acc_v2=61.5, choice="oracle", tau=0.38)
        rows += add("ddt", "ddt_boxes", gt_known=23.4, top1_loc=22.8, choice="fixed", tau=0.0)
        rows += add("ddt", "ddt", max_box_acc=25.4, max_box_acc_v2=24.0, choice="oracle", tau=0.12)
        rows += add("psol", "psol", gt_known=78.125, top1_loc=76.0, choice=None, tau=None)
        rows += add("centred_square", None, gt_known=26.5, choice="oracle", tau=None)
        rows += add("whole_image", None, gt_known=4.5, choice=None, tau=None)
        rows += add("centred_gaussian", None, max_box_acc=27.0, max_box_acc_v2=29.1, choice="oracle", tau=0.6)
        rows += add("classifier", "classifier", cls_top1=97.25, choice=None, tau=None)
    return rows


def groups() -> list[dict[str, Any]]:
    """GT-known of two methods and a trivial predictor, by two sizes and by twelve classes."""
    names = {"size": ("below 10 %", "10 to 30 %"), "class": tuple(f"<class {number}>" for number in range(12))}
    return [
        {"split": split, "method": method, "source": source, "metric": metric, **AT_HALF, "by": by, "group": group,
         "value": base + place, "n": 100 + place, "ci_low": base + place - 3, "ci_high": base + place + 4}
        for split in ("test", "dev")
        for method, source, base in (("cam", "cam_boxes", 60.0), ("psol", "psol", 70.0), ("whole_image", None, 5.0))
        for metric in ("gt_known", "top1_loc")
        for by, own in names.items()
        for place, group in enumerate(own)
    ]  # fmt: skip


def comparisons() -> list[dict[str, Any]]:
    """PSOL against CAM on two splits."""
    found = {"difference": 6.875, "n": 1000, "ci_low": 4.5, "ci_high": 9.25, "p_value": 0.0005}
    return [
        {"split": split, "metric": metric, **AT_HALF, "iou": iou, "first": "psol", "second": "cam_boxes", **found}
        for split in ("test", "dev")
        for metric, iou in (("gt_known", 0.5), ("top1_loc", 0.5), ("gt_delta", 0.7))
    ]


def curves() -> list[dict[str, Any]]:
    """One hump a method."""
    thresholds = np.linspace(0, 0.99, 100)
    return [
        {"split": split, "method": method, "source": method, "iou": iou, "protocol": "wsolevaluation",
         "threshold": float(tau), "value": float(height * (1 - iou / 2) * np.exp(-(((tau - peak) / 0.25) ** 2)))}
        for split in ("test", "dev")
        for method, peak, height in (("cam", 0.4, 95), ("ddt", 0.15, 34), ("centred_gaussian", 0.6, 37))
        for iou in (0.3, 0.5, 0.7)
        for tau in thresholds
    ]  # fmt: skip


def _figures(split: str, offset: float) -> Callable[..., list[dict[str, Any]]]:
    """A function that makes one row for each keyword that names a metric."""

    def add(
        method: str, source: str | None, *, choice: str | None, tau: float | None, **values: float
    ) -> list[dict[str, Any]]:
        shared: dict[str, Any] = {"run": "0123abcd", "dataset": "folder:digits", "split": split}
        shared |= {"method": method, "source": source}
        shared |= {"seed": 0 if source else None, "threshold": tau, "threshold_choice": choice, "n": 1000}
        rows = []
        for metric, value in values.items():
            value += offset
            low, high = (value - 2.75, value + 2.65) if source else (None, None)
            figure = {"metric": metric, "value": value, "ci_low": low, "ci_high": high}
            rows.append({**shared, **figure, **LEVELS.get(metric, AT_HALF)})
        return rows

    return add


def _image(root: Path, number: int) -> dict[str, Any]:
    """A bright blob on noise; the first image is a training image and must not be shown."""
    generator = np.random.default_rng(number)
    height, width = SIZE + 8 * (number % 4), SIZE + 24 * (number % 3)
    x, y, a, b = generator.integers([30, 30, 12, 12], [width - 30, height - 30, 28, 28])
    pixels = generator.integers(20, 160, (height, width, 3), dtype=np.uint8)
    colour = [int(c) for c in generator.integers(120, 255, 3)]
    cv2.ellipse(pixels, (int(x), int(y)), (int(a), int(b)), 0, 0, 360, colour, -1, cv2.LINE_AA)
    split = "train" if number == 0 else "test"
    path = root / split / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    corners = zip(("x0", "y0", "x1", "y1"), map(float, (x - a, y - b, x + a + 1, y + b + 1)), strict=True)
    label = number % len(CLASSES)
    return {
        "image_id": f"{split}/{number}.jpg", "uri": str(path), "width": width, "height": height, "label": label,
        "label_name": CLASSES[label], "split": split, "content_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
        "gt_boxes": [dict(corners)],
    }  # fmt: skip


def _boxes(image: dict[str, Any], method: str, error: int) -> dict[str, Any]:
    """A prediction that misses the ground truth by about `error` pixels a side."""
    generator = np.random.default_rng([error, *image["image_id"].encode()])
    (box,) = image["gt_boxes"]
    moves = generator.normal(0, error, 4)
    x0, y0 = max(0.0, box["x0"] + moves[0]), max(0.0, box["y0"] + moves[1])
    x1, y1 = max(x0 + 1, box["x1"] + moves[2]), max(y0 + 1, box["y1"] + moves[3])
    return {
        "image_id": image["image_id"], "label": image["label"], "split": image["split"], "method": method,
        "source": method, "image_height": image["height"], "image_width": image["width"],
        "boxes": [{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": 0.5}],
    }  # fmt: skip


def _pseudo(row: dict[str, Any]) -> dict[str, Any]:
    mask = masks.encode(np.ones((row["image_height"], row["image_width"]), bool))
    quality = {"area_fraction": 0.3, "contrast": 0.5, "components": 1, "masks": [mask]}
    flag = "empty_mask" if row["method"] == "cam" and row["image_id"].endswith(("5.jpg", "6.jpg")) else None
    return {
        **row,
        **quality,
        "flag": flag,
        "threshold": 0.4,
        "threshold_choice": "validated",
        "component_rule": "largest",
    }


def _map(image: dict[str, Any], method: str) -> dict[str, Any]:
    (box,) = image["gt_boxes"]
    y, x = np.mgrid[:14, :14] + 0.5
    x, y = x / 14 * image["width"], y / 14 * image["height"]
    middle = (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2
    values = np.exp(-(((x - middle[0]) / 25) ** 2) - ((y - middle[1]) / 25) ** 2) * (3 if method == "cam" else 40)
    keys = {key: image[key] for key in ("image_id", "label", "split")}
    shape = {"height": 14, "width": 14, "image_height": image["height"], "image_width": image["width"]}
    return {**keys, **shape, "method": method, "map": values.astype(np.float16).ravel().tolist()}


def _commit(store: Store, stage: str, tables: dict[str, list[Any]], quarantine: Sequence[QuarantineRow] = ()) -> None:
    made = {name: TABLES[name].from_rows(rows) for name, rows in tables.items()}
    store.commit(stage, _recipe(stage).id, KEY, ShardResult(made, quarantine=quarantine))


def _recipe(stage: str) -> Recipe:
    return RECIPES.get(stage, Recipe(stage, 1, {"seed": 7}))


def _upstream(store: Store, name: str) -> Upstream:
    """A stage that is read; what lies above it is what the store kept."""
    recipe = _recipe(name)
    return Upstream(name, recipe, [Shard(key=KEY)], ancestry(store, recipe))
