"""Reader `webdataset`: tar shards of samples, read by range and never unpacked.

    root/train-000000.tar         or root/train/000000.tar, or the root is one shard
        n01440764/10026.jpg       an image; its key is the name up to the first dot of the last part
        n01440764/10026.cls       its class: a number or a name
        n01440764/10026.json      or {"label": ..., "boxes": [[x0, y0, x1, y1], ...]}: half-open pixels

Splits are those in the names of shards or their folders; without such names all images are train. An image id is the
shard's path and the name in it, ``train-000000.tar/n01440764/10026.jpg``, because keys often start anew in each shard.
So a new shard changes no id, and an image that moves to another shard gets another id.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import option
from pipeline.store.paths import has_control
from stages.formats.file_names import left_out
from stages.ingest.listing import ListedFile, list_files
from stages.ingest.parsing import parse_json
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.row_annotations import LABELS, corner_boxes, label_text
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Box, Found, Scan
from stages.ingest.split_names import splits_of
from stages.ingest.tar_index import TarMember, tar_members

__all__ = ["WebdatasetParams", "WebdatasetReader"]

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "avif", "jp2", "heic")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
"""Key and extension, as the package `webdataset` splits names."""
_META = re.compile(r"(^|/)__[^/]*__($|/)")
"""Members that `webdataset` skips."""
_READ_AT_ONCE = 16
_LOOKED_AT = 8


@dataclass(frozen=True)
class WebdatasetParams(ReaderParams):
    """Parameters of reader `webdataset`."""

    image: str | None = option(None, "extension of the images in the shards; null: that of a key's only image",
                               by_content=True)  # fmt: skip
    label: str | None = option(
        None, "extension of the class files, or key in .json; null: cls, else label, class or cls in .json",
        by_content=True,
    )  # fmt: skip
    names: tuple[str, ...] = option((), "class names by index, where classes are numbers", by_content=True)


@dataclass
class _Shard:
    """The content of one shard. boxes of an image: None where its sample has no `boxes`."""

    images: list[tuple[TarMember, str, list[Box] | None]] = field(default_factory=list)
    unlabelled: int = 0
    without_image: int = 0
    others: list[str] = field(default_factory=list)


class WebdatasetReader(Reader[WebdatasetParams]):
    """Tar shards in the layout of the package webdataset."""

    name = "webdataset"
    Params = WebdatasetParams

    def scan(self) -> Scan:
        """List the images that have a class.

        Raises:
            UsageError: a missing root, no shard, a shard that is compressed, cut off or damaged, a name twice, a bad
                class or box, no image with a class; the line names the shard and the record.
        """
        files = list_files(self.params.root)
        shards = [file for file in files if file.path.endswith(".tar")]
        _refuse_packed(self.params.root, files, shards)
        splits = splits_of([file.path for file in shards])
        alone = Tree(self.params.root).is_file
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            read = list(pool.map(self._shard, shards))
        boxed = any(boxes is not None for shard in read for _, _, boxes in shard.images)
        found = [
            _found(file, "" if alone else file.path, image, splits[file.path], boxed)
            for file, shard in zip(shards, read, strict=True)
            for image in shard.images
        ]
        if not found:
            raise UsageError(
                f"dataset: root {self.params.root}: no image in {len(shards)} shards has a class (.cls, .json)"
            )
        return Scan.of(found, _left_out(read, files, shards))

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Tar files whose first members are images and class files, without folders of images beside them."""
        path = _first_shard(tree)
        if path is None or path.endswith(_PACKED):
            compressed = "shards that are not compressed: images in them are read by range"
            return None if path is None else Match(path, missing=compressed)
        uri = tree.root if tree.is_file else f"{tree.root.rstrip('/')}/{path}"
        try:
            members = list(islice(tar_members(ListedFile(path, uri, ""), lambda name: False), _LOOKED_AT))
        except UsageError as error:
            return Match(path, missing=f"a shard that can be read ({error})")
        endings = {_split(member.name)[1].rpartition(".")[2] for member in members}
        if not endings.intersection(_IMAGES):
            return None
        if not endings & {"cls", "json"}:
            return Match(path, missing=f"a .cls or .json beside each image in {path}")
        return Match(f"{path} with images and {'.cls' if 'cls' in endings else '.json'}")

    def _shard(self, file: ListedFile) -> _Shard:
        """Index a shard. Raises UsageError."""
        labels = {"cls", "json", self.params.label}
        samples: dict[str, dict[str, TarMember]] = {}
        shard = _Shard()
        for member in tar_members(file, lambda name: _split(name)[1] in labels):
            key, ending = _split(member.name)
            if key is None or _META.search(member.name):
                shard.others.append("without a key")
                continue
            sample = samples.setdefault(key, {})
            if ending in sample:
                raise UsageError(f"dataset: {file.path}: {member.name!r}: there twice")
            sample[ending] = member
        for key, sample in samples.items():
            self._take(shard, sample, f"dataset: {file.path}: {key!r}")
        return shard

    def _take(self, shard: _Shard, sample: dict[str, TarMember], where: str) -> None:
        """Add the image of a sample, or count why there is none. Raises UsageError."""
        ending = self._image(list(sample), where)
        said = _json(sample["json"], where) if "json" in sample else {}
        label = self._label(sample, said, where)
        used = {ending, "cls", "json", self.params.label}
        shard.others += [f".{other}" for other in sample if other not in used]
        if ending is None:
            shard.without_image += 1
        elif label is None:
            shard.unlabelled += 1
        else:
            boxes = corner_boxes(said["boxes"], where) if "boxes" in said else None
            shard.images.append((sample[ending], label, boxes))

    def _image(self, endings: Sequence[str], where: str) -> str | None:
        """The extension of the image of a sample. Raises UsageError if there are several images."""
        if self.params.image is not None:
            return self.params.image if self.params.image in endings else None
        images = [ending for ending in endings if ending.rpartition(".")[2] in _IMAGES]
        plain = [ending for ending in images if "." not in ending] or images
        if len(plain) > 1:
            raise UsageError(f"{where}: has several images ({', '.join(sorted(plain))}): set `image` to one")
        return plain[0] if plain else None

    def _label(self, sample: dict[str, TarMember], said: dict[str, Json], where: str) -> str | None:
        own = sample.get(self.params.label or "cls")
        if own is not None:
            return _class_text(own, self.params.names, where)
        keys = LABELS if self.params.label is None else (self.params.label,)
        return label_text(next((said[key] for key in keys if key in said), None), self.params.names, where)


