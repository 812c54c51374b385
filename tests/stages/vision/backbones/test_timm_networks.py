"""Networks of timm: what is looked up about them, and that what they offer runs."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.backbones.description import described
from stages.vision.backbones.meta import meta_network
from stages.vision.backbones.registry import backbone, backbone_name, input_size
from stages.vision.backbones.timm_features import TimmFeatures
from stages.vision.backbones.timm_structure import classifier_layer, timm_structure
from stages.vision.backbones.vit import PatchTokens
from stages.vision.backbones.weights import fit, load_state
from stages.vision.features import read_taps
from stages.vision.memory_format import channels_last

timm = pytest.importorskip("timm")

# name -> how its classes come about, side of the images here, by family
NETWORKS = {
    "resnet18": ("exact", 64),
    "resnet26d": ("exact", 64),
    "resnetv2_18": ("exact", 64),
    "seresnext26t_32x4d": ("exact", 64),
    "res2net50_48w_2s": ("exact", 64),
    "tf_efficientnet_lite0": ("exact", 64),
    "tf_efficientnet_b0": ("exact", 64),
    "tf_efficientnetv2_b0": ("exact", 64),
    "mnasnet_small": ("exact", 64),
    "mobilenetv1_100": ("exact", 64),
    "mobilenetv2_050": ("exact", 64),
    "mobilenetv3_small_050": ("gradient", 64),
    "mobilenetv4_conv_small_035": ("gradient", 64),
    "ghostnet_050": ("gradient", 64),
    "densenet121": ("exact", 64),
    "dpn48b": ("exact", 64),
    "regnetx_002": ("exact", 64),
    "regnety_002": ("exact", 64),
    "repvgg_a0": ("exact", 64),
    "vgg11": ("gradient", 224),
    "dla46_c": ("exact", 64),
    "rexnet_100": ("exact", 64),
    "mobilevit_xxs": ("exact", 64),
    "convnext_atto": ("gradient", 64),
    "convnextv2_atto": ("gradient", 64),
    "poolformerv2_s12": ("gradient", 64),
    "edgenext_xx_small": ("gradient", 64),
    "swin_tiny_patch4_window7_224": ("exact", 112),
    "mixer_s32_224": ("exact", 224),
    "vit_tiny_patch16_224": ("gradient", 64),
    "vit_small_patch14_reg4_dinov2": ("gradient", 56),
    "vit_small_patch16_dinov3": ("exact", 64),
    "eva02_tiny_patch14_224": ("gradient", 56),
    "deit3_small_patch16_224": ("gradient", 64),
    "cait_xxs24_224": ("gradient", 224),
    "pvt_v2_b0": ("exact", 64),
    "vit_base_patch32_siglip_256": ("gradient", 64),
}
LONG = {
    "resnet26d",
    "seresnext26t_32x4d",
    "res2net50_48w_2s",
    "tf_efficientnet_b0",
    "densenet121",
    "vgg11",
    "rexnet_100",
    "convnextv2_atto",
    "edgenext_xx_small",
    "deit3_small_patch16_224",
    "cait_xxs24_224",
    "vit_base_patch32_siglip_256",
}
"""The slowest; the other 25 are of 16 families."""
NAMES = [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in NETWORKS]
CLASSES = 5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors: threads that wait for each other cost more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    return build(f"timm:{name}", CLASSES).eval()


@pytest.fixture(scope="module")
def images(name):
    side = NETWORKS[name][1]
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def published(name):
    """Timm's own network with a classifier, its weights random, its statistics not those of a fresh network."""
    torch.manual_seed(1)
    made = timm.create_model(name, num_classes=CLASSES, **_any_size(name)).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made


def _any_size(name):
    return {"dynamic_img_size": True} if name.startswith(("vit", "deit", "eva", "swin")) else {}


def test_logits_are_those_of_timms_own_network(name, network, images, published):
    """Breaks when a kind is wrong, the classifier reads something else, or names in timm's files are misread.

    Where CAM is exact, maps are averaged here: their means and the classifier's bias are the logits (Zhou et al.).
    """
    kind, layer = NETWORKS[name][0], classifier_layer(name)
    loaded = load_state(network, published.state_dict(), "made", keep_head=bool(layer))
    assert loaded.unused == () or not layer
    with torch.inference_mode():
        read = published.forward_head(published.forward_features(images), pre_logits=True)
        expected = published(images) if layer else network.classifier(read)
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)
        assert network.has_cam is (kind == "exact")
        if network.has_cam:
            maps = torch.einsum("bkhw,ck->bchw", network.class_features(images), network.classifier.weight)
            torch.testing.assert_close(maps.mean(dim=(2, 3)) + network.classifier.bias, expected, atol=1e-4, rtol=1e-4)


