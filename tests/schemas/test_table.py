import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas import TABLES, Column, SchemaError, TableSpec, check_version, validate

SPEC = TableSpec(
    "fruits",
    3,
    ("name",),
    (
        Column("name", pa.string(), "its name"),
        Column("weight", pa.int32(), "gram", check=lambda column: column.to_numpy(zero_copy_only=False) < 0),
        Column("colour", pa.string(), "its colour", nullable=True),
    ),
)
GOOD = [{"name": "fig", "weight": 40, "colour": None}, {"name": "plum", "weight": 60, "colour": "blue"}]


def test_a_good_table_passes():
    """Breaks when the validator refuses what its own spec made, an empty table included."""
    for table in (SPEC.from_rows(GOOD), SPEC.empty()):
        assert table.schema.equals(SPEC.schema, check_metadata=True)
        validate(table, SPEC)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*GOOD, {"name": "kiwi", "weight": -3}, {"name": "lime", "weight": -4}], ["weight", "-3", "row 2"]),
        ([*GOOD, {"name": None, "weight": 1}], ["name", "null", "row 2"]),
        ([*GOOD, {"name": "pear", "weight": 1}, {"name": "fig", "weight": 1}], ["name", "fig", "row 3"]),
    ],
)
def test_the_error_names_table_column_and_first_bad_row(rows, words):
    """Breaks when a bad value, a null or a repeated key is accepted, or reported without its place."""
    with pytest.raises(SchemaError) as caught:
        validate(SPEC.from_rows(rows), SPEC)
    assert all(word in str(caught.value) for word in ["fruits", *words]), caught.value


def test_the_first_bad_row_counts_over_chunks():
    """Breaks when the row number starts again at a chunk of the column."""
    late = pa.concat_tables([SPEC.from_rows(GOOD), SPEC.from_rows([{"name": "kiwi", "weight": -1}])])
    with pytest.raises(SchemaError, match="row 2"):
        validate(late, SPEC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["colour"]), ["colour", "missing"]),
        (lambda t: t.append_column("taste", pa.array(["a", "b"])), ["taste", "unknown"]),
        (lambda t: t.set_column(1, "weight", t.column("weight").cast(pa.int64())), ["weight", "int64", "int32"]),
    ],
)
def test_missing_unknown_and_mistyped_columns_are_refused(change, words):
    """Breaks when a table of another shape passes: the next room would meet it."""
    with pytest.raises(SchemaError) as caught:
        validate(change(SPEC.from_rows(GOOD)), SPEC)
    assert all(word in str(caught.value) for word in ["fruits", *words])


def test_older_versions_are_read_and_newer_ones_refused():
    """Breaks when a file of a newer program is read as if its columns still meant the same."""
    for version in (1, 2, 3):
        check_version(dataclasses.replace(SPEC, version=version).schema, SPEC)
    with pytest.raises(SchemaError, match=r"fruits.*version 4.*newest known: 3"):
        check_version(dataclasses.replace(SPEC, version=4).schema, SPEC)
    with pytest.raises(SchemaError, match="missing"):
        check_version(SPEC.schema.with_metadata({b"weakbox.table": b"fruits"}), SPEC)
    with pytest.raises(SchemaError, match="'images'"):
        check_version(TABLES["images"].schema, SPEC)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_of_every_table_is_documented(name):
    """Breaks when a column comes without words, or a key names a column that is not there."""
    spec = TABLES[name]
    assert spec.name == name
    assert spec.version >= 1
    assert len({column.name for column in spec.columns}) == len(spec.columns)
    assert set(spec.key) <= {column.name for column in spec.columns}
    for column in spec.columns:
        assert column.doc.strip(), f"{name}.{column.name} has no documentation"
        assert spec.schema.field(column.name).metadata[b"doc"] == column.doc.encode()


BOX = {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", "validation"),
        ("width", 0),
        ("label", -1),
        ("image_id", ""),
    ],
)
def test_impossible_values_of_the_images_table_are_refused(column, value):
    """Breaks when an unknown split, a size of nothing or an empty id gets past the commit of `ingest`."""
    row = {
        "image_id": "a", "uri": "/a", "width": 5, "height": 5, "label": 0, "label_name": "x", "split": "train",
        "content_hash": "0",
    }  # fmt: skip
    good = [{**row, "image_id": "b"}, {**row, "image_id": "c", "split": "dev"}, row]
    validate(TABLES["images"].from_rows(good), TABLES["images"])
    with pytest.raises(SchemaError, match=rf"images.*{column}.*row 3"):
        validate(TABLES["images"].from_rows([*good, {**row, "image_id": "d", column: value}]), TABLES["images"])


@pytest.mark.parametrize("boxes", [[BOX, {**BOX, "x1": 0.5}], [{**BOX, "y0": float("nan")}], [{**BOX, "x1": math.inf}]])
def test_impossible_boxes_of_the_truth_table_are_refused(boxes):
    """Breaks when a turned box, or one without an end, gets past the commit of `truth`."""
    row: dict[str, Any] = {
        "image_id": "a", "boxes": [BOX], "mask_uris": [], "mask_hashes": [], "ignore_uris": [], "ignore_hashes": [],
    }  # fmt: skip
    good = [{**row, "image_id": "b", "boxes": None}, {**row, "image_id": "c", "boxes": []}, row]
    validate(TABLES["truth"].from_rows(good), TABLES["truth"])
    with pytest.raises(SchemaError, match=r"truth.*boxes.*row 3"):
        validate(TABLES["truth"].from_rows([*good, {**row, "image_id": "d", "boxes": boxes}]), TABLES["truth"])


def test_half_precision_maps_keep_their_bits():
    """Breaks when score maps travel in another type: equal tables would not be bit-equal."""
    values = np.array([0.1, -2.5, 65504], np.float16)
    assert TABLES["score_maps"].schema.field("map").type == pa.list_(pa.float16())
    column = pa.array([values], pa.list_(pa.float16()))
    assert column.values.to_numpy(zero_copy_only=False).tobytes() == values.tobytes()
