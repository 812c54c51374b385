"""Checks that need no true box: each tells what it is for, and nothing else."""

import numpy as np
import pytest

from stages.scoring import verdict
from stages.scoring.verdict import Verdict, overall

RANDOM = np.random.default_rng(0)


def boxes(images: int) -> np.ndarray:
    """Boxes ``(N, 4)`` in [0, 1], each somewhere."""
    low, size = RANDOM.uniform(0, 0.5, (images, 2)), RANDOM.uniform(0.2, 0.5, (images, 2))
    return np.concatenate([low, low + size], axis=1)


def levels(found) -> list[str]:
    return [each.level for each in found]


@pytest.mark.parametrize("images", [20, 200, 5000])
def test_sources_that_find_the_same_agree_whatever_their_number(images):
    """Breaks when agreement is judged by its size alone: boxes of a crowded class agree by chance."""
    one = boxes(images)
    assert levels(verdict.of_agreement("a", one, {"b": one + RANDOM.normal(0, 0.03, one.shape)})) == ["good"]


def test_sources_of_different_images_do_not_agree():
    """Breaks when chance passes for agreement; with few images it is not called sure."""
    assert levels(verdict.of_agreement("a", boxes(2000), {"b": boxes(2000)})) == ["bad"]
    assert set(levels(verdict.of_agreement("a", boxes(12), {"b": boxes(12)}))) <= {"look", "good"}


def test_a_source_is_compared_with_the_one_that_it_agrees_with_best():
    """Breaks when one bad source condemns a good pair."""
    one = boxes(300)
    (found,) = verdict.of_agreement("a", one, {"bad": boxes(300), "good": one})
    assert found.level == "good"
    assert found.value == pytest.approx(100)


def test_nothing_is_said_without_another_source_or_enough_images():
    """Breaks when a number is made up of nothing."""
    assert not list(verdict.of_agreement("a", boxes(300), {}))
    assert not list(verdict.of_agreement("a", boxes(300), {"b": np.full((300, 4), np.nan)}))
    assert not list(verdict.of_dependence("a", boxes(3)))
    assert not list(verdict.of_whole_images("a", np.zeros(0), np.zeros(0, bool)))
    assert not list(verdict.of_classifier(np.ones(3, bool), 0.5))
    assert not list(verdict.of_trivial("a", np.ones(3, bool), "t", np.ones(3, bool), 30))
    assert not list(verdict.of_pictures(10, 0, 10, 0))


def test_the_same_box_everywhere_does_not_depend_on_the_image():
    """Breaks when boxes that never move pass, or those that do are refused."""
    still = np.tile([0.2, 0.2, 0.8, 0.8], (50, 1)) + RANDOM.normal(0, 0.005, (50, 4))
    assert levels(verdict.of_dependence("a", still)) == ["bad"]
    assert levels(verdict.of_dependence("a", boxes(50))) == ["good"]


@pytest.mark.parametrize(("share", "level"), [(0.1, "good"), (0.3, "look"), (0.6, "bad")])
def test_whole_images_are_counted(share, level):
    """Breaks when fallbacks are not among them."""
    whole = np.arange(100) < 100 * share
    assert levels(verdict.of_whole_images("a", np.where(whole, 1.0, 0.3), np.zeros(100, bool))) == [level]
    assert levels(verdict.of_whole_images("a", np.full(100, 0.3), whole)) == [level]


@pytest.mark.parametrize(("right", "level"), [(0.34, "bad"), (0.38, "bad"), (0.5, "good")])
def test_a_classifier_is_judged_against_its_largest_class(right, level):
    """Breaks when chance of a large class passes for knowledge."""
    assert levels(verdict.of_classifier(np.arange(200) < 200 * right, 0.34)) == [level]


def test_a_large_class_does_not_condemn_a_classifier_that_knows_the_others():
    """Breaks when the share of the largest class alone decides."""
    assert levels(verdict.of_classifier(np.arange(1000) < 990, 0.9)) == ["good"]


def check(source: str | None, level: verdict.Level, name: str = "agreement") -> Verdict:
    return Verdict(name, source, level, 50.0, 100, f"{name} of {source}")


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        ([check("a", "good"), check(None, "good")], "good", "good"),
        ([check("a", "look"), check("b", "good")], "look", "look at it: agreement of a"),
        ([check("a", "bad"), check("b", "good")], "look", "leave out a: agreement of a"),
        ([check("a", "bad"), check("b", "bad")], "bad", "not usable: agreement of a; agreement of b"),
        ([check("a", "good"), check(None, "bad")], "bad", "not usable: agreement of None"),
        ([check("a", "bad", "over_trivial"), check("b", "good", "over_trivial")], "good", "good; over_trivial of a"),
        ([check("a", "bad", "over_trivial")], "bad", "not usable: over_trivial of a"),
        ([check("a", "look", "over_trivial"), check("b", "look", "over_trivial")], "look", "look at it"),
    ],
)
def test_the_worst_of_what_is_delivered_decides(found, level, words):
    """Breaks when one bad source condemns a run, or all bad ones do not."""
    assert overall(found).level == level
    assert words in overall(found).said
