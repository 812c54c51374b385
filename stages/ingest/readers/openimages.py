"""Reader `openimages`: the 100 classes of OpenImages that the standard evaluator scores by masks (OpenImages30k).

    root/metadata/OpenImages/{train,val,test}/{image_ids,class_labels,localization}.txt
    root/dataset/OpenImages/test/01226z/7af766bd43da900b.jpg
    root/dataset/OpenImages/test/01226z/7af766bd43da900b_m01226z_6554d965.png     one instance
    root/dataset/OpenImages/test/01226z/7af766bd43da900b_ignore.png               not scored

The images may also be in OpenImages/... below the root, or in train/..., val/..., test/... themselves. Training images
have no masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.ingest.listing import ListedFile
from stages.ingest.reader import Reader
from stages.ingest.readers.wsol_layout import Folder, Folders, MetadataParams, SplitImages, locate, recognise
from stages.ingest.readers.wsol_metadata import Named
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Found, Mask, Scan

__all__ = ["OpenimagesParams", "OpenimagesReader"]


@dataclass(frozen=True)
class OpenimagesParams(MetadataParams):
    """Parameters of reader `openimages`."""

    masks: str | None = option(
        None,
        "folder that names of masks are relative to: a path below the root, an absolute path or a URI; null: that of"
        " the images",
        by_content=True,
    )


class OpenimagesReader(Reader[OpenimagesParams]):
    """OpenImages30k: images of 100 classes, masks of their instances and regions that are not scored."""

    name = "openimages"
    Params = OpenimagesParams

    def scan(self) -> Scan:
        """List the images that the metadata names; an absent file or mask is listed as the trouble of its image.

        Masks of a split are left out if none of them exists.

        Raises: UsageError for a missing root or metadata, a bad line, no image at all, or no mask in the folder that
        `masks` names.
        """
        folders = Folders(self.params.root)
        located = locate(self.params, "masks", folders)
        found, left_out = [], [*located.left_out]
        for part in located.splits:
            masks = part.folder if self.params.masks is None else folders.named(self.params.masks)
            masked = any(masks.get(name) for image in part.images for name in image.masks.instances)
            if not masked and any(image.masks.instances for image in part.images):
                left_out.append(self._without_masks(part))
            found += [_found(image, part, masks if masked else None, located.names) for image in part.images]
        named = {path for image in found for path in (image.uri, *_paths(image))}
        return Scan.of(found, [*left_out, *folders.unnamed(named, located.metadata.folder)])

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """metadata/<data set>/{train,val,test} that lists masks of images that are there."""
        return recognise(tree, "masks")

    def _without_masks(self, part: SplitImages) -> str:
        """In words: a split has no mask file. Raises UsageError if the config names the folder of masks."""
        count = sum(len(image.masks.instances) for image in part.images)
        words = f"masks of split {part.split}: none of {count} is there"
        if self.params.masks is not None:
            raise UsageError(f"dataset: masks {self.params.masks!r}: {words}")
        return words


def _found(image: Named, part: SplitImages, masks: Folder | None, names: dict[int, str]) -> Found:
    file = part.folder.file(image.image_id)
    own, ignore = image.masks
    instances = [masks.file(name) for name in own] if masks else []
    ignores = [masks.file(ignore)] if masks and ignore else []
    trouble = _trouble([*instances, *ignores])
    found = Found(
        image_id=image.image_id,
        uri=file.path,
        stamp=file.stamp,
        label_name=names[image.label],
        split=part.split,
        trouble=file.trouble or trouble,
    )
    return found if trouble else found._replace(masks=_masks(instances), ignores=_masks(ignores))


def _masks(files: Sequence[ListedFile]) -> tuple[Mask, ...]:
    return tuple(Mask(file.path, file.stamp) for file in files)


def _trouble(masks: Sequence[ListedFile]) -> str | None:
    """What is wrong with the first mask that cannot be read; then none of the image's masks is listed."""
    return next((f"mask {mask.path}: {mask.trouble}" for mask in masks if mask.trouble), None)


def _paths(image: Found) -> list[str]:
    return [mask.uri for mask in (*image.masks, *image.ignores)]
