"""Stage `import`: score maps or boxes of another program -> rows like those of our own stages."""

import logging
from collections.abc import Mapping
from functools import cached_property

from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker
from pipeline.store.files import Files, open_filesystem, retrying
from pipeline.store.records import Done, Inputs, Shard, Upstream, shard_key
from pipeline.store.store import Store
from schemas.types import SPLITS, TRIVIAL
from stages.bases.splits import check_any_split
from stages.importing.options import ImportParams
from stages.vision.image_rows import is_of_predicted

_LOG = logging.getLogger("weakbox.import")

_STAMPS = ("size", "ETag", "etag", "LastModified", "mtime")
"""Fields of a file system's `info` that change when a file is written."""


class Import(Stage[ImportParams]):
    """Score maps or boxes that another program made of the same images.

    Maps are kept as they are, in float32; refinements, `sweep` and `boxes` take them. Boxes are pseudo labels, which
    `psol`, `evaluate` and `export` take. An image without a map is quarantined; one without a box has an empty
    list of boxes.
    """

    kind = "import"
    version = 1
    Params = ImportParams
    per_image = True
    by_content = True

    def __init__(self, name: str, params: ImportParams) -> None:
        super().__init__(name, params)
        self.outputs = ("score_maps",) if params.boxes is None else ("pseudo_labels",)

    def files(self) -> Mapping[str, str]:
        """The files or folders that are imported."""
        named = {"maps": self.params.maps, "boxes": self.params.boxes}
        return {name: place for name, place in named.items() if place is not None}

    def check(self) -> None:
        """Refuse both or neither of maps and boxes, a frame with boxes, and a reserved name as method."""
        super().check()
        params, said = self.params, f"stage {self.name}: "
        if len(self.files()) != 1:
            raise UsageError(f"{said}give either maps (a folder, or Parquet) or boxes (CSV, Parquet or COCO JSON)")
        if params.boxes is not None and params.frame != "as_is":
            raise UsageError(f"{said}frame applies to maps alone: leave it out")
        method = self.method
        if not method.isidentifier() or method in TRIVIAL or is_of_predicted(method):
            raise UsageError(
                f"{said}method {method!r} is no name of letters, digits and _, or has a meaning of its own"
            )

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a path where nothing is, and a file that cannot be read."""
        from stages.importing.worker import open_boxes, open_maps

        (place,) = self.files().values()
        if not self._stamp:
            raise UsageError(f"stage {self.name}: there is nothing at {place}")
        try:
            open_maps(place) if self.params.boxes is None else open_boxes(place)
        except (ValueError, OSError) as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def check_data(self, inputs: Inputs) -> None:
        """Refuse splits without images."""
        if self.params.splits is not None:
            check_any_split(self.name, self.params.splits, inputs["images"][0])

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of images that holds one of the splits; computed again when a file changes."""
        (images,) = inputs["images"]
        wanted = self.params.splits or SPLITS
        return [
            self._shard(recipe, images, number, {split: counts for split, counts in of.items() if split in wanted})
            for number, of in enumerate(shard.labels for shard in images.shards)
            if any(split in wanted for split in of)
        ]

    def worker(self, context: Context) -> Worker:
        """Reads the imported files."""
        from stages.importing.worker import ImportWorker

        return ImportWorker(self.name, self.method, self.params, context)

    def tell(self, store: Store, done: Mapping[str, Done]) -> None:
        """Log how many images have boxes. Raises UsageError if no id in the file is that of an image."""
        if self.params.boxes is None:
            return
        from stages.importing.worker import open_boxes

        named = {image_id for image_id, found in open_boxes(self.params.boxes).images.items() if len(found.boxes)}
        tables = [store.table(shard, "pseudo_labels", ("image_id",)) for shard in done.values()]
        images = {image_id for table in tables for image_id in table.column("image_id").to_pylist()}
        said = f"{self.name}: {len(named & images)} of {len(images)} images have a box in {self.params.boxes}"
        if unknown := sorted(named - images):
            said += f"; {len(unknown)} ids in it are of none of these images, such as {unknown[0]!r}"
        if images and named and not named & images:
            raise UsageError(f"stage {said}; an image is {min(images)!r}")
        _LOG.info(said)

    @property
    def method(self) -> str:
        """The method that is named in the rows."""
        return self.params.method or self.name

    def _shard(self, recipe: str, images: Upstream, number: int, labels: Mapping[str, Mapping[str, int]]) -> Shard:
        refs, args = {"images": (images.refs()[number],)}, {"files": self._stamp}
        rows = sum(sum(counts.values()) for counts in labels.values())
        return Shard(shard_key(recipe, refs, args), refs, args, rows=rows, labels=labels)

    @cached_property
    def _stamp(self) -> str:
        """A fingerprint of the imported path and of the stamps of its files; empty where there are none.

        It includes the path because different files may have the same size and time. It is empty on a machine that
        cannot see the files.
        """
        (place,) = self.files().values()
        filesystem, path = self.checked(lambda: open_filesystem(place))
        try:
            info = retrying(lambda: filesystem.info(path))
        except FileNotFoundError:
            return ""
        if info["type"] == "file":
            return fingerprint([path, *(str(info[stamp]) for stamp in _STAMPS if stamp in info)])
        found = Files(place).listing("")
        return fingerprint([path, *([file.path, file.bytes, file.modified] for file in found)]) if found else ""
