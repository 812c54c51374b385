"""Choosing the columns of images, classes, splits and boxes in a table, by options or by Hugging Face's features."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import option
from stages.ingest.multi_label import MultiLabel
from stages.ingest.reader import ReaderParams
from stages.ingest.readers.row_annotations import (
    LABELS,
    Rules,
    boxes_of_objects,
    class_of_objects,
    corner_boxes,
    label_text,
    object_boxes,
)
from stages.ingest.scan import Box

if TYPE_CHECKING:
    import pyarrow as pa

Features = Mapping[str, Json]
"""Column -> its feature as Hugging Face's `datasets` describes it."""


@dataclass(frozen=True)
class TableParams(ReaderParams):
    """Parameters of readers whose images or annotations are in tables."""

    image: str | None = option(None, "column of the images; null: the only such column", by_content=True)
    label: str | None = option(
        None, "column of classes: texts or integers; null: the one of type ClassLabel, else label, class or cls",
        by_content=True,
    )  # fmt: skip
    split: str | None = option(
        None, "column of splits; null: `split` if it is there, else the names of files and folders", by_content=True
    )
    boxes: str | None = option(
        None, "column of lists of boxes x0, y0, x1, y1, half-open pixels; null: `boxes` if it is there", by_content=True
    )
    objects: str | None = option(
        None, "column of objects with bbox [x, y, width, height] and category; null: `objects` if it is there",
        by_content=True,
    )  # fmt: skip
    names: tuple[str, ...] = option((), "class names by index, where classes are integers", by_content=True)
    multi_label: MultiLabel = option(
        "skip",
        "images without a class of their own whose objects have several categories: left out, or given the category"
        " with the largest total box area",
        by_content=True,
    )
    empty_boxes: Literal["refuse", "skip"] = option(
        "refuse", "objects whose box has no area: an error, or left out", by_content=True
    )


class Columns(NamedTuple):
    """The columns of annotations; None for those that are absent.

    names: class names for integers in `label`. categories: class names for integers in the categories of `objects`.
    """

    label: str | None
    split: str | None
    boxes: str | None
    objects: str | None
    names: Sequence[str] = ()
    categories: Sequence[str] = ()

    @property
    def used(self) -> list[str]:
        """The columns that are present."""
        return [name for name in (self.label, self.split, self.boxes, self.objects) if name is not None]


class ImageColumn(NamedTuple):
    """The column of images. data, path: dotted name of the column or field with bytes, with paths; None: absent."""

    column: str
    data: str | None
    path: str | None


Annotated = tuple[str, list[Box] | None] | Literal["none", "several"]
"""Class and boxes of an image; or "none": it has no class, "several": its objects have several."""


def columns_of(present: Sequence[str], features: Features, params: TableParams, where: str) -> Columns:
    """Choose the columns among those that are present. where: what the error starts with.

    Raises: UsageError for an absent column that an option names, and for an ambiguous choice.
    """
    label = _label(present, features, params, where)
    split = _named(params.split, "split", present, where)
    boxes = _named(params.boxes, "boxes", present, where)
    objects = _named(params.objects, "objects", present, where)
    names = params.names or _names(features.get(label or ""))
    categories = _names(features.get(objects or "")) or (params.names if label is None else ())
    return Columns(label, split, boxes, objects, names, categories)


def annotated(row: Mapping[str, Json], columns: Columns, params: TableParams, where: str) -> Annotated:
    """The annotation in a row. row: values by column. Raises UsageError."""
    rules = Rules(columns.categories, params.multi_label, params.empty_boxes == "skip")
    objects = object_boxes(row.get(columns.objects), rules, where) if columns.objects else []
    if columns.label is None:
        return class_of_objects(objects, rules, where)
    label = label_text(row.get(columns.label), columns.names, where)
    if label is None:
        return "none"
    if columns.boxes:
        return label, corner_boxes(row.get(columns.boxes), where)
    return label, boxes_of_objects(objects) if columns.objects else None


def features_of(schema: "pa.Schema") -> Features:
    """The features that `datasets` wrote into a file's metadata; empty where there are none, or no valid JSON."""
    said = (schema.metadata or {}).get(b"huggingface")
    try:
        info: Json = json.loads(said) if said else {}
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        info = info.get(key, {}) if isinstance(info, Mapping) else {}
    return info if isinstance(info, Mapping) else {}


def image_column(schema: "pa.Schema", features: Features, asked: str | None, where: str) -> ImageColumn:
    """The column of images: a struct of bytes and path, or bytes.

    Raises: UsageError for no such column, an ambiguous choice, or a column of another type.
    """
    images = [name for name, kind in features.items() if _type(kind) == "Image" and name in schema.names]
    able = images or [field.name for field in schema if _image(field) is not None]
    if asked is not None:
        able = [asked] if asked in schema.names else []
    if len(able) > 1 and "image" in able:
        able = ["image"]
    if len(able) != 1:
        what = f"columns {', '.join(able[:5])} may hold images: set `image` to one" if able else _none(schema, asked)
        raise UsageError(f"{where}: {what}")
    found = _image(schema.field(able[0]))
    if found is None or "#" in able[0] or "." in able[0]:
        raise UsageError(f"{where}: column {able[0]!r} ({schema.field(able[0]).type}) holds no images")
    return found


def _none(schema: "pa.Schema", asked: str | None) -> str:
    what = "no column of images" if asked is None else f"no column {asked!r}"
    return f"there is {what} among {', '.join(schema.names[:8])}"


def _image(field: "pa.Field") -> ImageColumn | None:
    import pyarrow as pa

    kind = field.type
    if _is_bytes(kind):
        return ImageColumn(field.name, field.name, None)
    if not pa.types.is_struct(kind):
        return None
    inner = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    data = f"{field.name}.bytes" if _is_bytes(inner.get("bytes")) else None
    path = f"{field.name}.path" if "path" in inner else None
    return ImageColumn(field.name, data, path) if data or (path and set(inner) <= {"bytes", "path"}) else None


def _is_bytes(kind: "pa.DataType | None") -> bool:
    import pyarrow as pa

    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind is not None and (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _label(present: Sequence[str], features: Features, params: TableParams, where: str) -> str | None:
    if params.label is not None:
        return _named(params.label, "", present, where)
    classes = [name for name, kind in features.items() if _type(kind) == "ClassLabel" and name in present]
    if len(classes) > 1 and "label" not in classes:
        raise UsageError(f"{where}: columns {', '.join(classes[:5])} hold classes: set `label` to one")
    if len(classes) == 1:
        return classes[0]
    return next((name for name in LABELS if name in present), None)


def _named(asked: str | None, usual: str, present: Sequence[str], where: str) -> str | None:
    if asked is not None and asked not in present:
        raise UsageError(f"{where}: there is no column {asked!r} among {', '.join(present[:8])}")
    return asked or (usual if usual in present else None)


def _type(kind: Json) -> Json:
    return kind.get("_type") if isinstance(kind, Mapping) else None


def _names(kind: Json) -> Sequence[str]:
    """The names of the first ClassLabel in a feature, which may be nested."""
    return next(_class_names(kind, 0), ())


def _class_names(kind: Json, depth: int) -> Iterator[Sequence[str]]:
    inner = kind.values() if isinstance(kind, Mapping) else kind if isinstance(kind, list) else ()
    if isinstance(kind, Mapping) and kind.get("_type") == "ClassLabel":
        names = kind.get("names")
        yield [str(name) for name in names] if isinstance(names, list) else ()
    elif depth < 8:
        for each in inner:
            yield from _class_names(each, depth + 1)
