"""Every room's output on a tiny made input, as a few numbers; `python -m tests.stages.rooms` pins them again.

Each room gets inputs of its own, made by formula, so that a change in one room shows in that room alone: plain pixmaps
(no encoder between), a network whose weights follow their position, hand-drawn score maps. Of every column of a table
the pin keeps count, mean and a weighted mean of all numbers, and a digest of all texts; of a trained model the same of
its weights. Numbers are compared to one part in a thousand: other processors and library versions agree to about one in
a million. What this does not cover: other parameters than those below, bfloat16, GPUs, and the report's HTML.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load

from pipeline.contract.resources import StageResources
from pipeline.contract.runner import Job
from pipeline.contract.stage import AnyStage
from pipeline.running.in_process import InProcessRunner
from pipeline.store.records import Done, Shard, ShardResult, Task
from pipeline.store.store import Store
from pipeline.worker.device import set_threads
from pipeline.worker.local_context import LocalContext
from schemas import TABLES
from stages import catalog
from stages.ingest.readers.folder import FolderParams, FolderReader
from stages.ingest.stage import Ingest
from stages.vision.backbones.build import build
from stages.vision.inference import ClassifierCache
from stages.vision.model_card import WEIGHTS, ModelCard
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import to_blobs

PINNED = Path(__file__).with_name("room_outputs.json")
SIDE = 32
SPLITS = ("train", "train", "train", "train", "dev", "test")
RULE = {"components": "largest", "min_area": 0.0, "enlargement": "bilinear"}
PATHS = {"uri", "weights_hash"}


def outputs() -> dict[str, dict[str, Any]]:
    """Room -> its stage's version and the summary of its output."""
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return _Rooms(Path(folder)).outputs()


