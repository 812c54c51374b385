from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from stages.vision.backbones import WeightsError, build, load_weights, weights_hash

NAME = "mobilenet_v2"


def other_weights(num_classes=3):
    return build(NAME, num_classes, seed=9)


def test_scratch_keeps_the_seeded_weights():
    """Scratch must be as reproducible as any file: its hash is part of the recipes below it."""
    assert load_weights(build(NAME, 3), "scratch") == weights_hash(build(NAME, 3))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_own_files(tmp_path, suffix):
    """The same weights must have the same name in either format."""
    path = tmp_path / f"weights{suffix}"
    state = other_weights().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = build(NAME, 3)
    assert load_weights(network, str(path)) == weights_hash(other_weights()) == weights_hash(network)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_torchvision_layout(tmp_path, name):
    """Published weights loaded under wrong names would leave layers at random without a word."""
    torch.manual_seed(5)
    published = torchvision.models.get_model(name, num_classes=4).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = build(name, 4).eval()
    load_weights(network, str(tmp_path / "published.pth"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), published(images))


def test_vgg_layout_has_no_gap_head(tmp_path):
    """Taking fc8 for a GAP head, or leaving the head at random silently, would give meaningless maps."""
    state = {key: value for key, value in build("vgg16", 2, seed=9).state_dict().items() if key.startswith("features")}
    state |= {f"classifier.{i}.{kind}": torch.zeros(2) for i in (0, 3, 6) for kind in ("weight", "bias")}
    torch.save(state, tmp_path / "vgg.pth")
    network = build("vgg16", 2)
    with pytest.raises(WeightsError, match="fresh head"):
        load_weights(network, str(tmp_path / "vgg.pth"))
    load_weights(network, str(tmp_path / "vgg.pth"), keep_head=False)
    torch.testing.assert_close(network.get_parameter("features.0.weight"), state["features.0.weight"])
    torch.testing.assert_close(network.classifier.weight, build("vgg16", 2).classifier.weight)


def test_other_number_of_classes(tmp_path):
    """A head of another size must be an error unless a fresh one was asked for."""
    torch.save(other_weights(5).state_dict(), tmp_path / "five.pth")
    with pytest.raises(WeightsError, match=r"classifier\.\w+ is"):
        load_weights(build(NAME, 3), str(tmp_path / "five.pth"))
    load_weights(build(NAME, 3), str(tmp_path / "five.pth"), keep_head=False)


def test_bad_files(tmp_path):
    """Missing, damaged, pickled or foreign files are one clear line each."""
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"12345678901234567890")
    pickled = tmp_path / "pickled.pth"
    torch.save({"weights": pytest.approx(1)}, pickled)
    listed = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], listed)
    foreign = tmp_path / "foreign.pth"
    torch.save({"encoder.weight": torch.zeros(1)}, foreign)
    for path, message in (
        (tmp_path / "absent.pth", "does not exist"),
        (damaged, "cannot be read"),
        (pickled, "cannot be read"),
        (listed, "no state dict"),
        (foreign, "do not fit"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_weights(build(NAME, 3), str(path))


def test_published_weights_that_cannot_be_fetched(monkeypatch):
    """Without a network the user must read which file to put where."""

    def offline(*_args, **_kwargs):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"put mobilenet_v2-\w+\.pth into .*checkpoints"):
        load_weights(build(NAME, 1000), "MobileNet_V2_Weights.IMAGENET1K_V1")


def test_unknown_published_weights():
    """A misspelt name must not look like a network failure."""
    with pytest.raises(WeightsError, match=r"MobileNet_V2_Weights\.IMAGENET1K_V1"):
        load_weights(build(NAME, 3), "MobileNetV2_Weights.IMAGENET1K_V1")


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
