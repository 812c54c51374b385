"""Stage `classify`: images -> a classifier, trained from scratch or from given weights."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.contract.context import TrainContext
from pipeline.contract.stage import TrainStage, whole
from pipeline.store.files import open_filesystem, retrying
from pipeline.store.layout import upload_sha256
from pipeline.store.records import Inputs, Shard, ShardResult, Task, Upstream, shard_key
from stages.bases.declared_classes import DECLARED, classes_of, declared_list
from stages.bases.drops import check_drops
from stages.bases.planned_network import PlannedNetwork, planned_network, try_network
from stages.bases.splits import check_trained, class_names
from stages.classify.options import ClassifyParams
from stages.classify.parameters import check_classes, check_feature_memory
from stages.classify.shown import shown, weights_card
from stages.vision.backbones.registry import backbone, input_size
from stages.vision.backbones.weight_names import LITE0, PACKAGE, SCRATCH, TIMM, is_file

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork

_TAGS = ("ETag", "etag", "md5Hash", "checksum", "contentMd5", "content_md5", "Content-MD5", "Digest", "crc32c")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")
"""What file systems call a digest of the content and, where they have none, the time of the last write."""


class Classify(TrainStage[ClassifyParams]):
    """Cross-entropy training of any network of the table."""

    kind = "classify"
    version = 4
    Params = ClassifyParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse an unknown network, and two origins of the weights."""
        super().check()
        self.checked(lambda: self.params.network)
        check_drops(self.name, self.params.drops)
        if self.params.weights_card is not None and self.params.weights.startswith(PACKAGE):
            raise UsageError(
                f"stage {self.name}: weights of a package say themselves how images are prepared: leave"
                " weights_card out"
            )
        if self.params.start is not None and self.params.weights != SCRATCH:
            raise UsageError(f"stage {self.name}: start and weights exclude each other: leave one of them out")
        self._check_train()

    def _check_train(self) -> None:
        """Refuse to train a part of the network in 0 epochs, and to both fit and keep the head."""
        train = self.params.train
        if train != "all" and not self.params.epochs:
            raise UsageError(
                f"stage {self.name}: epochs: 0 trains nothing and train: {train} does: leave one of them out"
            )
        if train == "head" and self.params.keep_head:
            raise UsageError(
                f"stage {self.name}: train: head fits a new head and keep_head keeps one: leave one of them out"
            )

    def check_packages(self) -> None:
        """Refuse a network or weights of a package that is absent, and names unknown to timm. Raises UsageError."""
        from stages.classify.starting_weights import check_installed

        self.checked(partial(input_size, self.params.network))
        self.checked(partial(check_installed, self.params.network, self.params.weights))

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a network that cannot be built, and weights or a start that do not fit below the classifier layer."""
        planned = PlannedNetwork(self.params.network, self.params.input_size, is_plain=True)
        starts = [network for model in inputs["start"] if (network := planned_network(model))]
        start = starts[0].backbone if starts else None
        try_network(self, planned, partial(self._check_network, keep_head=False, start=start), also=start)

    def check_data(self, inputs: Inputs) -> None:
        """Refuse images of which none is of split train, a kept head of other classes, a head that cannot be fitted."""
        (images,) = inputs["images"]
        planned = PlannedNetwork(self.params.network, self.params.input_size, is_plain=True)
        if self.params.epochs:
            check_trained(self.name, images)
        if self.params.keep_head and self.params.weights != SCRATCH:
            classes = sorted(classes_of(declared_list(images)) or class_names(images))
            demand = partial(self._check_network, keep_head=True, start=None, classes=classes)
            try_network(self, planned, demand, num_classes=len(classes), also=["head", *classes])
        if self.params.train == "head" and (trained := _trained(images)):
            self.checked(partial(check_classes, list(trained)))
            number = trained.total()
            try_network(self, planned, partial(_check_features, images=number), also=["features", number])

    def _check_network(
        self, network: "LocalizerNetwork", keep_head: bool, start: str | None, classes: Sequence[str] = ()
    ) -> None:
        from stages.classify.starting_weights import check_start, check_weights

        if start is not None:
            check_start(network, start, f"of {self.params.start!r}")
        elif self.params.weights != SCRATCH:
            check_weights(network, self.params.weights, keep_head, classes)

    def files(self) -> Mapping[str, str]:
        """The weights, where they are a file, and the card that says how their images were prepared."""
        weights = {"weights": self.params.weights} if is_file(self.params.weights) else {}
        card = weights_card(self.params)
        return weights if card is None else {**weights, "weights_card": card}

    def ingredients(self) -> Mapping[str, Json]:
        """The content of a weights file, its preprocessing, and the version of the network of this name."""
        file = _content_of(self.params.weights) if is_file(self.params.weights) else None
        version = backbone(self.params.backbone).version
        return {
            **({"weights_file": file} if file is not None else {}),
            **({"network": version} if version > 1 else {}),
            **self._shown(),
        }

    def _shown(self) -> dict[str, Json]:
        """The preprocessing of a weights file; published weights imply it by name, and planning needs no library.

        Raises: UsageError for an unusable card.
        """
        params = self.params
        if params.start is not None or not (is_file(params.weights) or params.weights == LITE0):
            return {}
        if params.backbone.startswith(TIMM) and weights_card(params) is None:
            return {}  # timm knows it, as for its published weights
        found = self.checked(partial(shown, params))
        said: dict[str, Json] = {"preprocessing": found.preprocessing.said()}
        return said if found.input_size is None else {**said, "input_size": found.input_size}

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One training; under `refit: never` its key does not depend on the images."""
        (shard,) = whole(recipe, inputs)
        said = {DECLARED: declared_list(inputs["images"][0])}
        if self.params.refit == "never":
            return [Shard(key=shard_key(recipe, {}, {"refit": "never"}), inputs=shard.inputs, payload=said)]
        return [replace(shard, payload=said)]

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for weights or data that do not fit."""
        from stages.classify.trainer import ClassifyTrainer

        return ClassifyTrainer(self.name, self.params).fit(task, context)


def _trained(images: Upstream) -> Counter[str]:
    """The number of training images by class, from the listing; empty where the listing does not say."""
    counts: Counter[str] = Counter()
    for shard in images.shards:
        counts.update(shard.labels.get("train", {}))
    return counts


def _check_features(network: "LocalizerNetwork", images: int) -> None:
    check_feature_memory(images, network.classifier.in_features)


def _content_of(source: str) -> Json:
    """SHA-256 of a local or submitted file; size and tag of any other, which is not fetched; None for a missing one."""
    if sha256 := upload_sha256(source):
        return sha256
    filesystem, path = open_filesystem(source)
    if isinstance(filesystem, LocalFileSystem):
        if not os.path.isfile(path):
            return None
        stat = os.stat(path)
        return _sha256(path, stat.st_size, stat.st_mtime_ns)
    try:
        info = retrying(lambda: filesystem.info(path))
    except FileNotFoundError:
        return None
    tag = next((str(info[name]) for name in (*_TAGS, *_TIMES) if info.get(name) is not None), None)
    if tag is None:
        raise UsageError(f"weights {source}: the storage tells neither a digest nor a time of writing; copy them first")
    return {"bytes": info["size"], "tag": tag}


@lru_cache(maxsize=16)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    """SHA-256 of a local file, read once a command unless its size or time of writing changes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
