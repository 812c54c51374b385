import random
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.files import Files
from pipeline.worker import parquet_rows
from pipeline.worker.compact_thrift import ThriftError, read_struct
from pipeline.worker.local_context import LocalContext
from pipeline.worker.parquet_rows import ParquetRows

DATASETS = {
    "compression": "none", "use_dictionary": False, "write_page_index": True, "data_page_size": 4096,
    "write_batch_size": 4,
}  # fmt: skip
"""How Hugging Face's `datasets` writes images, but for the sizes."""


FOOTER = 2**16
"""What pyarrow reads of each file's end."""


def write(path, values, kind=None, **more):
    """A table of images, a struct of bytes and path, beside labels."""
    names = pa.array([f"{i}.jpg" for i in range(len(values))])
    images = pa.StructArray.from_arrays([pa.array(values, kind or pa.binary()), names], ["bytes", "path"])
    pq.write_table(pa.table({"image": images, "label": list(range(len(values)))}), path, **more)
    return str(path)


def pictures(number, size, seed=0):
    chance = random.Random(seed)
    return [chance.randbytes(chance.randint(1, 2 * size)) for _ in range(number)]


def place(uri, row):
    return {"uri": uri, "offset": None, "length": None, "row": row}


@st.composite
def layouts(draw):
    """Values, and the options of a writer."""
    values = draw(st.lists(st.one_of(st.none(), st.binary(max_size=60)), min_size=1, max_size=40))
    options = {
        "compression": draw(st.sampled_from(["none", "snappy", "zstd"])),
        "use_dictionary": draw(st.booleans()),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        "write_page_index": draw(st.booleans()),
        "row_group_size": draw(st.integers(1, 40)),
        "data_page_size": draw(st.sampled_from([16, 200, 10_000])),
        "write_batch_size": draw(st.integers(1, 9)),
        "write_statistics": draw(st.booleans()),
    }
    kind = draw(st.sampled_from([pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())]))
    return values, kind, options, draw(st.permutations(range(len(values))))


@settings(max_examples=60)
@given(layouts())
def test_every_row_in_any_order_is_what_pyarrow_reads(tmp_path_factory, layout):
    """Breaks when an image is read from another row: of pages, levels, dictionaries, row groups, rows without value."""
    values, kind, options, order = layout
    path = write(tmp_path_factory.mktemp("rows") / "t.parquet", values, kind, **options)
    rows = ParquetRows()
    for row in [*order, *order]:
        if values[row] is None:
            with pytest.raises(ValueError, match=f"row {row} has no bytes in column image.bytes"):
                rows.read(path, "image.bytes", row)
        else:
            assert rows.read(path, "image.bytes", row) == values[row]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(3), pa.dictionary(pa.int8(), pa.binary())])
@pytest.mark.parametrize("nullable", [True, False])
def test_columns_of_bytes_without_a_struct(tmp_path, kind, nullable):
    """Breaks when plain columns, or those that cannot be null, are read as structs are."""
    schema = pa.schema([pa.field("image", kind, nullable)])
    pq.write_table(pa.table([pa.array([b"abc", b"def"], kind)], schema), tmp_path / "t.parquet", **DATASETS)
    assert ParquetRows().read(str(tmp_path / "t.parquet"), "image", 1) == b"def"


def test_a_struct_that_is_null_has_no_bytes(tmp_path):
    """Breaks when the bytes below a missing struct are taken, or the rows behind it shift."""
    table = pa.table({"image": [{"bytes": b"a"}, None, {"bytes": None}, {"bytes": b"d"}]})
    for name, options in {"plain": DATASETS, "packed": {}}.items():
        pq.write_table(table, tmp_path / name, **options)
        rows = ParquetRows()
        assert rows.read(str(tmp_path / name), "image.bytes", 0) == b"a"
        assert rows.read(str(tmp_path / name), "image.bytes", 3) == b"d"
        for row in (1, 2):
            with pytest.raises(ValueError, match="has no bytes"):
                rows.read(str(tmp_path / name), "image.bytes", row)


def remote(tmp_path, name, values, **options):
    path = write(tmp_path / name, values, **options)
    with open(path, "rb") as file:
        Files("memory://parquet").put(name, file.read())
    return f"memory://parquet/{name}"


def test_plain_images_cost_their_own_bytes(tmp_path, fetched, monkeypatch):
    """Breaks when a row costs its row group: in the file's order at first, in any order once pages were seen."""
    values = pictures(400, 5_000)
    own = sum(map(len, values))
    uri = remote(tmp_path, "plain", values, row_group_size=150, **{**DATASETS, "data_page_size": 50_000})
    rows = ParquetRows()
    assert [rows.read(uri, "image.bytes", row) for row in range(400)] == values
    assert sum(length for _, length in fetched) < 1.03 * own + FOOTER
    monkeypatch.setattr(parquet_rows, "_PAGES", 1)
    rows = ParquetRows()
    for row in range(400):
        rows.read(uri, "image.bytes", row)
    fetched.clear()
    order = random.Random(0).sample(range(400), 400)
    assert [rows.read(uri, "image.bytes", row) for row in order] == [values[row] for row in order]
    assert sum(length for _, length in fetched) < 1.02 * own


def test_packed_images_in_the_order_of_the_file_cost_their_own_bytes(tmp_path, fetched):
    """Breaks when threads that read nearly in order start a row group anew."""
    values = pictures(300, 5_000)
    uri = remote(tmp_path, "packed", values, compression="zstd", use_dictionary=False, row_group_size=100)
    rows = ParquetRows()
    nearly = sorted(range(300), key=lambda row: row + random.Random(row).randint(0, 16))
    assert [rows.read(uri, "image.bytes", row) for row in nearly] == [values[row] for row in nearly]
    assert sum(length for _, length in fetched) < 1.1 * sum(map(len, values)) + FOOTER


