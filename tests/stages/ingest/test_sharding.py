import uuid

from hypothesis import given
from hypothesis import strategies as st

from pipeline.store import layout
from pipeline.store.layout import RecipeFolder
from pipeline.store.store import Store
from stages.ingest.sharding import RowList, assign, load_lists, save_lists

ROWS = st.lists(st.integers(0, 60).map(str), unique=True, max_size=30)
FOLDER = RecipeFolder("ingest", "0123456789abcdef")


def rows_of(lists) -> list[str]:
    return [row for entry in lists for row in entry.fingerprints]


@given(ROWS, ROWS, st.integers(1, 7))
def test_every_row_is_in_exactly_one_shard(before, now, size):
    """Breaks when a row is lost or doubled while a data set changes."""
    known = assign("r", before, [], size)
    lists = assign("r", now, known, size)
    assert sorted(rows_of(lists)) == sorted(now)
    assert all(0 < len(entry.fingerprints) <= size for entry in lists)
    assert len({entry.key for entry in lists}) == len(lists)


@given(ROWS, ROWS, st.integers(1, 7), st.integers(1, 7))
def test_rows_never_move_when_others_are_added(before, added, size, other_size):
    """Breaks when growth, or another shard size, changes a shard that is done."""
    known = assign("r", before, [], size)
    grown = assign("r", [*added, *(row for row in before if row not in added)], known, other_size)
    assert grown[: len(known)] == known


@given(ROWS, st.sets(st.integers(0, 60).map(str)), st.integers(1, 7))
def test_a_row_that_goes_touches_its_own_shard_alone(before, removed, size):
    """Breaks when removing (or changing) images computes other shards again, or mixes what remains."""
    known = assign("r", before, [], size)
    lists = assign("r", [row for row in before if row not in removed], known, size)
    untouched = [entry for entry in known if not removed & set(entry.fingerprints)]
    assert lists[: len(untouched)] == untouched
    remains = [tuple(row for row in e.fingerprints if row not in removed) for e in known if e not in untouched]
    assert [entry.fingerprints for entry in lists[len(untouched) :]] == [rows for rows in remains if rows]


@given(ROWS, st.sets(st.integers(0, 60).map(str)), st.integers(1, 7))
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
    one, other = RowList.of("r", ["a", "b"]), RowList.of("r", ["c"])
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
    save_lists(store, FOLDER, [RowList.of("r", ["a"])])
    assert load_lists(store, FOLDER) == [RowList.of("r", ["a"])]


def test_the_key_is_the_recipe_and_the_rows_in_their_order():
    """Breaks when shards of two recipes share a key."""
    keys = {RowList.of(r, rows).key for r in ("r", "s") for rows in (["a", "b"], ["b", "a"], ["a"])}
    assert len(keys) == 6
