import json
from dataclasses import replace

import pytest
import torchvision
from torchvision.transforms.functional import InterpolationMode

from stages.vision.backbones.published import card_beside, published
from stages.vision.backbones.weight_names import LITE0, SCRATCH
from stages.vision.preprocessing import IMAGENET, Preprocessing

timm = pytest.importorskip("timm")

TORCHVISION = [
    str(weights)
    for model in torchvision.models.list_models(module=torchvision.models)
    for weights in torchvision.models.get_model_weights(model)
]
TIMM = [
    "resnet50.a1_in1k",
    "resnet50.tv_in1k",
    "tf_efficientnet_lite0.in1k",
    "tf_efficientnet_b0.ns_jft_in1k",
    "efficientnet_b0.ra_in1k",
    "mobilenetv3_large_100.ra_in1k",
    "mobilenetv2_100.ra_in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_small_patch14_dinov2.lvd142m",
    "deit_small_patch16_224.fb_in1k",
    "convnext_tiny.fb_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
    "densenet161.tv_in1k",
    "dpn131.mx_in1k",
    "inception_v3.tv_in1k",
    "regnety_040.ra3_in1k",
    "xception41.tf_in1k",
    "beit_base_patch16_224.in22k_ft_in22k_in1k",
]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_weights_are_shown_what_its_transforms_show(name):
    """Breaks when weights published with another mean, filter, size or crop are shown ImageNet's usual."""
    shown = torchvision.models.get_weight(name).transforms()
    found, size = published(name, "resnet50")
    assert [*found.mean, *found.deviation] == [*shown.mean, *shown.std]
    assert size is not None
    assert size == shown.crop_size[0]
    assert int(size / found.crop + 1e-6) == shown.resize_size[0]
    assert InterpolationMode(found.interpolation) == shown.interpolation


@pytest.mark.parametrize("name", TIMM)
def test_timms_weights_are_shown_what_its_config_says(name):
    """Breaks when timm's mean and deviation of 0.5, which many of its networks have, become ImageNet's."""
    config = timm.get_pretrained_cfg(name)
    found, size = published(f"timm:{name}", "resnet50")
    assert (found.mean, found.deviation) == (config.mean, config.std)
    assert (size, found.crop) == (config.input_size[-1], config.crop_pct)
    assert found.interpolation == config.interpolation


def test_lite0s_images_are_those_of_its_package():
    """Breaks when Lite0 is shown ImageNet's mean: its own is 127 of 0 to 255, deviation 128."""
    found, size = published(LITE0, "efficientnet_lite0")
    assert [value * 255 for value in (*found.mean, *found.deviation)] == pytest.approx([127] * 3 + [128] * 3)
    assert (size, found.interpolation) == (224, "bicubic")
    assert published("somewhere/lite0.pth", "efficientnet_lite0").preprocessing == found


@pytest.mark.parametrize("source", [SCRATCH, "weights.pth", "timm:inception_v3.tv_in1k"])
def test_networks_that_rescale_by_themselves_are_shown_imagenets_mean(source):
    """Breaks when Inception's pixels are brought to [-1, 1] twice, by the card and by the network."""
    found = published(source, "inception_v3").preprocessing
    assert (found.mean, found.deviation) == (IMAGENET.mean, IMAGENET.deviation)


def test_a_network_of_timm_from_a_file_is_shown_what_timm_says(tmp_path):
    """Breaks when a file for timm's network is shown ImageNet's mean because the file does not say."""
    config = timm.get_pretrained_cfg("vit_small_patch16_224")
    found, size = published(str(tmp_path / "w.pth"), "timm:vit_small_patch16_224")
    assert (found.mean, size) == (config.mean, 224)
    assert published(SCRATCH, "timm:vit_small_patch16_224").preprocessing == IMAGENET


def test_the_card_beside_a_file_says_how_its_images_were_prepared(tmp_path):
    """Breaks when a file's own card is not found, or the folder's is preferred to it."""
    weights = str(tmp_path / "w.v2.safetensors")
    assert card_beside(weights) is None
    hub = {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 288, 288], "crop_pct": 1.0}}
    (tmp_path / "config.json").write_text(json.dumps(hub))
    assert card_beside(weights) == str(tmp_path / "config.json")
    found = published(weights, "resnet50", card_beside(weights))
    assert found == (Preprocessing((0.5,) * 3, (0.25,) * 3, "bilinear", 1.0), 288)
    (tmp_path / "w.v2.json").write_text(json.dumps({"interpolation": "bicubic"}))
    assert published(weights, "resnet50", card_beside(weights)) == (Preprocessing(interpolation="bicubic"), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        ('{"mean": 3}', "mean must be three numbers"),
        ('{"std": [0, 1, 1]}', "deviation must be above 0"),
        ('{"crop_pct": 1e-9}', "crop must be 0.1 to 2"),
        ('{"crop_pct": 3}', "crop must be 0.1 to 2"),
        ('{"input_size": "big"}', "input_size must be 1 to 16384 pixels, not big"),
        ('{"input_size": 1000000000}', "input_size must be 1 to 16384 pixels"),
        ('{"model_type": "vit"}', "has none of crop_pct, input_size, interpolation, mean, std"),
    ],
)
def test_a_card_that_says_something_else_is_one_line(tmp_path, text, said):
    """Breaks when a damaged card gives NaN pixels or a traceback."""
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match=f"^card .*c.json:? ?.*{said}") as refused:
        published("w.pth", "resnet50", str(tmp_path / "c.json"))
    assert "\n" not in str(refused.value)


def test_what_a_card_leaves_out_is_as_usual_for_the_network(tmp_path):
    """Breaks when a card of other things, as the hub has them, turns off what timm says of its network."""
    siglip = "timm:vit_base_patch16_siglip_224"
    usual = published("w.pth", siglip)
    assert usual.preprocessing.mean == (0.5, 0.5, 0.5)
    other = tmp_path / "config.json"
    other.write_text('{"model_type": "vit", "hidden_size": 768}')
    assert published("w.pth", siglip, str(other), found=True) == usual
    other.write_text('{"crop_pct": 1.0}')
    preprocessing = replace(usual.preprocessing, crop=1.0)
    assert published("w.pth", siglip, str(other), found=True) == usual._replace(preprocessing=preprocessing)


def test_a_card_that_is_a_folder_is_one_line(tmp_path):
    """Breaks when a folder given as a card ends in a traceback."""
    with pytest.raises(ValueError, match=r"^card .* cannot be read: Is a directory"):
        published("w.pth", "resnet50", str(tmp_path))


@pytest.mark.parametrize("name", ["volo_d4_448.sail_in1k", "volo_d5_512.sail_in1k"])
def test_crops_above_the_whole_are_read(name):
    """Breaks when networks whose images were enlarged beyond their input are refused."""
    assert published(f"timm:{name}", f"timm:{name.partition('.')[0]}").preprocessing.crop == 1.15


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.bogus", r"timm publishes no 'resnet18.bogus': did you mean 'resnet18\."),
        ("RESNET18", "timm knows no network 'RESNET18': did you mean 'resnet18'"),
    ],
)
def test_unknown_names_of_timm_are_one_line_with_the_nearest(name, said):
    """Breaks when a typing error in a tag ends in timm's own error, which counts as a failure."""
    with pytest.raises(ValueError, match=said):
        published(f"timm:{name}", "resnet50")
