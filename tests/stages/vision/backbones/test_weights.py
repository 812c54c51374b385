import argparse

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from stages.vision.backbones.build import build
from stages.vision.backbones.sources import WeightsError
from stages.vision.backbones.weights import Loaded, load_state, load_weights, weights_hash
from tests.stages.vision.backbones.made import meta_network

NAME = "mobilenet_v2"


@pytest.fixture
def no_hash(monkeypatch):
    """Networks on device meta have no bytes to hash."""
    monkeypatch.setattr("stages.vision.backbones.weights.weights_hash", lambda network: "")


def other_weights(num_classes=3):
    return build(NAME, num_classes, seed=9)


def test_scratch_keeps_the_seeded_weights():
    """Scratch must be as reproducible as any file: its hash is part of the recipes below it."""
    assert load_weights(build(NAME, 3), "scratch") == Loaded(weights_hash(build(NAME, 3)), (), ())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_own_files(tmp_path, suffix):
    """The same weights must have the same name in either format."""
    path = tmp_path / f"weights{suffix}"
    state = other_weights().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = build(NAME, 3)
    loaded = load_weights(network, str(path))
    assert loaded == Loaded(weights_hash(other_weights()), (), ())
    assert loaded.hash == weights_hash(network)


@pytest.mark.parametrize(
    ("name", "published", "side"),
    [
        ("mobilenet_v2", lambda: torchvision.models.mobilenet_v2(num_classes=4), 64),
        ("resnet50", lambda: torchvision.models.resnet50(num_classes=4), 64),
        ("densenet161", lambda: torchvision.models.densenet161(num_classes=4), 64),
        ("seresnet50", lambda: timm.create_model("seresnet50", num_classes=4), 64),
        ("vit_s16", lambda: timm.create_model("vit_small_patch16_224", num_classes=4), 224),
    ],
)
def test_published_layouts(name, published, side):
    """Breaks when published weights are loaded under wrong names, or a layer between differs: other logits."""
    torch.manual_seed(5)
    theirs = published().eval()
    network = build(name, 4).eval()
    loaded = load_state(network, theirs.state_dict(), "published")
    assert (loaded.fresh, loaded.unused) == ((), ())
    images = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), theirs(images), atol=1e-4, rtol=1e-4)


def test_published_inception():
    """Breaks when Inception's layers, rescaled input or auxiliary classifier are not those of the published network."""
    torch.manual_seed(5)
    theirs = torchvision.models.inception_v3(init_weights=False, transform_input=True).eval()
    network = build("inception_v3", 1000).eval()
    loaded = load_state(network, theirs.state_dict(), "published")
    assert (loaded.fresh, loaded.unused) == ((), ())
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), theirs(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.get_parameter("auxiliary.fc.weight"), theirs.AuxLogits.fc.weight)


META = {
    "efficientnet_b7": lambda: torchvision.models.efficientnet_b7(),
    "vgg16": lambda: torchvision.models.vgg16(),
    "mobilenet_v2_s8": lambda: torchvision.models.mobilenet_v2(),
    "resnet50_s8": lambda: torchvision.models.resnet50(),
}


@pytest.mark.parametrize("name", META)
def test_published_names_all_have_a_place(name, no_hash):
    """Breaks when a layer of a large network has no place under its published name (names and shapes alone)."""
    with torch.device("meta"):
        state = META[name]().state_dict()
    assert load_state(meta_network(name), state, "published") == Loaded("", (), ())


def test_vgg_of_timm_has_fc6_and_fc7_as_convolutions(no_hash):
    """Breaks when VGG's fully connected layers, published as 7x7 convolutions by timm, are refused."""
    with torch.device("meta"):
        state = timm.create_model("vgg16").state_dict()
    assert state["pre_logits.fc1.weight"].ndim == 4
    assert load_state(meta_network("vgg16"), state, "published") == Loaded("", (), ())


