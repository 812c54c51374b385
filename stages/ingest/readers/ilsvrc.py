"""Reader `ilsvrc`: ImageNet's ILSVRC 2012 as it is published, unpacked, or as Kaggle packs it.

    train/<wnid>/*.JPEG                       also below ILSVRC/Data/CLS-LOC (Kaggle), or ILSVRC2012_img_train
    val/ILSVRC2012_val_00000001.JPEG          or val/<wnid>/*.JPEG
    LOC_val_solution.csv                      classes and boxes of val: this table,
    Annotations/val/ILSVRC2012_val_*.xml      or these files wherever they lie,
    ILSVRC2012_devkit_t12/data/*              or the devkit, which has no boxes

Image ids are paths below the root. A class is a wnid, its label the index among the sorted wnids. Corners in the files
are inclusive pixels from 0. Test images have no classes and are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import left_out, may_be_image
from stages.ingest.listing import list_files, walk_files
from stages.ingest.packed import Packed
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.ilsvrc_files import (
    VAL,
    WNID,
    IlsvrcFiles,
    Image,
    annotation_of,
    images_below,
    join,
    split_of,
)
from stages.ingest.readers.ilsvrc_truth import Labelling, read_truth
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Scan, is_dev
from stages.ingest.tally import Tally

__all__ = ["IlsvrcParams", "IlsvrcReader"]

_CLASSES_OF_VAL = "LOC_val_solution.csv, Annotations/val/*.xml or the devkit's ground truth"


@dataclass(frozen=True)
class IlsvrcParams(ReaderParams):
    """Parameters of reader `ilsvrc`."""

    annotations: str | None = option(
        None,
        "folder or URI below which annotations, LOC_*_solution.csv or the devkit lie, if not below the root",
        by_content=True,
    )
    train_boxes: Literal["dev", "all", "none"] = option(
        "dev",
        "training images whose boxes are read at each plan: dev: those of split dev, to choose thresholds; all (half a"
        " million files, unless there is LOC_train_solution.csv); none",
        by_content=True,
    )


class IlsvrcReader(Reader[IlsvrcParams]):
    """ILSVRC as it is published, or as Kaggle packs it."""

    name = "ilsvrc"
    Params = IlsvrcParams

    def scan(self) -> Scan:
        """List an ILSVRC.

        Raises:
            UsageError: a missing root, no images, no source for the classes of val, a bad table or annotation.
        """
        params, files, tally = self.params, IlsvrcFiles(), Tally()
        images = Packed.of(files.images(walk_files(params.root)), Image)
        for file in list_files(params.annotations) if params.annotations else ():
            files.annotates(file)
        self._refuse_empty_classes(files)
        labelling = Labelling(read_truth(files, self._wanted(images), tally), tally)
        rows = Packed.of(labelling.rows(images), labelling.found)
        for path in filter(may_be_image, files.others):
            tally.add("images outside of train/<wnid> and val", path)
        said = [*tally.lines(), *left_out(path for path in files.others if not may_be_image(path))]
        self._refuse_nothing(files, labelling, said)
        return Scan(rows, sorted(labelling.classes), said)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Kaggle's folders, a flat val with ILSVRC's names, or class folders with annotations of such names."""
        below = images_below(tree)
        if below is None:
            return None
        base, names = below
        folders = [join(base, name) for name in names]
        flat = next((path for path in folders if any(name.startswith(VAL) for name in tree.files(path))), None)
        sorted_out = any(WNID.fullmatch(name) for path in folders for name in tree.folders(path)[:1])
        if flat is None and not sorted_out:
            return None
        annotation = annotation_of(tree, base, val=flat is not None)
        if flat is not None:
            missing = "" if annotation else f"the classes of val ({_CLASSES_OF_VAL})"
            return Match(f"{flat}/{VAL}*, {annotation}" if annotation else f"{flat}/{VAL}*", missing=missing)
        why = annotation or base
        return Match(f"class folders named as synsets, and {why}") if why else None

    def _wanted(self, images: Iterable[Image]) -> dict[str, bool]:
        """Image name -> whether a class is needed, for images whose annotations are read: all of val, some of train."""
        train_boxes, fraction = self.params.train_boxes, self.params.dev_fraction
        wanted = {}
        for image in images:
            if image.split == "train":
                if image.wnid and (train_boxes == "all" or (train_boxes == "dev" and is_dev(image.path, fraction))):
                    wanted[image.name] = False
            elif image.wnid or image.split == "val":
                wanted[image.name] = not image.wnid
        return wanted

    def _refuse_empty_classes(self, files: IlsvrcFiles) -> None:
        """Refuse an empty class folder: an archive that was unpacked in part would shift all labels."""
        tree = Tree(self.params.root)
        base, names = images_below(tree) or ("", [])
        for name in names:
            for wnid in filter(WNID.fullmatch, tree.folders(join(base, name))):
                if (split_of(name), wnid) not in files.folders:
                    raise UsageError(f"dataset: class folder {join(base, name)}/{wnid} has no images")

    def _refuse_nothing(self, files: IlsvrcFiles, labelling: Labelling, said: Sequence[str]) -> None:
        root = f"dataset: root {self.params.root}"
        if ("val", "") in files.folders and "val" not in labelling.splits:
            raise UsageError(f"{root}: nothing says the classes of val ({_CLASSES_OF_VAL} would): {'; '.join(said)}")
        if not labelling.classes:
            raise UsageError(f"{root}: there are no train/<wnid>/*.JPEG and no val/*.JPEG: {'; '.join(said)}")