def _split(name: str) -> tuple[str | None, str]:
    """Key, None where there is none, and extension in lower case."""
    match = _KEY.fullmatch(name)
    return (match[1], match[2].lower()) if match else (None, "")


def _class_text(member: TarMember, names: Sequence[str], where: str) -> str | None:
    try:
        text = (member.body or b"").decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: its class is no UTF-8 text") from error
    return label_text(text, names, where)


def _json(member: TarMember, where: str) -> dict[str, Json]:
    said = parse_json(member.body or b"", where)
    if not isinstance(said, dict):
        raise UsageError(f"{where}: an object was expected in its JSON, not {said!r:.40}")
    return said


def _found(
    file: ListedFile, uri: str, image: tuple[TarMember, str, list[Box] | None], split: str, boxed: bool
) -> Found:
    member, label, boxes = image
    name = posixpath.normpath(member.name.lstrip("/"))
    if name.startswith("../"):
        raise UsageError(f"dataset: {file.path}: {member.name!r} climbs out")
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    odd = shown != name or "\\" in name or has_control(name)
    return Found(
        image_id=f"{file.path}/{shown}",
        uri=uri,
        stamp=file.stamp,
        label_name=label,
        split=split,
        boxes=(boxes or ()) if boxed else None,
        offset=member.offset,
        length=member.length,
        trouble="its name has a character that no name may have" if odd else None,
    )


def _left_out(read: Sequence[_Shard], files: Sequence[ListedFile], shards: Sequence[ListedFile]) -> list[str]:
    unlabelled, lonely = sum(shard.unlabelled for shard in read), sum(shard.without_image for shard in read)
    said = [f"{unlabelled} images without a class (.cls, or a label in .json)"] if unlabelled else []
    said += [f"{lonely} keys without an image"] if lonely else []
    others = Counter(ending for shard in read for ending in shard.others)
    shown = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
    said += [f"{others.total()} members that are neither images nor classes ({shown})"] if others else []
    taken = {file.path for file in shards}
    return said + left_out(file.path for file in files if file.path not in taken)


def _refuse_packed(root: str, files: Sequence[ListedFile], shards: Sequence[ListedFile]) -> None:
    for file in files:
        if file.path.endswith(_PACKED):
            raise UsageError(f"dataset: {file.path}: compressed: images in it cannot be read by range; decompress it")
    if not shards:
        raise UsageError(f"dataset: root {root}: there are no shards (.tar)")


def _first_shard(tree: Tree) -> str | None:
    """The path of a tar, compressed or not, in the root or its folders; None where these folders hold images."""
    if tree.is_file:
        return tree.root.rpartition("/")[2] if tree.root.endswith(".tar") else None
    folders = tree.folders()[:_LOOKED_AT]
    found = [f"{folder}/{name}".lstrip("/") for folder in ("", *folders) for name in tree.files(folder)]
    shards = [path for path in found if path.endswith(".tar")] or [path for path in found if path.endswith(_PACKED)]
    return shards[0] if shards and not _has_images(tree, folders) else None


def _has_images(tree: Tree, folders: Sequence[str]) -> bool:
    """Whether folders or their subfolders hold images: then tars beside them are not the data set."""
    below = [f"{folder}/{name}" for folder in folders for name in tree.folders(folder)[:_LOOKED_AT]]
    return any(name.lower().endswith(_IMAGES) for folder in (*folders, *below) for name in tree.files(folder))
