"""The verb `backbones`."""

import json

import pytest

from stages.vision.backbones.registry import BACKBONES
from tests.jobs.test_fast_verbs import answer


def test_the_list_loads_nothing_that_computes():
    """Breaks when listing names builds networks."""
    said = answer("backbones")
    assert (said["code"], said["loaded"]) == (0, []), said["stderr"]


def test_the_list_is_the_table(weakbox):
    """Breaks when a network of the table is not listed, or with another size or kind of CAM."""
    code, out, _ = weakbox("backbones", "--json", "-")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == list(BACKBONES)
    assert {row["name"]: row["cam"] for row in rows}["vit_s16"] == "gradient"
    code, out, _ = weakbox("backbones")
    assert code == 0
    assert all(name in out for name in (*BACKBONES, "timm:<name>"))


@pytest.mark.parametrize(
    ("name", "size", "cam", "tap"),
    [
        ("resnet50", 320, "exact", {"tap": "layer3", "height": 20, "width": 20, "channels": 1024, "stride": 16}),
        ("timm:swin_tiny_patch4_window7_224", 224, "exact", {"tap": "layers.2", "height": 14, "channels": 384}),
        ("timm:vit_small_patch16_dinov3", 256, "features", {"tap": "keys", "height": 16, "gradient": False}),
        ("timm:convnext_atto@16", 224, "gradient", {"tap": "stages.2", "height": 14, "stride": 16}),
        ("efficientnet_lite0", 256, "exact", {"tap": "blocks.5", "height": 8, "default_of": ["ddt"]}),
    ],
)
def test_what_a_network_offers(name, size, cam, tap, weakbox):
    """Breaks when grids, channels or defaults are those of another size or layer, or the kind of CAM is assumed."""
    pytest.importorskip("timm")
    code, out, err = weakbox("backbones", name, "--size", str(size), "--json", "-")
    assert code == 0, err
    said = json.loads(out)
    assert (said["name"], said["input_size"], said["cam"]) == (name, size, cam)
    (found,) = [each for each in said["taps"] if each["tap"] == tap["tap"]]
    assert found.items() >= tap.items()


def test_it_is_shown_as_a_table(weakbox):
    """Breaks when the table drops a tap, or says nothing of strides and of what published weights were shown."""
    pytest.importorskip("timm")
    code, out, _ = weakbox("backbones", "timm:tf_efficientnet_lite0")
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == ["timm:tf_efficientnet_lite0 at 224 pixels", "CAM: exact", "output_stride: 8, 16"]
    assert "mean 0.5 0.5 0.5" in lines[3]
    assert [line.split()[:4] for line in lines if line.startswith("blocks.5")] == [["blocks.5", "7x7", "192", "32"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet51"], "did you mean 'resnet50'"),
        (["timm:resnet1"], "timm knows no network 'resnet1'"),
        (["vit_s16", "--size", "230"], "multiple of the patch's, 16"),
        (["timm:crossvit_9_240"], "gives no map of features"),
        (["--size", "230"], "--size goes with a NAME"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, weakbox):
    """Breaks when a typing error is a traceback."""
    code, out, err = weakbox("backbones", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err