class _Rooms:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(str(folder / "run"))
        self.images = write_images(folder / "data")
        self.inputs = {
            "images": self._given("images", {"images": images_table(self.images)}),
            "truth": self._given("truth", {"truth": truth_table()}),
            "equal": self._given("equal", {"images": equal_images_table(self.images)}),
            "duplicates": self._given("duplicates", {"duplicates": duplicates_table()}),
            "model": self._given("model", {}, classifier()),
            "transformer": self._given("transformer", {}, classifier("vit_tiny_p8")),
            "cam_maps": self._given("cam_maps", {"score_maps": maps_table()}),
            "labels": self._given("labels", {"pseudo_labels": labels_table()}),
            "other_labels": self._given("other_labels", {"pseudo_labels": labels_table(wider=8)}),
            "judged": self._given("judged", {"qualities": qualities_table()}),
            "classes": self._given("classes", {"predictions": predictions_table()}),
            "counts": self._given("counts", {"counts": counts_table()}),
        }

    def outputs(self) -> dict[str, dict[str, Any]]:
        given = self.inputs
        seen = {"images": given["images"], "model": given["model"]}
        known = {"images": given["images"], "truth": given["truth"]}
        tiny = {"epochs": 2, "batch_size": 2, "learning_rate": 0.01}
        sets = {"epochs": 2, "classes": 2, "learning_rate": 0.001}
        on_maps = {"images": given["images"], "maps": given["cam_maps"], "seeds": ()}
        done = {
            "ingest": self._ingest(),
            "import": self._run("import", {"maps": str(write_maps(self.folder / "maps"))}, {"images": given["images"]}),
            "perceptual_hash": self._run("perceptual_hash", {}, {"images": given["images"]}),
            "duplicates": self._run("duplicates", {"policy": "one_split"}, {"images": given["equal"], "hashes": ()}),
            "deduplicate": self._run("deduplicate", {}, {"images": given["images"], "duplicates": given["duplicates"]}),
            "classify": self._run("classify", tiny, {"images": given["images"]}),
            "cam": self._run("cam", {}, seen),
            "gradcam": self._run("gradcam", {}, seen),
            "ddt": self._run("ddt", {}, seen, args={"label_name": "cat"}),
            "sweep": self._run("sweep", {"maps": "cam_maps"}, {**known, "maps": given["cam_maps"]}),
            "calibrate": self._run(
                "calibrate", {}, {**known, "counts": given["counts"]}, args={"split": "dev"}, payload=RULE
            ),
            "boxes": self._run("boxes", {"threshold": 0.5}, {"maps": given["cam_maps"], "thresholds": ()}),
            "quality": self._run(
                "quality",
                {"labels": ("labels", "other_labels")},
                {**known, "labels": given["labels"] + given["other_labels"], "classes": given["classes"]},
                args={"split": "dev"},
                payload={"run": "run", "dataset": "made"},
            ),
            "consensus": self._run(
                "consensus",
                {"labels": ("labels", "other_labels"), "min_quality": 0.5},
                {
                    "images": given["images"],
                    "labels": given["labels"] + given["other_labels"],
                    "quality": given["judged"],
                },
            ),
            "psol": self._run("psol", tiny, {**seen, "labels": given["labels"]}),
            "i2c": self._run("i2c", {**sets, "set_size": 2, "warm_up": 1}, seen),
            "ncut": self._run("ncut", {"tau": 0.99}, seen),
            "plain_cam": self._run("plain_cam", {**tiny, "learning_rate": 0.001, "technique": "acol"}, seen),
            "spa": self._run("spa", {**tiny, "learning_rate": 0.001, "first_epoch": 1}, seen),
            "minmax": self._run("minmax", {**sets, "set_size": 2}, seen),
            "sdcam": self._run("sdcam", tiny, {**seen, "model": given["transformer"]}),
            "scg": self._run("scg", {"maps": "cam_maps", "taps": ("layer3",)}, {**seen, "maps": given["cam_maps"]}),
            "arm": self._run("arm", {"maps": "cam_maps", "size": 32, "iterations": 5}, on_maps),
            "sgrm": self._run(
                "sgrm",
                {"maps": "cam_maps", "size": 32, "iterations": 3, "min_iterations": 3, "output": "probability"},
                on_maps,
            ),
            "localize": self._run("localize", {}, seen),
            "evaluate": self._run(
                "evaluate",
                {"classes": "classes", "labels": ("labels",), "counts": ("counts",), "splits": ("dev", "test")},
                {
                    **known,
                    "classes": given["classes"],
                    "labels": given["labels"],
                    "predictions": (),
                    "counts": given["counts"],
                },
                payload={"run": "run", "dataset": "made"},
            ),
        }
        return {
            room: {
                "version": Ingest.version if room == "ingest" else catalog.stages()[room].version,
                "output": self._summary(found),
            }
            for room, found in done.items()
        }

    def _given(self, stage: str, tables: dict[str, Any], blobs: dict[str, bytes] | None = None) -> tuple[Done, ...]:
        return (self.store.commit(stage, "made", "k", ShardResult(tables, blobs or {})),)

    def _run(
        self,
        kind: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, tuple[Done, ...]],
        *,
        args: Mapping[str, Any] | None = None,
        payload: Any = None,
    ) -> Done:
        stage = catalog.create(kind, kind, catalog.params_type(kind)(**params))
        rows_from = {
            "cam": "images",
            "gradcam": "images",
            "ncut": "images",
            "boxes": "maps",
            "scg": "maps",
            "arm": "maps",
            "sgrm": "maps",
        }.get(kind)
        return self._compute(stage, Task(Shard("k", args=args or {}, rows_from=rows_from, payload=payload), inputs))

    def _ingest(self) -> Done:
        params = FolderParams(root=str(self.folder / "data"), dev_fraction=0.5)
        stage = Ingest("ingest", params, FolderReader(params))
        (shard,) = stage.list_shards("r", self.store, payloads=True)
        return self._compute(stage, Task(shard, {}))

    def _compute(self, stage: AnyStage, task: Task) -> Done:
        found: list[Done] = []
        roots = {"ingest": str(self.folder / "data")}
        InProcessRunner().run(Job(stage, "r", [task], self.store, StageResources(), roots=roots), found.append)
        return found[0]

    def _summary(self, done: Done) -> dict[str, Any]:
        said = {}
        for name in sorted(done.tables):
            table = self.store.table(done, name)
            for column in table.column_names:
                if column not in PATHS:
                    said[f"{name}.{column}"] = summary(table.column(column).to_pylist())
        if done.blobs:
            tensors = load_weights(LocalContext(self.store).blob(done, WEIGHTS))
            said["weights"] = summary([tensors[name].float().ravel().tolist() for name in sorted(tensors)])
        return said


