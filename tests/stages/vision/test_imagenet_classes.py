import re
from pathlib import Path

import pytest

from stages.vision.imagenet_classes import imagenet_numbers, imagenet_wnids


def test_the_wnids_are_a_thousand_in_order_and_those_of_timm():
    """Breaks when a wnid is lost, doubled, misspelt or out of place: every published head is read by its place."""
    wnids = imagenet_wnids()
    assert len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    timm = pytest.importorskip("timm")
    theirs = Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt"
    assert list(wnids) == theirs.read_text().split()


def test_classes_known_to_everybody_have_their_numbers():
    """Breaks when numbers start at 1, as in the devkit: tench is 0, English springer 217, toilet tissue 999."""
    assert imagenet_numbers(["n15075141", "n01440764", "n02102040"]) == [999, 0, 217]
    assert imagenet_numbers([]) == []


def test_the_first_unknown_class_is_named():
    """Breaks when a class without a row is dropped in silence, or the line names another."""
    with pytest.raises(ValueError, match="class 'raccoon' is none of ImageNet's 1,000"):
        imagenet_numbers(["n01440764", "raccoon", "zebra"])
