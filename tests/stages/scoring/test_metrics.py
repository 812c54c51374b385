"""What one image can be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.scoring.metrics import MetricKey, gt_delta, localisation, top_k

GT, TOP1, TOP5 = (MetricKey(name, 0.5) for name in ("gt_known", "top1_loc", "top5_loc"))


def random_images(seed: int, images: int = 40):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 8, images)
    ranked = np.argsort(random.random((images, 8)), axis=1)
    return random.random(images), labels, ranked


@given(st.integers(0, 10_000))
def test_top1_within_top5_within_gt_known(seed):
    """Breaks when Top-k Loc is not GT-known and Top-k Cls of the same image."""
    found = localisation(*random_images(seed))
    assert (found[TOP1] <= found[TOP5]).all()
    assert (found[TOP5] <= found[GT]).all()
    for k in (1, 5):
        assert (found[MetricKey(f"top{k}_loc", 0.5)] <= found[MetricKey(f"cls_top{k}", None)]).all()


def test_values_by_hand():
    """Breaks when an image counts as localised without its class, or by a rank beyond k."""
    ious, labels = np.array([0.6, 0.5, 0.2, 0.9]), np.array([1, 2, 3, 4])
    ranked = np.array([[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [3, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = {key: vector.tolist() for key, vector in localisation(ious, labels, ranked).items()}
    assert found == {
        GT: [True, True, False, True],
        TOP1: [True, False, False, False],
        TOP5: [True, True, False, False],
        MetricKey("cls_top1", None): [True, False, True, False],
        MetricKey("cls_top5", None): [True, True, True, False],
    }


def test_levels_and_strictness():
    """Breaks when gt_delta ignores a level or strict lets an equal IoU pass."""
    ious = np.array([0.3, 0.95])
    assert [int(v.sum()) for v in gt_delta(ious).values()] == [2, 1, 1, 1, 1]
    assert [int(v.sum()) for v in gt_delta(ious, strict=True).values()] == [1] * 5


def test_without_classes_there_are_no_top_k_rows():
    """Breaks when an unknown classification counts as wrong."""
    assert list(localisation(np.array([0.6]))) == [GT]


def test_top_k_by_hand():
    """Breaks when the rank is off by one."""
    ranked = np.array([[5, 4, 3, 2, 1, 0]])
    assert [bool(top_k(np.array([1]), ranked, k)[0]) for k in (4, 5)] == [False, True]