def test_files_of_2017(tmp_path):
    """Breaks when DenseNet's published file (norm.1 for norm1), or one without batch counters, no longer loads."""
    state = build("densenet161", 2, seed=3).state_dict()
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert old.keys() - state.keys()
    network = build("densenet161", 2)
    assert load_state(network, old, "old") == Loaded(weights_hash(build("densenet161", 2, seed=3)), (), ())


FC = ("classifier.0", "classifier.3", "classifier.6")


def test_vgg_layout_has_no_gap_head():
    """Taking fc8 for a GAP head, or leaving a head at random without a word, would give meaningless maps."""
    state = {name: tensor for name, tensor in build("vgg16_gap", 2, seed=9).state_dict().items() if "features" in name}
    state |= {f"{layer}.{kind}": torch.zeros(2) for layer in FC for kind in ("weight", "bias")}
    network = build("vgg16_gap", 2)
    seeded = network.classifier.weight.clone()
    with pytest.raises(WeightsError, match="fresh head"):
        load_state(network, state, "vgg.pth")
    loaded = load_state(network, state, "vgg.pth", keep_head=False)
    assert loaded == Loaded(weights_hash(network), ("classifier",), FC)
    torch.testing.assert_close(network.get_parameter("features.0.weight"), state["features.0.weight"])
    assert torch.equal(network.classifier.weight, seeded)


@pytest.mark.parametrize("name", ["vgg16_cam", "vgg16_acol", "vgg16_acol28"])
def test_convolutions_of_a_head_start_fresh_and_are_named(name, no_hash):
    """Breaks when VGG's published weights do not fit a network with a head, or the head's state goes unmentioned."""
    with torch.device("meta"):
        state = torchvision.models.vgg16().state_dict()
    loaded = load_state(meta_network(name), state, "published", keep_head=False)
    assert loaded == Loaded("", ("head", "classifier"), FC)


def test_convolutions_behind_resnet_start_fresh(no_hash):
    """Breaks when I2C's ResNet-50 takes the published classifier, which reads other numbers, or refuses the file."""
    with torch.device("meta"):
        state = torchvision.models.resnet50().state_dict()
    loaded = load_state(meta_network("resnet50_acol28"), state, "published", keep_head=False)
    assert loaded == Loaded("", ("head", "classifier"), ("fc",))


def test_wsolevaluation_vgg_brings_its_head(no_hash):
    """Breaks when the checkpoints of the common benchmark lose their extra convolution or their classifier."""
    state = meta_network("vgg16_cam").state_dict()
    theirs = {name.replace("head.", "").replace("classifier.", "fc."): tensor for name, tensor in state.items()}
    assert {"conv6.weight", "fc.weight"} <= theirs.keys()
    assert load_state(meta_network("vgg16_cam"), theirs, "wsol") == Loaded("", (), ())


def test_spg_inception_says_what_it_leaves(no_hash):
    """Breaks when the cut Inception drops layers without a word, or refuses the file for having them."""
    with torch.device("meta"):
        state = torchvision.models.inception_v3(init_weights=False).state_dict()
    loaded = load_state(meta_network("inception_v3_spg"), state, "published", keep_head=False)
    assert loaded.fresh == ("head", "classifier")
    assert loaded.unused == ("AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc")


def test_an_auxiliary_classifier_of_other_classes_stays_fresh():
    """Breaks when the classifier that nothing uses keeps good weights from being loaded, or is swapped in silence."""
    state = dict(build("inception_v3", 2, seed=1).state_dict())
    state["auxiliary.fc.weight"] = torch.zeros(7, 768)
    loaded = load_state(build("inception_v3", 2), state, "other")
    assert (loaded.fresh, loaded.unused) == (("auxiliary",), ("auxiliary",))


