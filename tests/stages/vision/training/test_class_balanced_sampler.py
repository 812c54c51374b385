import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.vision.training.class_balanced_sampler import ClassBalancedSampler


def labels_of(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def of_sets(sets, labels, epoch=0):
    """The epoch as (batches, classes, images) indices, and the labels of the same shape."""
    batches = sets(epoch).reshape(sets.batches_an_epoch, -1, sets.images)
    return batches, np.asarray(labels)[batches]


def test_batches_of_i2c():
    """Breaks when a class is drawn twice for a batch, a pair mixes classes, or an image meets itself."""
    labels = labels_of([60] * 100)
    batches, found = of_sets(ClassBalancedSampler(labels, 40, 2, seed=1), labels)
    assert batches.shape == (75, 40, 2)
    assert (found[:, :, 0] == found[:, :, 1]).all()
    assert all(len(set(batch[:, 0])) == 40 for batch in found)
    assert (batches[:, :, 0] != batches[:, :, 1]).all()
    assert np.unique(batches).size == 6000, "equal classes: every image exactly once"


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 23), min_size=2, max_size=9),
    classes=st.integers(1, 6),
    images=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_composition(counts, classes, images, seed):
    """Breaks for any sizes when a set is split or repeats an image without need, or uses drift apart by two."""
    labels = labels_of(counts, seed)
    batches, found = of_sets(ClassBalancedSampler(labels, classes, images, seed), labels)
    assert (found == found[:, :, :1]).all(), "a set is one class"
    assert all(len(set(batch)) == len(batch) for batch in found[:, :, 0]), "no class twice"
    for row, label in zip(batches.reshape(-1, images), found[:, :, 0].ravel(), strict=True):
        uses = np.unique(row, return_counts=True)[1]
        assert len(uses) == min(images, counts[label])
        assert uses.max() - uses.min() <= 1
    drawn = np.bincount(found[:, :, 0].ravel(), minlength=len(counts))
    assert drawn.max() - drawn.min() <= 1
    uses = np.bincount(batches.ravel(), minlength=len(labels))
    for label in range(len(counts)):
        assert np.ptp(uses[labels == label]) <= 1


def test_epochs_and_seeds():
    """Breaks when a resumed epoch has another order, or all epochs or seeds have the same."""
    labels = labels_of([7, 9, 30, 8])
    sets = ClassBalancedSampler(labels, 3, 2, seed=5)
    sets(0)
    np.testing.assert_array_equal(sets(3), ClassBalancedSampler(labels, 3, 2, seed=5)(3))
    assert not np.array_equal(sets(3), sets(4))
    assert not np.array_equal(sets(3), ClassBalancedSampler(labels, 3, 2, seed=6)(3))


def test_images_of_a_class_are_drawn_alike():
    """Breaks when the rule that keeps a set free of repetitions favours some pairs over others."""
    pairs = np.concatenate([ClassBalancedSampler([0] * 5, 1, 2, seed)(0) for seed in range(3000)])
    assert pairs.shape == (6000, 2)
    counts = np.zeros((5, 5))
    np.add.at(counts, (pairs.min(axis=1), pairs.max(axis=1)), 1)
    found = counts[np.triu_indices(5, 1)]
    assert abs(found - 600).max() < 5 * 600**0.5


def test_each_place_of_a_batch_sees_all_classes():
    """Breaks when a rank, whose places are the same in all batches, gets classes of its own."""
    labels = labels_of([40] * 4)
    batches = ClassBalancedSampler(labels, 4, 2, seed=0)(0)
    assert set(labels[batches[:, :4]].ravel()) == set(labels[batches[:, 4:]].ravel()) == {0, 1, 2, 3}


def test_labels_may_be_names():
    """Breaks when labels are used as indices."""
    numbers = labels_of([5, 6, 7])
    names = np.array(["ant", "bee", "cow"])[numbers]
    np.testing.assert_array_equal(
        ClassBalancedSampler(list(names), 2, 3, 0)(1), ClassBalancedSampler(list(numbers), 2, 3, 0)(1)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "at least one class"),
        ({"images": 0}, "at least one class"),
        ({"labels": []}, "at least one image"),
    ],
)
def test_impossible_sizes(arguments, message):
    """Breaks when such a sampler yields empty batches instead of one clear line."""
    with pytest.raises(ValueError, match=message):
        ClassBalancedSampler(**{"labels": [0, 0, 1, 1], "classes": 2, "images": 2, "seed": 0, **arguments})
