"""Groups of perceptual hashes, against comparing every two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.duplicates.alike import DISTANCE, groups_of_alike


def compared(hashes):
    """The smallest place of each hash's group, by comparing every two and following links."""
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= DISTANCE
    group = np.arange(len(hashes))
    for _ in hashes:
        group = np.array([group[row].min() for row in near])
    return group


def first_places(groups):
    _, first, own = np.unique(groups, return_index=True, return_inverse=True)
    return first[own]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
def test_groups_are_those_of_comparing_every_two(seed, number, flips):
    """Breaks when a pair within the distance is missed, whichever bits differ, or pairs beyond it are joined."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, 4, np.uint64)
    hashes = centres[generator.integers(0, 4, number)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << generator.integers(0, 64, number, np.uint64)
    np.testing.assert_array_equal(first_places(groups_of_alike(hashes)), compared(hashes))


@pytest.mark.parametrize("bits", [DISTANCE, DISTANCE + 1])
def test_the_bound_is_the_stated_one(bits):
    """Breaks when pictures are alike at another distance than the documentation says, for any choice of bits."""
    generator = np.random.default_rng(bits)
    for _ in range(200):
        one = generator.integers(0, 2**64, dtype=np.uint64)
        other = one ^ np.uint64(sum(1 << int(bit) for bit in generator.choice(64, bits, replace=False)))
        first, second = groups_of_alike(np.array([one, other]))
        assert (first == second) == (bits <= DISTANCE)


def test_groups_are_links_and_few_hashes_are_no_exception():
    """Breaks when only direct neighbours are in a group, or nothing, one hash, or equal ones are an error."""
    chain = np.cumsum([0, 15, 15 << 8, 15 << 16]).astype(np.uint64)
    assert len(set(groups_of_alike(chain))) == 1
    assert len(groups_of_alike(np.array([], np.uint64))) == 0
    assert len(groups_of_alike(np.array([7], np.uint64))) == 1
    assert len(set(groups_of_alike(np.array([7, 7], np.uint64)))) == 1


def test_a_hundred_thousand_hashes_take_seconds():
    """Breaks when the search compares every two: ten thousand million pairs take minutes."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)
    hashes[1::2] = hashes[::2] ^ np.uint64(0b1011)
    groups = groups_of_alike(hashes)
    np.testing.assert_array_equal(groups[1::2], groups[::2])
    assert len(set(groups)) == 50_000
