import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.ingest.packed import Packed

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=9)
ROWS = st.lists(st.tuples(TEXTS, st.none() | TEXTS, st.integers(-(2**60), 2**60)), max_size=20)


def packed(rows) -> Packed[tuple]:
    return Packed.of(iter(rows), lambda *fields: fields)


@given(ROWS, st.integers(1, 90), st.data())
def test_it_is_the_sequence_that_went_in(rows, copies, data):
    """Breaks when a row is lost, altered or moved: at the edge of a block, or for its letters."""
    rows = [(f"{copy}{text}", *rest) for copy in range(copies) for text, *rest in rows]
    found = packed(rows)
    assert len(found) == len(rows)
    assert list(found) == rows
    places = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=5)) if rows else []
    assert [found[place] for place in places] == [rows[place] for place in places]
    cut = data.draw(st.slices(len(rows)))
    assert found[cut] == rows[cut]


def test_places_over_several_blocks():
    """Breaks when the block that is open answers for another one."""
    rows = [(f"{number}", None, number) for number in range(2500)]
    found = packed(rows)
    assert [found[place] for place in (0, 999, 1000, 1, 2499, -1, 1999)] == [
        rows[place] for place in (0, 999, 1000, 1, 2499, -1, 1999)
    ]
    assert found[990:1010] == rows[990:1010]
    assert list(islice(found, 1500)) == rows[:1500]
    with pytest.raises(IndexError):
        found[2500]


def test_other_items_of_the_same_rows():
    """Breaks when one view of the rows changes the other."""
    found = packed([("a", None, 1), ("b", None, 2)])
    names = found.made_by(lambda name, *_: name)
    assert list(names) == ["a", "b"]
    assert found[1] == ("b", None, 2)


def test_a_row_takes_as_much_memory_as_its_texts():
    """Breaks when the tuples are kept, which is what this is for: a listing of ImageNet then takes half a gigabyte."""
    tracemalloc.start()
    found = packed(
        (f"n{number:08d}/n{number:08d}_{number}.JPEG", f"{number}-{number:019d}", 0) for number in range(20_000)
    )
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / len(found) < 100
