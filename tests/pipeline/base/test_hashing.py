import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.hashing import canonical, fingerprint, seed_from, set_id


def test_fingerprints_are_pinned():
    """Breaks when a digest changes: every finished run everywhere would start again."""
    assert fingerprint({"b": [1, 2.5, None], "a": "ü"}) == "703dceec79c30480"
    assert set_id(["b", "a"]) == "0473ef2dc0d324ab"
    assert seed_from(7, "epoch", 3) == 8092483136876024501


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4))
def test_the_order_of_keys_does_not_matter(value):
    """Breaks when a config written in another order is another recipe."""
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


@given(st.lists(st.text(max_size=3), max_size=5), st.randoms())
def test_the_order_of_shards_does_not_matter(keys, random):
    """Breaks when the same shards in another order are another set."""
    shuffled = list(keys)
    random.shuffle(shuffled)
    assert set_id(shuffled) == set_id(keys)


def test_types_are_told_apart():
    """Breaks when 1, 1.0, "1" and true share a recipe."""
    assert len({fingerprint(value) for value in (1, 1.0, "1", True, None, [1])}) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1, 2}])
def test_what_json_cannot_say_is_refused(value):
    """Breaks when a value is hashed by its memory address or another accident."""
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


def test_seeds_fit_every_generator():
    """Breaks when a seed is negative or beyond 63 bits (torch refuses it), or two places draw the same numbers."""
    seeds = {seed_from(0, "epoch", epoch, rank) for epoch in range(50) for rank in range(4)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
