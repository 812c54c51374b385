"""From the rows of images that may be equal or alike to the rows of table `duplicates`."""

import pyarrow as pa
import pyarrow.compute as pc

from stages.bases.duplicate_groups import DuplicatePolicy, numbered
from stages.duplicates.equal import together
from stages.duplicates.policy import HELD_OUT_FIRST, LEFT_OUT, kept_alone, one_split

__all__ = ["IMAGE_COLUMNS", "duplicate_rows"]

IMAGE_COLUMNS = ("image_id", "split", "label_name", "content_hash")
"""Columns of the images table that are read."""


_ORDER = ("kind", "group", "image_id")


def duplicate_rows(images: pa.Table, policy: DuplicatePolicy) -> pa.Table:
    """The groups of images that are equal (same content) or near (same `alike`, but not all of one content).

    images: `IMAGE_COLUMNS`, and `alike`, int64: the same number for pictures that look alike; null for all others.
    Returns: columns of table `duplicates`, in the order of kind, group and image id. An image can be in one group of
    each kind; the near group, which contains the exact one, then decides what becomes of it.
    """
    exact = together(images, "content_hash")
    near = _of_several_contents(together(_by_content(images), "alike"))
    also_near = pc.is_in(exact["image_id"], value_set=near["image_id"].combine_chunks())
    deciding = pa.concat_tables([near, exact.filter(pc.invert(also_near))])
    deciding = deciding.sort_by([("group", "ascending"), ("image_id", "ascending")])
    ids, used = deciding["image_id"].combine_chunks(), _used(deciding, policy)
    of_kind = [
        rows.append_column("kind", pa.array([kind] * len(rows), pa.string())).append_column(
            "used_as", used.take(pc.index_in(rows["image_id"], value_set=ids))
        )
        for kind, rows in (("exact", exact), ("near", near))
    ]
    return pa.concat_tables(of_kind).drop_columns(["alike"]).sort_by([(name, "ascending") for name in _ORDER])


def _used(rows: pa.Table, policy: DuplicatePolicy) -> pa.Array:
    """The split that each image is used in; null where it is left out."""
    splits = pa.array(HELD_OUT_FIRST)
    ranks = pc.index_in(rows["split"], value_set=splits).to_numpy()
    groups, classes = (numbered(rows[name]) for name in ("group", "label_name"))
    if policy == "one_split":
        ranks = one_split(groups, ranks)
    elif policy == "drop":
        ranks = kept_alone(groups, ranks, classes)
    return splits.take(pa.array(ranks, mask=ranks == LEFT_OUT))


def _by_content(images: pa.Table) -> pa.Table:
    """The images, with `alike` of any image copied to all images of the same content."""
    known = images.filter(pc.is_valid(images["alike"]))
    place = pc.index_in(images["content_hash"], value_set=known["content_hash"].combine_chunks())
    return images.set_column(images.schema.get_field_index("alike"), "alike", known["alike"].take(place))


def _of_several_contents(near: pa.Table) -> pa.Table:
    counts = near.group_by("group").aggregate([("content_hash", "count_distinct")])
    several = counts.filter(pc.greater(counts["content_hash_count_distinct"], 1))["group"].combine_chunks()
    return near.filter(pc.is_in(near["group"], value_set=several))