def test_each_tap_has_the_grid_that_is_listed(name, network, images):
    """Breaks when a network with values has another grid than `weakbox backbones` lists, which sees none."""
    found = described(f"timm:{name}", images.shape[2])
    with torch.inference_mode():
        outputs = read_taps(network, [each.tap for each in found.taps], images)
    assert [(each.channels, each.height, each.width) for each in found.taps] == [tuple(o.shape[1:]) for o in outputs]
    assert list(network.tap_names.paths) == [each.tap for each in found.taps]
    assert found.taps[0].tap == "features"
    assert all(output.isfinite().all() for output in outputs)


def test_gradient_maps_by_default(name, network, images):
    """Breaks when the default layer of stage gradcam is beside the way to the classes of some family."""
    pytest.importorskip("pytorch_grad_cam")
    from stages.gradcam.maps import gradient_maps

    names = network.tap_names
    maps, classes = gradient_maps(network, network.tap_path(names.gradient_default), images, "gradcam")
    assert maps.shape[1:] == read_taps(network, [names.gradient_default], images)[0].shape[2:]
    assert classes.shape == (2,)
    assert np.isfinite(maps).all()
    assert names.gradient_default not in names.off
    if network.has_cam:
        with torch.inference_mode():
            weight = network.classifier.weight[torch.from_numpy(classes)]
            cam = torch.einsum("bkhw,bk->bhw", network.class_features(images), weight).relu().numpy()
        np.testing.assert_allclose(maps, cam, rtol=1e-3, atol=1e-4 * max(1e-6, cam.max()))


def test_ddt_reads_the_default_layer(name, network, images):
    """Breaks when DDT cannot read what its default tap gives: strides of a permuted map, too few dimensions."""
    from stages.ddt.ddt import Descriptors, transform

    names, descriptors = network.tap_names, Descriptors()
    with torch.inference_mode():
        (read,) = read_taps(network, [names.ddt_default], images)
        descriptors.append(read)
    assert transform(descriptors).maps.shape == (2, *read.shape[2:])


def test_a_training_step(name, network, images):
    """Breaks when parameters of some family get no gradient, or a step changes nothing."""
    network.train()
    with torch.no_grad():
        before = network.classifier.weight.clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    nn.functional.cross_entropy(network(images), torch.tensor([0, 1])).backward()
    body, head = network.trained_parameters()
    with_gradient = [name for name, parameter in body if parameter.grad is not None]
    assert len(with_gradient) > 0.8 * len(body)
    assert all(parameter.grad.isfinite().all() for _, parameter in head)
    optimiser.step()
    network.eval()
    assert not network.classifier.weight.equal(before)


@pytest.mark.parametrize(
    ("name", "kind", "prefix", "side"),
    [
        ("swin_tiny_patch4_window7_224", "channels_last", 0, 112),
        ("hiera_tiny_224", "tokens", 0, 224),
        ("vit_small_patch16_dinov3", "tokens", 5, 128),
        ("deit_tiny_distilled_patch16_224", "tokens", 2, 128),
    ],
)
def test_cells_are_where_their_pixels_are(name, kind, prefix, side):
    """Breaks when tokens are laid out by columns, registers pass for patches, or channels for rows.

    A change of the image's lower left corner changes the map most there, also where attention mixes all cells.
    """
    network = build(f"timm:{name}", 2).eval()
    assert isinstance(network.features, TimmFeatures)
    assert (network.features.form.kind, network.features.form.prefix) == (kind, prefix)
    images = torch.zeros(1, 3, side, side)
    with torch.inference_mode():
        before = network.features(images)
        images[:, :, -side // 4 :, : side // 4] = 3
        change = (network.features(images) - before).norm(dim=1)[0]
    height, width = change.shape
    row, column = divmod(int(change.argmax()), width)
    assert row >= height * 0.7
    assert column <= width * 0.3


def test_registers_are_no_patches():
    """Breaks when a transformer's registers shift its patches, or one of another grid than its own cannot be read."""
    name = "timm:vit_small_patch14_reg4_dinov2.lvd142m"
    assert input_size(name) == 518
    with torch.device("meta"):
        network = build(name, 7).eval()
        assert network.features(torch.empty(2, 3, 56, 56)).shape == (2, 384, 4, 4)
        assert network(torch.empty(2, 3, 56, 56)).shape == (2, 7)
    assert isinstance(network.features, PatchTokens)
    assert network.tap_path("keys") == "features.keys"


def test_the_layer_before_the_last_attention_explains_a_class_token():
    """Breaks when Grad-CAM of a transformer takes another layer, forgets a token, or lays patches out otherwise.

    By hand: gradient of the largest logit towards the output of the last block's first normalisation, its mean over
    the patches as weights of the patches' channels (Selvaraju et al., eq. 1 and 2), times their number.
    """
    pytest.importorskip("pytorch_grad_cam")
    from stages.gradcam.maps import gradient_maps

    network = build("timm:vit_tiny_patch16_224", CLASSES).eval()
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    maps, classes = gradient_maps(network, network.tap_path(network.tap_names.gradient_default), images, "gradcam")
    seen: list[torch.Tensor] = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        seen.append(output)

    norm = network.get_submodule("features.transformer.blocks.11.norm1")
    handle = norm.register_forward_hook(keep)
    logits = network(images)
    handle.remove()
    logits.gather(1, logits.argmax(dim=1, keepdim=True)).sum().backward()
    assert seen[0].grad is not None
    gradient, patches = seen[0].grad[:, 1:], seen[0][:, 1:]
    expected = (gradient.sum(dim=1, keepdim=True) * patches).sum(dim=2).relu().detach().view(2, 4, 3)
    assert classes.tolist() == logits.argmax(dim=1).tolist()
    assert maps.max() > 0
    np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "convnext_atto"])