def test_self_supervised_weights_without_a_classifier():
    """Breaks when DINO's nested, prefixed teacher with its projection head fits no longer, or fits in silence."""
    body = build("vit_s16", 3, seed=4).get_submodule("features.transformer").state_dict()
    state = {**body, "head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_g": torch.zeros(2, 1)}
    network = build("vit_s16_gap", 3)
    with pytest.raises(WeightsError, match=r"have no classifier\.\w+ that fits .*keep_head: false"):
        load_state(network, state, "dino.pth")
    loaded = load_state(network, state, "dino.pth", keep_head=False)
    assert (loaded.fresh, loaded.unused) == (("classifier",), ("head",))
    torch.testing.assert_close(network.get_parameter("features.transformer.pos_embed"), body["pos_embed"])


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda body: {
            "teacher": {f"module.backbone.{name}": tensor for name, tensor in body.items()},
            "student": {},
            "args": argparse.Namespace(arch="vit_small"),
        },
        lambda body: {"teacher": {f"backbone.{name}": tensor for name, tensor in body.items()}},
        lambda body: {"state_dict": {f"module.{name}": tensor for name, tensor in body.items()}},
    ],
    ids=["bare", "teacher with module.backbone.", "teacher with backbone.", "module."],
)
def test_dino_files(tmp_path, wrap):
    """Breaks when DINO's files, headless or with a projection head, no longer fill ViT-S/16 with all their layers."""
    theirs = timm.create_model("vit_small_patch16_224", num_classes=0).eval()
    torch.manual_seed(3)
    state = {name: torch.randn_like(tensor) * 0.02 for name, tensor in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    projection = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_v": torch.zeros(2, 2)}
    wrapped = wrap(state if wrap is dict else {**state, **projection})
    torch.save(wrapped, tmp_path / "dino.pth")
    network = build("vit_s16", 3).eval()
    loaded = load_weights(network, str(tmp_path / "dino.pth"), keep_head=False)
    assert loaded.fresh == ("classifier",)
    assert loaded.unused == (() if wrap is dict else ("head",))
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs.forward_features(images)[:, 1:].mT  # type: ignore[operator]
        torch.testing.assert_close(network.features(images).flatten(2), expected, atol=1e-4, rtol=1e-4)


def test_other_number_of_classes():
    """A head of another size must be an error unless a fresh one was asked for, and then be reported."""
    five = other_weights(5).state_dict()
    with pytest.raises(WeightsError, match=r"head of another size, classifier\.\w+ is .*keep_head: false"):
        load_state(build(NAME, 3), five, "five.pth")
    loaded = load_state(build(NAME, 3), five, "five.pth", keep_head=False)
    assert (loaded.fresh, loaded.unused) == (("classifier",), ("classifier",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.0.0.weight"), r"missing \['features.0.0.weight'\]"),
        (lambda state: state.update({"decoder.weight": torch.zeros(1)}), r"unexpected \['decoder.weight'\]"),
        (lambda state: state.update({"features.0.0.weight": torch.zeros(1, 3, 3, 3)}), r"features.0.0.weight is \(1,"),
        (lambda state: state.update({"classifier.1.weight": torch.zeros(3, 1280)}), "twice"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    """Breaks when a layer stays at random, or one is ignored, without belonging to a head; the network is untouched."""
    state = dict(other_weights().state_dict())
    change(state)
    network = build(NAME, 3)
    with pytest.raises(WeightsError, match=message):
        load_state(network, state, "bad.pth", keep_head=False)
    assert weights_hash(network) == weights_hash(build(NAME, 3))


def test_hash_sees_names_shapes_and_values():
    """Two different networks with one name would share cached results."""
    one, two = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        two.weight.copy_(one.weight.view(1, 4))
    assert weights_hash(one) != weights_hash(two)
    before = weights_hash(one)
    with torch.no_grad():
        one.weight[0, 0] += 1e-6
    assert weights_hash(one) != before


def test_a_head_that_lost_a_layer_on_the_way_is_refused(tmp_path):
    """Breaks when a classifier that was trained on conv7 is kept behind conv6, and its maps mean nothing."""
    torch.save(build("vgg16_acol", 2, seed=9).state_dict(), tmp_path / "acol.pth")
    with pytest.raises(WeightsError, match=r"have head\.conv7\.\w+, which this network's head lacks"):
        load_weights(build("vgg16_cam", 2), str(tmp_path / "acol.pth"))
    assert load_weights(build("vgg16_cam", 2), str(tmp_path / "acol.pth"), keep_head=False).fresh == ("classifier",)
