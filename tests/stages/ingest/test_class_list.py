import pytest

from pipeline.base.errors import UsageError
from stages.ingest.class_list import class_list, with_classes
from stages.ingest.scan import Found, Scan
from stages.vision.imagenet_classes import imagenet_wnids


def scan_of(*classes):
    return Scan.of([Found(f"{name}/1.jpg", f"/data/{name}/1.jpg", "s", name, "val") for name in classes])


def test_labels_are_those_of_published_networks():
    """Breaks when a few photographs of ImageNet get labels 0, 1, 2 and a published head calls all of them wrong."""
    scan = with_classes(scan_of("n02102040", "n01440764"), "imagenet")
    assert (scan.labels["n01440764"], scan.labels["n02102040"], len(scan.classes)) == (0, 217, 1000)
    assert tuple(class_list("imagenet")) == imagenet_wnids()


def test_without_a_list_classes_are_those_of_the_images():
    """Breaks when every folder of photographs gets a thousand classes."""
    scan = scan_of("n02102040", "n01440764")
    assert with_classes(scan, None) == scan


def test_a_class_that_is_not_in_the_list_is_named():
    """Breaks when a folder called `dog` is left out in silence, or gets another class's label."""
    with pytest.raises(UsageError, match="^dataset: classes: imagenet: class 'dog' is none of its 1000$"):
        with_classes(scan_of("dog", "n01440764"), "imagenet")
