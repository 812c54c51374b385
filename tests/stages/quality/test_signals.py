"""What is said of each box: agreement of boxes and masks, and ranks within a class."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import TABLES
from stages.quality.candidates import COLUMNS, candidates
from stages.quality.mask_pairs import COLUMNS as MASK_COLUMNS
from stages.quality.mask_pairs import mask_pairs
from stages.quality.signals import SIGNALS, agreements, ranks, signals_of
from stages.vision.boxes import iou
from stages.vision.masks import encode, iou_of_unions

RANDOM = np.random.default_rng(0)


def boxes(number: int, images: int) -> np.ndarray:
    corners = np.sort(RANDOM.uniform(0, 50, (number, images, 2, 2)), axis=2)
    return corners.reshape(number, images, 4)


def labels_of(found: dict[str, list[float] | None], **more: object) -> pa.Table:
    """Pseudo labels of a source: image id -> corners and score of its one box; None: no box."""
    shared = {"label": 0, "split": "val", "method": "m", "source": "s", "image_height": 40, "image_width": 80}
    rows = []
    for image_id, box in found.items():
        own = [] if box is None else [dict(zip(("x0", "y0", "x1", "y1", "score"), box, strict=True))]
        rows.append({**shared, "image_id": image_id, "boxes": own, "components": 1, **more})
    return TABLES["pseudo_labels"].from_rows(rows).select(list(COLUMNS))


def test_agreement_is_the_iou_of_each_two_sources():
    """Breaks when pairs are of the wrong images or sources; oracle: the library of box algebra, pair by pair."""
    found = boxes(3, 20)
    found[1, 4] = np.nan
    pairs = agreements(found)
    for one in range(3):
        for other in range(3):
            for image in range(20):
                expected = iou(found[one, image], found[other, image]).item()
                if image == 4 and 1 in (one, other):
                    assert np.isnan(pairs[one, other, image])
                else:
                    assert pairs[one, other, image] == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_rank_is_the_share_of_the_others_of_its_class_that_are_below(rows):
    """Breaks when ties, classes of one image or other classes are counted wrongly; oracle: counting."""
    values, labels = np.array(rows, float).T[0], np.array(rows).T[1]
    found = ranks(values, labels)
    for place, (value, label) in enumerate(rows):
        others = [own for number, (own, of) in enumerate(rows) if of == label and number != place]
        below = sum(own < value for own in others) + sum(own == value for own in others) / 2
        assert found[place] == pytest.approx(below / len(others) if others else 0.5)


def test_what_is_not_known_has_no_rank_and_lowers_nobodys():
    """Breaks when NaN is sorted among the numbers."""
    found = ranks(np.array([1.0, np.nan, 2.0]), np.zeros(3, int))
    assert found[0] == 0
    assert np.isnan(found[1])
    assert found[2] == 1


def test_sources_are_joined_by_image_and_label():
    """Breaks when a missing image shifts the others, or a source without a box counts as one."""
    tables = {
        "a": labels_of({"x": [0, 0, 80, 40, 1], "y": [1, 1, 9, 9, 0.5]}),
        "b": labels_of({"z": [2, 2, 4, 90, 0.25], "x": None}, flag="f"),
    }
    found = candidates(tables)
    assert found.images.column("image_id").to_pylist() == ["x", "y", "z"]
    assert found.found["a"].boxes[:2].tolist() == [[0, 0, 80, 40], [1, 1, 9, 9]]
    assert np.isnan(found.found["a"].boxes[2]).all()
    assert np.isnan(found.found["b"].boxes[:2]).all()
    assert found.found["b"].boxes[2].tolist() == [2, 2, 4, 40], "not cut to the image"
    assert found.flags["b"].to_pylist() == ["f", None, "f"]


def test_an_image_twice_with_a_label_is_refused():
    """Breaks when one of two rows is silently taken."""
    twice = pa.concat_tables([labels_of({"x": None})] * 2)
    with pytest.raises(ValueError, match="b has an image twice with the same label"):
        candidates({"a": labels_of({"x": None}), "b": twice})


def test_signals_of_a_known_box():
    """Breaks when a column changes its meaning."""
    found = candidates({"a": labels_of({"x": [0, 0, 40, 40, 0.5]}, area_fraction=0.25)})
    pairs = agreements(found.found["a"].boxes[None])
    said = signals_of(0, found.found["a"], pairs, pairs, found.sizes, found.labels, np.array([0.75]))
    assert tuple(said) == SIGNALS
    known = {name: own[0] for name, own in said.items() if not np.isnan(own[0])}
    assert known == {
        "score": 0.5,
        "score_rank": 0.5,
        "border": 0.75,
        "area": 0.5,
        "area_rank": 0.5,
        "aspect": 0.0,
        "fill": 0.5,
        "components": 1.0,
        "confidence": 0.75,
    }


def test_masks_are_compared_whatever_the_order_of_shards():
    """Breaks when masks of different images are compared, or a shard that comes late is forgotten; oracle: pixels."""
    ids = [f"i{number}" for number in range(9)]
    pixels = RANDOM.random((2, len(ids), 2, 6, 7)) < 0.4

    def shards(source: int, order: list[int], size: int) -> list[pa.Table]:
        spec = TABLES["pseudo_labels"].schema
        schema = pa.schema([spec.field(name) for name in MASK_COLUMNS])
        rows = [{"image_id": ids[n], "label": 0, "masks": [encode(mask) for mask in pixels[source, n]]} for n in order]
        return [pa.Table.from_pylist(rows[at : at + size], schema) for at in range(0, len(rows), size)]

    images = pa.table({"image_id": ids, "label": [0] * len(ids)})
    found = mask_pairs(images, [iter(shards(0, list(range(9)), 2)), iter(shards(1, [8, 3, 0, 1, 2, 7, 5, 4], 3))])
    one, other = pixels[0].any(axis=1), pixels[1].any(axis=1)
    expected = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
    assert found[0, 1, :6] == pytest.approx(expected[:6])
    assert np.isnan(found[0, 1, 6]), "the second source has no such image"
    assert found[0, 1, 7:] == pytest.approx(expected[7:])
    assert (found[1, 0][~np.isnan(found[1, 0])] == found[0, 1][~np.isnan(found[0, 1])]).all()


def test_masks_of_two_sizes_have_no_iou():
    """Breaks when masks of another frame are compared as if they were of this one."""
    with pytest.raises(ValueError, match="masks of one size"):
        iou_of_unions([encode(np.ones((2, 3), bool))], [encode(np.ones((3, 2), bool))])
