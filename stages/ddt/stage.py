"""Stage `ddt`: all images of a class -> its component and their score maps. A shard is a class; one pass an image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from pipeline.params import option, reads
from pipeline.stage import (
    Context,
    Inputs,
    LabelCounts,
    Shard,
    ShardRef,
    ShardResult,
    Stage,
    Task,
    quarantined,
    shard_key,
)
from pipeline.store import Store
from schemas import TABLES
from stages.ddt.ddt import ClassMaps, Descriptors, project, transform
from stages.ddt.principal import SIGN_RULES
from stages.vision.backbones import tap_path, tapped
from stages.vision.batches import to_batch
from stages.vision.inference import PRECISIONS, Classifier, ClassifierCache, autocast
from stages.vision.rows import IMAGE_COLUMNS, by_id, carried
from stages.vision.stream import ImageStream, Row

DEGENERATE = "degenerate_class"
NO_TRAINING_IMAGES = "no_training_images"


@dataclass(frozen=True)
class DdtParams:
    """Parameters of `ddt`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose descriptors are read")
    tap: str | None = option(None, "layer whose output is read; null: the backbone's default")
    input_size: int | None = option(None, "side of the network input, pixels; null: as the classifier was trained")
    sign: str = option("energy", "energy, max_abs_coef, max_abs_proj or skew", choices=SIGN_RULES)
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class Ddt(Stage):
    """Deep Descriptor Transforming, class by class."""

    kind = "ddt"
    version = 1
    Params = DdtParams
    outputs = ("score_maps", "components")
    per_image = True

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each class; it reads only the shards of images that hold the class."""
        (images,) = inputs["images"]
        holders: dict[str, list[ShardRef]] = {}
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for shard, ref in zip(images.shards, images.refs(), strict=True):
            for split, of_split in shard.labels.items():
                for name, count in of_split.items():
                    of_class = counts.setdefault(name, {}).setdefault(split, {name: 0})
                    of_class[name] += count
                    if ref not in holders.setdefault(name, [])[-1:]:
                        holders[name].append(ref)
        model = tuple(ref for up in inputs["model"] for ref in up.refs())
        return [self._shard(recipe, name, tuple(holders[name]), model, counts[name]) for name in sorted(holders)]

    def _shard(
        self, recipe: str, name: str, images: tuple[ShardRef, ...], model: tuple[ShardRef, ...], labels: LabelCounts
    ) -> Shard:
        refs, args = {"images": images, "model": model}, {"label_name": name}
        rows = sum(sum(of_split.values()) for of_split in labels.values())
        return Shard(key=shard_key(recipe, refs, args), inputs=refs, args=args, rows=rows, labels=labels)

    def worker(self, context: Context) -> "_DdtWorker":
        """Loads the network at its first shard."""
        return _DdtWorker(self.name, self.params, context)


class _DdtWorker:
    def __init__(self, stage: str, params: DdtParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._models = ClassifierCache(context.device)

    def __call__(self, task: Task) -> ShardResult:
        (done,), name = task.inputs["model"], task.shard.args["label_name"]
        model = self._models.get(done.key, lambda blob: self._context.blob(done, blob))
        rows = self._rows(task, name)
        size = self._params.input_size or model.card["input_size"]
        ahead, timed = self._params.decode_ahead, self._context.timed
        stream = ImageStream(self._context.read, size, self._params.batch_size, ahead, timed)
        descriptors, train = Descriptors(), []
        for batch, features in self._features(model, stream, [row for row in rows if row["split"] == "train"]):
            descriptors.append(features)
            train += batch
        fitted = transform(descriptors, self._params.sign) if train else None  # type: ignore[arg-type]
        mapped = list(zip(train, fitted.maps, strict=True)) if fitted else []
        for batch, features in self._features(model, stream, [row for row in rows if row["split"] != "train"]):
            mapped += zip(batch, _projected(features, fitted), strict=True)
        return ShardResult(
            {
                "score_maps": TABLES["score_maps"].from_rows(
                    [self._row(row, score_map, _flag(fitted), size, model) for row, score_map in mapped]
                ),
                "components": TABLES["components"].from_rows(
                    [_component_row(rows[0], fitted, descriptors, len(train))] if fitted else []
                ),
            },
            quarantine=[quarantined(self._stage, row, reason) for row, reason in stream.bad],
            rows_in=len(rows),
        )

    def _rows(self, task: Task, name: str) -> list[Row]:
        """The class's images, ordered by id, so that sharding does not change sums."""
        of_class = pc.field("label_name") == name
        parts = (self._context.table(done, "images", IMAGE_COLUMNS, of_class) for done in task.inputs["images"])
        return by_id([row for part in parts for row in part.to_pylist()])

    def _features(self, model: Classifier, stream: ImageStream, rows: list[Row]) -> Any:
        path = tap_path(model.card["backbone"], self._params.tap)
        for batch, pixels in stream.batches(rows):
            with (
                self._context.timed("forward"),
                torch.inference_mode(),
                autocast(self._context.device, self._params.precision),
                tapped(model.network, path) as tap,
            ):
                model.network.features(to_batch(pixels, self._context.device))
                features = tap.output
            yield batch, features  # outside: the statistics are not to be taken in mixed precision

    def _row(self, row: Row, score_map: np.ndarray, flag: str | None, size: int, model: Classifier) -> dict[str, Any]:
        return {
            **carried(row),
            "method": "ddt",
            "height": score_map.shape[0],
            "width": score_map.shape[1],
            "map": score_map.ravel().astype(np.float16),
            "flag": flag,
            "backbone": model.card["backbone"],
            "tap": self._params.tap or "default",
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }


def _projected(features: torch.Tensor, fitted: ClassMaps | None) -> np.ndarray:
    """Maps of images outside the training split, by the class's component; zeros where the class has none."""
    if fitted is None:
        return np.zeros((features.shape[0], *features.shape[2:]), np.float32)
    return project(features.half(), fitted.principal.mean, fitted.principal.component).cpu().numpy()


def _flag(fitted: ClassMaps | None) -> str | None:
    if fitted is None:
        return NO_TRAINING_IMAGES
    return DEGENERATE if fitted.principal.degenerate else None


def _component_row(row: Row, fitted: ClassMaps, descriptors: Descriptors, images: int) -> dict[str, Any]:
    principal, orientation = fitted.principal, fitted.orientation
    return {
        "label": row["label"],
        "label_name": row["label_name"],
        "mean": principal.mean,
        "component": principal.component,
        "eigenvalues": principal.eigenvalues,
        "residual": principal.residual,
        "sign_rule": orientation.rule,
        "sign_margin": orientation.margin,
        "sign_disagreement": orientation.disagreement,
        "positive_fraction": orientation.positive_fraction,
        "n_images": images,
        "n_descriptors": descriptors.moments.count,
        "flag": _flag(fitted),
    }
