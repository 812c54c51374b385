"""Somebody else's package: a reader of `root/<class> photos/*`, and a stage that takes each image for the object."""

from dataclasses import dataclass

from pipeline.base.params import reads
from pipeline.contract.stage import Stage, one_to_one
from pipeline.store.records import ShardResult
from schemas import TABLES
from stages.ingest.listing import list_files
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.scan import Found, Scan


class PhotosReader(Reader[ReaderParams]):
    """Folders that are called `<class> photos`."""

    name, Params = "photos", ReaderParams

    def scan(self):
        files = list_files(self.params.root)
        return Scan.of([Found(f.path, f.uri, f.stamp, f.path.split(" photos/")[0], "train") for f in files])


@dataclass(frozen=True)
class WholeParams:
    images: str = reads("images", "ingest", "the images")


class Whole(Stage[WholeParams]):
    """The whole image as its box."""

    kind, version, Params, outputs, per_image = "whole", 1, WholeParams, ("predictions",), True

    def plan(self, recipe, inputs):
        return one_to_one(recipe, inputs["images"][0], "images", extra={})

    def worker(self, context):
        def work(task):
            rows = context.table(task.inputs["images"][0], "images").to_pylist()
            return ShardResult({"predictions": TABLES["predictions"].from_rows([self._row(row) for row in rows])})

        return work

    def _row(self, image):
        height, width = image["height"], image["width"]
        box = {"x0": 0.0, "y0": 0.0, "x1": width, "y1": height, "score": 1.0}
        same = {name: image[name] for name in ("image_id", "label", "split")}
        return {
            **same,
            "method": "whole",
            "source": self.name,
            "image_height": height,
            "image_width": width,
            "boxes": [box],
        }
