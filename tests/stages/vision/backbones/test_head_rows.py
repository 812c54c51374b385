import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.backbones.head_rows import rows_of_classes
from stages.vision.backbones.meta import meta_network
from stages.vision.backbones.sources import WeightsError
from stages.vision.backbones.weights import fit, load_state
from stages.vision.imagenet_classes import imagenet_wnids

SPRINGER, TENCH, TISSUE = "n02102040", "n01440764", "n15075141"


def head(classes=1000):
    """A classifier whose every row says its number."""
    rows = torch.arange(float(classes))
    return {"classifier.weight": rows[:, None].repeat(1, 3), "classifier.bias": rows, "features.a": torch.zeros(1000)}


def test_rows_are_kept_by_wnid_in_the_order_of_the_data():
    """Breaks when rows are taken in the source's order, or another tensor of a thousand numbers is cut."""
    kept = rows_of_classes(head(), [TISSUE, TENCH, SPRINGER], "w.pth")
    assert kept["classifier.bias"].tolist() == [999, 0, 217]
    assert kept["classifier.weight"][:, 1].tolist() == [999, 0, 217]
    assert len(kept["features.a"]) == 1000


@pytest.mark.parametrize("classes", [imagenet_wnids(), [f"class {n:03d}" for n in range(1000)], ["", *"abc"] * 250])
def test_a_thousand_classes_keep_the_whole_head(classes):
    """Breaks when data of all classes, or of a thousand that are not called by wnids, no longer load as they did."""
    assert torch.equal(rows_of_classes(head(), classes, "w.pth")["classifier.bias"], torch.arange(1000.0))


def test_a_thousand_wnids_of_which_one_is_unknown_are_refused():
    """Breaks when data of a thousand other wnids take ImageNet's rows in its order."""
    with pytest.raises(WeightsError, match="class 'n99999999' is none"):
        rows_of_classes(head(), [*imagenet_wnids()[1:], "n99999999"], "w.pth")


def test_a_head_of_other_classes_is_not_cut():
    """Breaks when wnids are looked up in a head that is not ImageNet's."""
    assert len(rows_of_classes(head(7), [TENCH], "w.pth")["classifier.bias"]) == 7


def test_an_unknown_class_is_one_line_that_names_it_and_the_weights():
    """Breaks when a class that ImageNet has not gets a row at random, or the reader is not told which class it is."""
    with pytest.raises(WeightsError, match=r"weights w\.pth .* class 'raccoon' is none .*keep_head: false"):
        rows_of_classes(head(), [TENCH, "raccoon"], "w.pth")


def test_a_network_is_filled_with_the_rows_of_its_classes_and_says_the_same():
    """Breaks when logits of the kept classes differ from those of the whole network, or a fresh head is kept."""
    whole, cut = build("smallnet", 1000, seed=1).eval(), build("smallnet", 2, seed=2).eval()
    loaded = load_state(cut, whole.state_dict(), "whole", True, [SPRINGER, TENCH])
    assert (loaded.fresh, loaded.unused) == ((), ())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(cut(images), whole(images)[:, [217, 0]])
    fresh = load_state(build("smallnet", 2), whole.state_dict(), "whole", False, ["raccoon", "zebra"])
    assert fresh.fresh == ("classifier",)


def test_rows_are_judged_without_values():
    """Breaks when planning, which sees shapes alone, cannot cut a head, or lets an unknown class pass."""
    shapes = meta_network("smallnet", 1000).state_dict()
    fitting = fit(meta_network("smallnet", 2), shapes, "w", True, [TENCH, SPRINGER])
    assert fitting.kept["classifier.weight"].shape == (2, 64)
    with pytest.raises(WeightsError, match="'raccoon'"):
        fit(meta_network("smallnet", 2), shapes, "w", True, ["raccoon", TENCH])