def test_strides_are_removed(name):
    """Breaks when timm leaves the grid as it is, or weights of the network no longer fit."""
    plain, fine = (build(each, 2) for each in (f"timm:{name}", backbone_name(f"timm:{name}", 16)))
    assert fine.backbone == f"timm:{name}@16"
    assert input_size(fine.backbone) == input_size(plain.backbone)
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (plain, fine)]
    assert shapes[0] == shapes[1]
    with torch.inference_mode():
        sides = [each.eval().features(torch.zeros(1, 3, 64, 64)).shape[2] for each in (plain, fine)]
    assert sides == [2, 4]


def test_a_name_with_a_stride():
    """Breaks when a stride that timm cannot give, or of a network that is not timm's, is taken silently."""
    assert backbone_name("resnet50", 16) == "resnet50_s16"
    assert backbone_name("efficientnet_lite0", 8) == "efficientnet_lite0@8"
    assert backbone_name("timm:resnet18", None) == "timm:resnet18"
    assert backbone("efficientnet_lite0@16").options["output_stride"] == 16
    for name, said in [
        ("timm:densenet121@16", "has no output_stride 16"),
        ("timm:vit_tiny_patch16_224@8", "has no output_stride 8"),
        ("timm:resnet18@12", "unknown backbone"),
        ("vgg16@16", "unknown backbone"),
    ]:
        with pytest.raises(ValueError, match=said):
            build(name, 2)
    with pytest.raises(ValueError, match="must be one of 8, 16, 32"):
        backbone_name("timm:resnet18", 12)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_small_patch15", "timm knows no network 'vit_small_patch15'"),
        ("crossvit_9_240", "timm's crossvit_9_240 gives no map of features"),
    ],
)
def test_what_is_no_network_with_a_map(name, said):
    """Breaks when a typing error, or a network without a grid of features, fails in the middle of a forward pass."""
    with pytest.raises(ValueError, match=said):
        build(f"timm:{name}", 2)


def test_the_entry_of_lite0_is_what_the_network_says():
    """Breaks when the table, which is read without timm, lists other layers or defaults than the network has."""
    entry, found = backbone("efficientnet_lite0").tap_names, timm_structure("tf_efficientnet_lite0").tap_names
    assert (dict(entry.main), entry.ddt_default) == (dict(found.main), found.ddt_default)
    assert entry.gradient_default == found.gradient_default


@pytest.mark.parametrize(
    ("name", "ddt"),
    [
        ("mobilenetv2_050", "blocks.5"),
        ("mobilenetv3_small_050", "blocks.4"),
        ("mobilenetv1_100", "features"),  # the stage before the last has a finer grid
        ("resnet18", "features"),
    ],
)
def test_ddt_reads_the_stage_before_the_last_of_efficient_networks(name, ddt):
    """Breaks when the measured default is lost, or spreads to networks where it was not measured."""
    assert timm_structure(name).tap_names.ddt_default == ddt


@pytest.mark.parametrize(
    "name", ["deit_tiny_distilled_patch16_224", "levit_128s", "efficientformer_l1", "swiftformer_xs", "volo_d1_224"]
)
def test_published_weights_of_several_heads_fit_below_them(name):
    """Breaks when heads of distillation or of tokens, which nothing here reads, keep a network from loading."""
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    loaded = fit(meta_network(f"timm:{name}", 2), state, name, False)
    assert loaded.fresh == ("classifier",)
    assert loaded.unused


@pytest.mark.parametrize(
    ("name", "cam"), [("levit_128s", "features"), ("resnet18", "exact"), ("convnext_atto", "gradient")]
)
def test_published_classes_count_where_they_can_be_had(name, cam):
    """Breaks when maps of published classes are promised of a head that cannot be taken."""
    assert described(f"timm:{name}").cam == cam


def test_a_network_is_seen_the_same_under_inference_mode():
    """Breaks when whoever asks first inside inference mode makes a network lose its maps for the whole process."""
    timm_structure.cache_clear()
    with torch.inference_mode():
        assert build("timm:resnet18", 2).has_cam
    timm_structure.cache_clear()


def test_layers_over_three_dimensions_have_no_channels_last():
    """Breaks when a network with a 3D convolution fails as it is moved to its device."""
    network = channels_last(nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv2d(4, 2, 3)), "cpu")
    assert network.get_parameter("1.weight").is_contiguous(memory_format=torch.channels_last)
    assert network.get_parameter("0.weight").shape == (2, 1, 3, 3, 3)
