"""Summary of table `duplicates` for the log and the report: counts of groups, and examples of suspicious ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["DuplicatePolicy", "KindOfGroups", "Member", "kinds_of_groups", "numbered", "said_of_groups"]

DuplicatePolicy = Literal["keep", "one_split", "drop"]
"""What is done with equal pictures: nothing; all go to one split; only one is used."""

_NAMED = {"exact": "equal pictures", "near": "pictures that look alike"}
_SHOWN, _MEMBERS = 2, 3


@dataclass(frozen=True)
class Member:
    """An image of a group. used_as: the split that it is used in; None: it is left out."""

    image_id: str
    split: str
    label_name: str
    used_as: str | None


@dataclass(frozen=True)
class KindOfGroups:
    """All groups of one kind, `exact` or `near`.

    across_splits, under_classes: number of groups with images of several splits, of several classes. of_several_splits,
    of_several_classes: the members of the first of these groups.
    """

    kind: str
    groups: int
    images: int
    across_splits: int
    under_classes: int
    of_several_splits: tuple[tuple[Member, ...], ...]
    of_several_classes: tuple[tuple[Member, ...], ...]

    @property
    def title(self) -> str:
        """The kind in words."""
        return _NAMED[self.kind]


def kinds_of_groups(rows: pa.Table, examples: int) -> list[KindOfGroups]:
    """The kinds that have groups. rows: of table `duplicates`. examples: number of suspicious groups to list."""
    found = [_kind(rows.filter(pc.equal(rows["kind"], kind)), kind, examples) for kind in _NAMED]
    return [each for each in found if each.groups]


def numbered(column: pa.ChunkedArray) -> np.ndarray:
    """Index of each value among the column's distinct values, in order of first appearance: (N,) int32."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices)


def said_of_groups(rows: pa.Table, policy: DuplicatePolicy) -> Iterator[str]:
    """Lines for the log: the groups of each kind, then what the policy does with their images."""
    kinds = kinds_of_groups(rows, _SHOWN)
    for each in kinds:
        odd = [
            _odd(each.across_splits, "across splits", each.of_several_splits, "split"),
            _odd(each.under_classes, "under several classes", each.of_several_classes, "label_name"),
        ]
        said = ", ".join(filter(None, odd)) or "each in one split and one class"
        yield f"{each.groups} group{'' if each.groups == 1 else 's'} of {each.title} ({each.images} images): {said}"
    if not kinds:
        yield "no two pictures are equal"
    if policy != "keep":
        yield f"{policy}: {_outcome(rows)}"


def _kind(rows: pa.Table, kind: str, examples: int) -> KindOfGroups:
    groups = numbered(rows["group"])
    splits, classes = (_of_several(groups, numbered(rows[name])) for name in ("split", "label_name"))
    shown = [tuple(_members(rows, groups == number) for number in odd[:examples]) for odd in (splits, classes)]
    return KindOfGroups(kind, int(groups.max(initial=-1)) + 1, len(groups), len(splits), len(classes), *shown)


def _of_several(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices of the groups that have several distinct values, ascending."""
    number = int(values.max(initial=0)) + 1
    pairs = np.unique(groups.astype(np.int64) * number + values)
    return np.flatnonzero(np.bincount(pairs // number) > 1)


def _members(rows: pa.Table, chosen: np.ndarray) -> tuple[Member, ...]:
    members = rows.filter(pa.array(chosen)).select(["image_id", "split", "label_name", "used_as"])
    return tuple(Member(**row) for row in members.to_pylist())


def _odd(number: int, words: str, examples: Sequence[Sequence[Member]], place: Literal["split", "label_name"]) -> str:
    if not number:
        return ""
    shown = [_said(group, place) for group in examples]
    return f"{number} {words} ({'; '.join(shown)}{'; ...' if number > len(examples) else ''})"


def _said(group: Sequence[Member], place: Literal["split", "label_name"]) -> str:
    """A few members of a group, the first of each split or class before others."""
    first = {getattr(each, place): number for number, each in reversed(list(enumerate(group)))}
    order = sorted(range(len(group)), key=lambda number: number != first[getattr(group[number], place)])
    chosen = [group[number] for number in order[:_MEMBERS]]
    more = ", ..." if len(group) > len(chosen) else ""
    return ", ".join(f"{each.image_id} in {getattr(each, place)}" for each in chosen) + more


def _outcome(rows: pa.Table) -> str:
    images = rows.group_by(["image_id", "split", "used_as"]).aggregate([])
    moved = images.filter(pc.not_equal(images["split"], images["used_as"])).num_rows
    left_out = images["used_as"].null_count
    said = [f"{left_out} images left out"] * bool(left_out) + [f"{moved} images used in another split"] * bool(moved)
    return ", ".join(said) or "nothing changes"
