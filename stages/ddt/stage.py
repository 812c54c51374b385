"""Stage `ddt`: all images of a class -> its component and their score maps. A shard is a class; one pass an image."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from pipeline.errors import StageFailed, UsageError
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
from stages.ddt.ddt import NOT_FINITE, ClassMaps, Descriptors, Projection, intersection, transform
from stages.ddt.principal import SIGN_RULES
from stages.vision.backbones import backbone, tap_path, tapped
from stages.vision.batches import to_batch
from stages.vision.inference import INFERENCE_PRECISIONS, Classifier, ClassifierCache, autocast, precision_ingredients
from stages.vision.rows import IMAGE_COLUMNS, by_id, carried
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream, Row
from stages.vision.transfer import HostCopy, one_behind

DEGENERATE = "degenerate_class"
NO_TRAINING_IMAGES = "no_training_images"


@dataclass(frozen=True)
class DdtParams:
    """Parameters of `ddt`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose descriptors are read")
    tap: str | None = option(None, "layer whose output is read; null: the backbone's default")
    second_tap: str | None = option(None, "DDT+: another layer; a map is positive where the maps of both are")
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the classifier was trained", at_least=1
    )
    sign: str = option("energy", "energy, max_abs_coef, max_abs_proj or skew", choices=SIGN_RULES)
    precision: str = option(
        "float32", "float32, bfloat16, float16 (autocast), or auto, see docs/backbones.md", choices=INFERENCE_PRECISIONS
    )
    batch_size: int = option(32, "images in one forward pass", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)
    memory: int = option(
        2000,
        "MB of a class's descriptors in memory; the rest goes to the scratch folder",
        resource=True,
        at_least=0,
    )


