"""Reader `wsol`: metadata of the standard evaluator (clovaai/wsolevaluation) with boxes, beside folders of images.

    root/metadata/ILSVRC/{train,val,test}/{image_ids,class_labels,localization}.txt
    root/dataset/ILSVRC/{train,val,val2}/...      or root/ILSVRC/..., or root/...

An image id is the metadata's own. Its train (train-weaksup), val (train-fullsup) and test become the splits of these
names: thresholds may be chosen on val.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.ingest.reader import Reader
from stages.ingest.readers.wsol_layout import Folders, Located, MetadataParams, locate, recognise
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Found, Scan

__all__ = ["WsolParams", "WsolReader"]


@dataclass(frozen=True)
class WsolParams(MetadataParams):
    """Parameters of reader `wsol`."""


class WsolReader(Reader[WsolParams]):
    """Images, classes, splits and boxes that metadata of the standard evaluator (clovaai/wsolevaluation) lists."""

    name = "wsol"
    Params = WsolParams

    def scan(self) -> Scan:
        """List the images that the metadata names; an absent file is listed as the trouble of its image.

        Raises: UsageError for a missing root or metadata, a bad line, or no image at all.
        """
        folders = Folders(self.params.root)
        located = locate(self.params, "boxes", folders)
        found = list(_found(located))
        unnamed = folders.unnamed({image.uri for image in found}, located.metadata.folder)
        return Scan.of(found, [*located.left_out, *unnamed])

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """metadata/<data set>/{train,val,test} that lists boxes of images that are there."""
        return recognise(tree, "boxes")


def _found(located: Located) -> Iterator[Found]:
    for split, images, folder in located.splits:
        for image in images:
            file, name = folder.file(image.image_id), located.names[image.label]
            yield Found(image.image_id, file.path, file.stamp, name, split, image.boxes, trouble=file.trouble)
