from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.vision.training.division import divide, share


def workers(rank=0, world_size=1, micro_batch=None):
    return SimpleNamespace(rank=rank, world_size=world_size, micro_batch=micro_batch)


@settings(max_examples=200)
@given(
    sets=st.integers(1, 40),
    together=st.integers(1, 5),
    ranks=st.integers(1, 9),
    micro_batch=st.none() | st.integers(1, 60),
)
def test_a_step_is_divided_without_rest(sets, together, ranks, micro_batch):
    """Breaks when an image is left out or taken twice, a class set is torn apart, or a micro batch is too large."""
    images = sets * together
    try:
        parts = [divide(images, workers(rank, ranks, micro_batch), together) for rank in range(ranks)]
    except ValueError:
        assume(False)
    taken = [image for rank in parts for part in rank for image in range(part.start, part.stop)]
    assert taken == list(range(images))
    sizes = [[part.stop - part.start for part in rank] for rank in parts]
    assert all(size > 0 and size % together == 0 and size <= (micro_batch or images) for rank in sizes for size in rank)
    assert len({len(rank) for rank in sizes}) == 1, "ranks that talk in each micro batch would wait for ever"
    totals = [sum(rank) for rank in sizes]
    assert max(totals) - min(totals) <= together
    assert [share(rank) == slice(rank[0].start, rank[-1].stop) for rank in parts] == [True] * ranks


def test_by_hand():
    """Breaks when shares or micro batches are cut elsewhere: thirty images of eight workers, five at once."""
    assert divide(30, workers()) == (slice(0, 30),)
    assert divide(30, workers(0, 8)) == (slice(0, 4),)
    assert divide(30, workers(7, 8)) == (slice(27, 30),)
    assert divide(30, workers(1, 2, 5)) == (slice(15, 20), slice(20, 25), slice(25, 30))
    assert divide(10, workers(1, 2, 5), 2) == (slice(6, 8), slice(8, 10)), "one pair waits for the other rank's two"


@pytest.mark.parametrize(
    ("images", "together", "place", "said"),
    [
        (4, 1, workers(0, 8), "a step of 4 images cannot be shared out to 8 workers: take 4 at most"),
        (12, 2, workers(0, 7), "a step of 6 class sets of 2 images cannot be shared out to 7 workers: take 6 at most"),
        (60, 5, workers(0, 1, 4), "cannot be cut at micro_batch 4: a class set stays together, so raise it"),
        (
            60,
            5,
            workers(0, 8, 9),
            "a step of 12 class sets of 5 images over 8 workers leaves one idle at micro_batch 9",
        ),
        (4, 1, workers(2, 2), "rank 2 is not one of 2"),
    ],
)
def test_what_cannot_be_divided(images, together, place, said):
    """Breaks when a worker would wait for ever, or the line does not name the setting to change."""
    with pytest.raises(ValueError, match=said):
        divide(images, place, together)