class Ddt(Stage):
    """Deep Descriptor Transforming, class by class."""

    kind = "ddt"
    version = 2
    Params = DdtParams
    outputs = ("score_maps", "components")
    per_image = True

    def ingredients(self) -> Mapping[str, Any]:
        """Which backbones `auto` takes for bfloat16."""
        return precision_ingredients(self.params.precision)

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
        stream = ImageStream(
            self._context.read, size, self._params.batch_size, self._params.decode_ahead, self._context.timed
        )
        taps = self._taps(model)
        with _full_scratch_in_words(self._stage, self._context.scratch):
            train, fitted = self._fit(model, stream, taps, [row for row in rows if row["split"] == "train"])
        mapped = list(zip(train, _combined([layer.maps for layer in fitted], fitted), strict=True)) if fitted else []
        others = stream.batches([row for row in rows if row["split"] != "train"])
        principals = [layer.principal for layer in fitted]
        projections = [Projection(each.mean, each.component, self._context.device) for each in principals]
        for batch, maps in one_behind(others, partial(self._project, model, taps, projections)):
            with self._context.timed("forward"):
                waited = [copy.wait().numpy() for copy in maps]
            if not all(np.isfinite(of_layer).all() for of_layer in waited):
                raise ValueError(NOT_FINITE)
            mapped += zip(batch, _combined(waited, fitted), strict=True)
        flag = _flag(fitted)
        tables = {
            "score_maps": [self._row(row, score_map, flag, size, taps, model) for row, score_map in mapped],
            "components": [_component_row(rows[0], *layer, len(train)) for layer in zip(taps, fitted, strict=False)],
        }
        return ShardResult(
            {table: TABLES[table].from_rows(found) for table, found in tables.items()},
            quarantine=[quarantined(self._stage, row, reason) for row, reason in stream.bad],
            rows_in=len(rows),
        )

    def _rows(self, task: Task, name: str) -> list[Row]:
        """The class's images, ordered by id, so that sharding does not change sums."""
        of_class = pc.field("label_name") == name
        parts = (self._context.table(done, "images", IMAGE_COLUMNS, of_class) for done in task.inputs["images"])
        return by_id([row for part in parts for row in part.to_pylist()])

    def _taps(self, model: Classifier) -> list[str]:
        """Names of the layers that are read. Raises UsageError for one that the network does not have, or two equal."""
        name = model.card["backbone"]
        taps = [self._params.tap or backbone(name).default_tap, *filter(None, [self._params.second_tap])]
        try:
            for tap in taps:
                tap_path(name, tap)
        except ValueError as error:
            raise UsageError(f"stage {self._stage}: {error}") from error
        if len(set(taps)) < len(taps):
            raise UsageError(f"stage {self._stage}: second_tap is {taps[0]}, as the first one")
        return taps

    def _fit(
        self, model: Classifier, stream: ImageStream, taps: list[str], rows: list[Row]
    ) -> tuple[list[Row], list[ClassMaps]]:
        """DDT of every layer on the training images; their rows, and nothing where there is no readable image."""
        budget = self._params.memory * 10**6 // len(taps)
        layers = [Descriptors(budget, self._context.scratch) for _ in taps]
        train: list[Row] = []
        for batch, pixels in stream.batches(rows):
            features = self._features(model, pixels, taps)
            with self._context.timed("forward"):  # not in mixed precision: these are sums
                for layer, read in zip(layers, features, strict=True):
                    layer.append(read)
            train += batch
        if not train:
            return [], []
        with self._context.timed("post"):
            return train, [transform(layer, self._params.sign) for layer in layers]  # type: ignore[arg-type]

    def _project(
        self, model: Classifier, taps: list[str], projections: list[Projection], batch: tuple[list[Row], np.ndarray]
    ) -> tuple[list[Row], list[HostCopy]]:
        """Maps of images outside the training split, by the class's components; zeros where the class has none."""
        rows, pixels = batch
        features = self._features(model, pixels, taps)
        with self._context.timed("forward"):
            if not projections:
                return rows, [HostCopy(torch.zeros_like(read[:, 0], dtype=torch.float32)) for read in features]
            pairs = zip(projections, features, strict=True)
            return rows, [HostCopy(projection.of(read.half())) for projection, read in pairs]

    def _features(self, model: Classifier, pixels: np.ndarray, taps: list[str]) -> list[torch.Tensor]:
        """One forward pass; what the layers put out, each ``(B, d, h, w)``."""
        name = model.card["backbone"]
        with (
            ExitStack() as stack,
            self._context.timed("forward"),
            torch.inference_mode(),
            autocast(self._context.device, self._params.precision, name),
        ):
            read = [stack.enter_context(tapped(model.network, tap_path(name, tap))) for tap in taps]
            model.network.features(to_batch(pixels, self._context.device))
            return [tap.output for tap in read]

    def _row(
        self, row: Row, score_map: np.ndarray, flag: str | None, size: int, taps: list[str], model: Classifier
    ) -> dict[str, Any]:
        return {
            **carried(row),
            "method": "ddt",
            "height": score_map.shape[0],
            "width": score_map.shape[1],
            "map": to_half(score_map).ravel(),
            "flag": flag,
            "backbone": model.card["backbone"],
            "tap": "+".join(taps),
            "input_size": size,
            "weights_hash": model.card["weights_hash"],
            "seed": model.card["seed"],
        }


@contextmanager
def _full_scratch_in_words(stage: str, folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        said = f"stage {stage}: no space left for descriptors in {folder}: raise memory, or point TMPDIR elsewhere"
        raise StageFailed(said) from error


def _combined(maps: list[np.ndarray], fitted: list[ClassMaps]) -> np.ndarray:
    """The maps of one layer as they are, those of two intersected."""
    if len(maps) == 1:
        return maps[0]
    deviations = [float(np.sqrt(layer.principal.eigenvalues[0])) for layer in fitted] or [0.0, 0.0]
    return intersection(maps[0], maps[1], (deviations[0], deviations[1]))


def _flag(fitted: list[ClassMaps]) -> str | None:
    if not fitted:
        return NO_TRAINING_IMAGES
    return DEGENERATE if any(layer.principal.degenerate for layer in fitted) else None


def _component_row(row: Row, tap: str, fitted: ClassMaps, images: int) -> dict[str, Any]:
    principal, orientation = fitted.principal, fitted.orientation
    first, second = principal.eigenvalues
    return {
        "label": row["label"],
        "tap": tap,
        "label_name": row["label_name"],
        "mean": principal.mean,
        "component": principal.component,
        "eigenvalues": principal.eigenvalues,
        "eigenvalue_ratio": float(first / second) if second > 0 else None,
        "residual": principal.residual,
        "sign_rule": orientation.rule,
        "sign_margin": orientation.margin,
        "sign_disagreement": orientation.disagreement,
        "positive_fraction": orientation.positive_fraction,
        "n_images": images,
        "n_descriptors": fitted.maps.size,
        "flag": _flag([fitted]),
    }