def version(room: str) -> int:
    """The version of a room's stage."""
    return Ingest.version if room == "ingest" else catalog.stages()[room].version


def load_weights(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a model artifact."""
    return load(data)


def summary(values: Any) -> dict[str, Any]:
    """Count, mean, weighted mean and mean size of all numbers in nested values; a digest of everything else."""
    flat = list(flattened(values))
    numbers = np.array([value for value in flat if isinstance(value, float)])
    texts = [value for value in flat if not isinstance(value, float)]
    said: dict[str, Any] = {}
    if texts:
        said["texts"] = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    if len(numbers):
        weights = np.sin(np.arange(1, len(numbers) + 1))
        moments = (numbers.mean(), (numbers * weights).mean(), np.abs(numbers).mean())
        said["numbers"] = [len(numbers), *(float(f"{moment:.6g}") for moment in moments)]
    return said


def flattened(value: Any) -> Iterable[float | str]:
    """Finite numbers as floats, all else as text, in order."""
    if isinstance(value, Mapping):
        for name in sorted(value):
            yield from flattened(value[name])
    elif isinstance(value, list):
        for item in value:
            yield from flattened(item)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield float(value)
    else:
        yield str(value)


def write_images(folder: Path) -> list[Path]:
    """Six plain pixmaps of two classes: a bright square whose place and shade depend on the number."""
    paths = []
    for number, split in enumerate(SPLITS):
        pixels = (np.indices((SIDE, SIDE)).sum(0) * 3 + 11 * number).astype(np.uint8)[:, :, None].repeat(3, 2)
        top = 2 + 3 * number
        pixels[top : top + 10, top : top + 12] = (250 - 9 * number, 40, 90 + 20 * number)
        path = (
            folder / ("test" if split == "test" else "train") / ("cat" if number % 2 == 0 else "dog") / f"{number}.ppm"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"P6 {SIDE} {SIDE} 255\n".encode() + pixels.tobytes())
        paths.append(path)
    return paths


def box(number: int) -> dict[str, float]:
    """The square of image `number`."""
    x0, y0 = float(2 + 3 * number), float(2 + 3 * number)
    return {"x0": x0, "y0": y0, "x1": min(x0 + 12, SIDE), "y1": min(y0 + 10, SIDE)}


def rows() -> list[dict[str, Any]]:
    """What every per-image table says of the six images."""
    return [
        {"image_id": str(n), "label": n % 2, "split": split, "image_height": SIDE, "image_width": SIDE}
        for n, split in enumerate(SPLITS)
    ]


def images_table(paths: list[Path]) -> Any:
    return TABLES["images"].from_rows(
        [
            {
                **row,
                "width": SIDE,
                "height": SIDE,
                "content_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
                "uri": str(path),
                "label_name": ("cat", "dog")[row["label"]],
            }
            for row, path in zip(rows(), paths, strict=True)
        ]
    )


def equal_images_table(paths: list[Path]) -> Any:
    """The images, every two of one content: two of train twice, and one of dev with one of test."""
    return TABLES["images"].from_rows(
        [{**row, "content_hash": f"{n // 2:064x}"} for n, row in enumerate(images_table(paths).to_pylist())]
    )


def duplicates_table() -> Any:
    """Image 0 moves to test, image 1 is left out, image 2 stays."""
    fixed = {"kind": "exact", "group": "0", "label_name": "cat", "content_hash": "0" * 64, "split": "train"}
    return TABLES["duplicates"].from_rows(
        [{**fixed, "image_id": str(n), "used_as": used} for n, used in enumerate(("test", None, "train"))]
    )


def truth_table() -> Any:
    """A box of each image."""
    empty: dict[str, list[str]] = {"mask_uris": [], "mask_hashes": [], "ignore_uris": [], "ignore_hashes": []}
    return TABLES["truth"].from_rows(
        [{"image_id": row["image_id"], "boxes": [box(number)], **empty} for number, row in enumerate(rows())]
    )


def maps_table() -> Any:
    """Hills on an 8 x 8 grid, higher by the same step each, around the middle of each square."""
    y, x = np.indices((8, 8))
    centres = [((2 + 3 * n) + 5) / 4 for n in range(len(SPLITS))]
    return TABLES["score_maps"].from_rows(
        [
            {
                **row,
                "method": "cam",
                "height": 8,
                "width": 8,
                "map": (8 - np.abs(x - round(centre)) - np.abs(y - round(centre))).astype(np.float16).ravel(),
                "backbone": "made",
                "tap": "features",
                "input_size": 64,
                "weights_hash": "0",
            }
            for row, centre in zip(rows(), centres, strict=True)
        ]
    )


def write_maps(folder: Path) -> Path:
    """The maps of `maps_table` as another program's files."""
    folder.mkdir()
    for row in maps_table().to_pylist():
        np.save(folder / f"{row['image_id']}.npy", np.array(row["map"], np.float32).reshape(8, 8) / 10)
    return folder


def counts_table() -> Any:
    """Of dev and test one image each, localised at every third cut."""
    hits = (np.arange(255) % 3 == 0).astype(np.int64)
    fixed = {"method": "cam", "source": "cam_maps", "images": 1, "counts": hits}
    return TABLES["counts"].from_rows(
        [
            {**fixed, "split": split, "half": 0 if rule == "fixed" else None, "rule": rule, "iou": iou}
            for split in ("dev", "test")
            for rule in ("fixed", "largest", "all")
            for iou in (0.3, 0.5, 0.7)
        ]
    )


def labels_table(wider: float = 0.0) -> Any:
    """A box around the square of each image, wider by so many pixels."""
    fixed = {
        "method": "cam", "source": "labels", "masks": [], "area_fraction": 0.1, "components": 1, "threshold": 0.5,
        "threshold_choice": "fixed", "component_rule": "largest",
    }  # fmt: skip
    return TABLES["pseudo_labels"].from_rows(
        [
            {**row, **fixed, "boxes": [{**box(number), "x1": box(number)["x1"] + wider, "score": 1.0}]}
            for number, row in enumerate(rows())
        ]
    )


def qualities_table() -> Any:
    """Of every second image the other source is better; of the last two nothing is known."""
    return TABLES["qualities"].from_rows(
        [
            {
                **row,
                "method": "cam",
                "source": source,
                "quality": None if number > 3 else 0.4 + 0.2 * (number % 2 == of),
            }
            for of, source in enumerate(("labels", "other_labels"))
            for number, row in enumerate(rows())
        ]
    )


def predictions_table() -> Any:
    return TABLES["predictions"].from_rows(
        [
            {**row, "method": "classify", "source": "classes", "classes": [0, 1], "class_scores": [0.75, 0.25]}
            for row in rows()
        ]
    )


def classifier(backbone: str = "smallnet") -> dict[str, bytes]:
    """A small network whose weights are given by their position: small integers times a power of two."""
    network = build(backbone, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            position = torch.arange(parameter.numel()).reshape(parameter.shape)
            scale = 2.0 ** -round(math.log2(parameter[0].numel()) / 2 + 2)
            parameter.copy_((position * 7 % 13 - 6) * scale if parameter.ndim > 1 else (position % 3) / 16 + 0.5)
    blobs = to_blobs(network, ModelCard("classify", backbone, ("cat", "dog"), input_size=64, seed=0))
    ClassifierCache("cpu", ModelLoaders()).get("k", blobs.__getitem__)
    return blobs


if __name__ == "__main__":
    PINNED.write_text(json.dumps(outputs(), indent=1, sort_keys=True) + "\n")