def test_a_large_row_group_is_not_held_in_memory(tmp_path, monkeypatch):
    """Breaks when a worker holds the row groups of 100 MB and more that exports have."""
    monkeypatch.setattr(parquet_rows, "_WINDOW", 2**20)
    monkeypatch.setattr(parquet_rows, "_BATCH", 2**18)
    monkeypatch.setattr(parquet_rows, "_BUFFER", 2**18)
    values = pictures(400, 50_000)
    options = {"compression": "snappy", "use_dictionary": False, "data_page_size": 2**18, "write_batch_size": 4}
    path = write(tmp_path / "t.parquet", values, **options)
    rows, before, most = ParquetRows(), pa.total_allocated_bytes(), 0
    for row, value in enumerate(values):
        assert rows.read(path, "image.bytes", row) == value
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 4 * 2**20 < sum(map(len, values)) / 4
    assert rows.read(path, "image.bytes", 0) == values[0]


def test_threads_share_it(tmp_path):
    """Breaks when two threads' reads of one file, or of several, mix."""
    values = {name: pictures(120, 2_000, seed) for seed, name in enumerate(("plain", "packed", "other"))}
    paths = {
        name: write(tmp_path / name, own, row_group_size=50, **(DATASETS if name == "plain" else {}))
        for name, own in values.items()
    }
    rows = ParquetRows()
    asked = [(name, row) for name in paths for row in range(120)] * 3
    random.Random(0).shuffle(asked)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda each: rows.read(paths[each[0]], "image.bytes", each[1]), asked)
        assert all(data == values[name][row] for data, (name, row) in zip(found, asked, strict=True))


@pytest.mark.parametrize("options", [DATASETS, {"compression": "zstd"}], ids=["plain", "packed"])
def test_damage_is_an_error_of_the_image_whatever_byte_it_is_at(tmp_path, options):
    """Breaks when a damaged table ends the run, as a storage error does after five attempts, or hangs, or crashes."""
    write(tmp_path / "t", pictures(20, 60), row_group_size=10, **options)
    whole = (tmp_path / "t").read_bytes()
    chance, start, refused = random.Random(0), time.monotonic(), 0
    for number in range(150):
        bad = bytearray(whole)
        at = chance.randrange(len(bad)) if number % 2 else len(bad) - 1 - chance.randrange(900)
        bad[at] ^= 1 << chance.randrange(8)
        path = tmp_path / f"bad{number}"
        path.write_bytes(bad if number % 5 else bad[:at])
        rows = ParquetRows()
        for row in range(20):
            try:
                assert isinstance(rows.read(str(path), "image.bytes", row), bytes)
            except ValueError:
                refused += 1
    assert refused > 300
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "damaged, or no Parquet"), (b"PAR1" + b"x" * 99, "no Parquet"), (b"text", "no Parquet")]
)
def test_what_is_no_parquet_is_said(tmp_path, data, words):
    """Breaks when another file by the name of a table is a storage error, which ends the run."""
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        ParquetRows().read(str(tmp_path / "t"), "image.bytes", 0)


def test_a_row_or_column_that_is_not_there(tmp_path):
    """Breaks when a row of a table that became shorter is another row."""
    path = write(tmp_path / "t", [b"a", b"b"])
    for row in (2, -1, 2**40):
        with pytest.raises(ValueError, match=f"there is no row {row}: the file has 2"):
            ParquetRows().read(path, "image.bytes", row)
    with pytest.raises(ValueError, match="there is no column picture"):
        ParquetRows().read(path, "picture", 0)
    with pytest.raises(ValueError, match="row 0 has no bytes in column label"):
        ParquetRows().read(path, "label", 0)


def test_errors_of_the_storage_stay_errors_of_the_storage(tmp_path, monkeypatch):
    """Breaks when images of a storage that does not answer are quarantined as damaged."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(FileNotFoundError):
        ParquetRows().read(str(tmp_path / "none"), "image.bytes", 0)

    def fail(*args, **more):
        raise OSError("no answer")

    for name, options in {"plain": DATASETS, "packed": {}}.items():
        uri = remote(tmp_path, f"fails-{name}", pictures(20, 100), row_group_size=10, **options)
        rows = ParquetRows()
        rows.read(uri, "image.bytes", 0)
        with monkeypatch.context() as patch:
            patch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
            with pytest.raises(OSError, match="no answer"):
                ParquetRows().read(uri, "image.bytes", 0)
            with pytest.raises(OSError, match="no answer"):
                rows.read(uri, "image.bytes", 19)


def test_a_context_reads_rows_below_the_root_and_of_a_root_that_is_a_table(store, tmp_path):
    """Breaks when a table named by `dataset://`, with a # in its name, or the root itself is not found."""
    path = write(tmp_path / "a#b.parquet", [b"a", b"b"])
    folder, alone = LocalContext(store, roots={"ingest": str(tmp_path)}), LocalContext(store, roots={"ingest": path})
    assert folder.read_image(place("dataset://ingest/a#b.parquet#image.bytes", 1)) == b"b"
    assert alone.read_image(place("dataset://ingest/#image.bytes", 0)) == b"a"


@pytest.mark.parametrize(
    "data", [b"", b"\x15", b"\x19\xfc\xff\xff\xff\xff\x0f", b"\x1c" * 100, b"\x18\xff\xff\xff\x7f", b"\x1d"]
)
def test_no_thrift_is_refused_before_memory_is_taken(data):
    """Breaks when a hostile footer makes lists, texts or recursion without end."""
    with pytest.raises(ThriftError):
        read_struct(data)
