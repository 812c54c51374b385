import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.hashing import fingerprint
from pipeline.store import layout
from pipeline.store.encoding import write_rows
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import DamagedError, Store
from stages.ingest import sharding
from stages.ingest.sharding import Part, RowList, load_lists, save_lists

NUMBERS = st.integers(0, 60).map(lambda number: number * (2**64 // 61))
ROWS = st.lists(NUMBERS, unique=True, max_size=30)
FOLDER = RecipeFolder("ingest", "0123456789abcdef")


def numbers(rows) -> np.ndarray:
    return np.array(rows, np.uint64)


def parts(recipe, rows, known, size) -> list[Part]:
    """The shards, each checked: its places are those of its rows."""
    found = sharding.assign(recipe, numbers(rows), known, size)
    for entry in found:
        assert entry.rows.numbers.tolist() == [rows[place] for place in entry.places]
    return found


def assign(recipe, rows, known, size) -> list[RowList]:
    return [entry.rows for entry in parts(recipe, rows, known, size)]


def of(recipe, rows) -> RowList:
    return RowList.of(recipe, numbers(rows))


def rows_of(lists) -> list[int]:
    return [row for entry in lists for row in entry.numbers.tolist()]


@given(ROWS, ROWS, st.integers(1, 7))
def test_every_row_is_in_exactly_one_shard(before, now, size):
    """Breaks when a row is lost or doubled while a data set changes."""
    known = assign("r", before, [], size)
    lists = assign("r", now, known, size)
    assert sorted(rows_of(lists)) == sorted(now)
    assert all(0 < len(entry.numbers) <= size for entry in lists)
    assert len({entry.key for entry in lists}) == len(lists)


@given(ROWS, ROWS, st.integers(1, 7), st.integers(1, 7))
def test_rows_never_move_when_others_are_added(before, added, size, other_size):
    """Breaks when growth, or another shard size, changes a shard that is done."""
    known = assign("r", before, [], size)
    grown = assign("r", [*added, *(row for row in before if row not in added)], known, other_size)
    assert grown[: len(known)] == known


@given(ROWS, st.sets(NUMBERS), st.integers(1, 7))
def test_a_row_that_goes_touches_its_own_shard_alone(before, removed, size):
    """Breaks when removing (or changing) images computes other shards again, or mixes what remains."""
    known = assign("r", before, [], size)
    lists = assign("r", [row for row in before if row not in removed], known, size)
    untouched = [entry for entry in known if not removed & set(entry.numbers.tolist())]
    assert lists[: len(untouched)] == untouched
    remains = [[row for row in e.numbers.tolist() if row not in removed] for e in known if e not in untouched]
    assert [entry.numbers.tolist() for entry in lists[len(untouched) :]] == [rows for rows in remains if rows]


@given(ROWS, st.sets(NUMBERS), st.integers(1, 7))
def test_rows_that_come_back_find_their_old_shard(before, removed, size):
    """Breaks when a folder that was away for a day is computed again."""
    first = assign("r", before, [], size)
    second = assign("r", [row for row in before if row not in removed], first, size)
    known = [*first, *(entry for entry in second if entry not in first)]
    assert assign("r", before, known, size) == first


@given(st.lists(ROWS, max_size=4), st.integers(1, 5))
def test_kept_lists_plan_the_same_again(states, size):
    """Breaks when a rerun without any change plans other shards than the run before."""
    store = Store(f"memory://{uuid.uuid4().hex}")
    for rows in states:
        lists = assign("r", rows, load_lists(store, FOLDER), size)
        save_lists(store, FOLDER, lists)
        assert assign("r", rows, load_lists(store, FOLDER), size) == lists


@given(st.data(), st.integers(1, 4))
def test_lists_that_were_kept_only_in_part_plan_the_same(data, size):
    """Breaks when a kill while the lists are being kept changes the shards."""
    rows = data.draw(ROWS)
    lists = assign("r", rows, [], size)
    kept = data.draw(st.integers(0, len(lists)))
    assert assign("r", rows, lists[:kept], size) == lists


def test_two_runs_that_keep_lists_at_once_agree(tmp_path):
    """Breaks when a second run's lists overwrite the first one's, or stay unknown to it."""
    store = Store(str(tmp_path))
    one, other = of("r", [1, 2]), of("r", [3])
    save_lists(store, FOLDER, [one])
    save_lists(store, FOLDER, [other, one])
    save_lists(store, FOLDER, [one, other])
    assert load_lists(store, FOLDER) == [one, other]


def test_a_list_cut_off_by_a_kill_is_no_list(tmp_path):
    """Breaks when the temporary file of a killed write makes every later run fail."""
    store = Store(str(tmp_path))
    rows = tmp_path / FOLDER.area(layout.ROWS)
    rows.mkdir(parents=True)
    (rows / ".staged-x1").write_bytes(b'{"key": "ab')
    assert load_lists(store, FOLDER) == []
    save_lists(store, FOLDER, [of("r", [1])])
    assert load_lists(store, FOLDER) == [of("r", [1])]


def test_the_key_is_the_recipe_and_the_rows_in_their_order():
    """Breaks when shards of two recipes share a key."""
    keys = {of(r, rows).key for r in ("r", "s") for rows in ([1, 2], [2, 1], [1])}
    assert len(keys) == 6


def test_lists_of_earlier_versions_are_read_and_written_the_same():
    """Breaks when runs that were planned before have to be computed again: their key, or their file, is another."""
    texts = ["0123456789abcdef", "00000000000000ff", "ffffffffffffffff"]
    rows = RowList.parse("k", texts)
    assert rows.fingerprints == texts
    assert of("r", rows.numbers).key == fingerprint(["r", *texts])


def test_a_list_of_something_else_is_damaged(tmp_path):
    """Breaks when a row list whose content is no list of fingerprints is read as one, or ends in a traceback."""
    store = Store(str(tmp_path))
    for number, odd in enumerate(("", "0123456789abcde", "0123456789abcdeg", " 123456789abcde ")):
        folder = RecipeFolder("ingest", f"{number:016x}")
        store.write(folder.row_list(0, "aa"), write_rows("aa", [odd]))
        with pytest.raises(DamagedError, match="is damaged"):
            load_lists(store, folder)
