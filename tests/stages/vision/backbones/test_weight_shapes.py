import fsspec
import pytest
import torch
from safetensors.torch import save_file

from stages.vision.backbones import sources
from stages.vision.backbones.meta import meta_network
from stages.vision.backbones.registry import BACKBONES
from stages.vision.backbones.sources import WeightsError, read_state
from stages.vision.backbones.weight_shapes import weight_shapes
from stages.vision.backbones.weights import fit

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones((), dtype=torch.float16)}
NESTED = {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}, "epoch": 3}

PUBLISHED = {
    "mobilenet_v2": "MobileNet_V2_Weights.IMAGENET1K_V1",
    "mobilenet_v2_s8": "MobileNet_V2_Weights.IMAGENET1K_V2",
    "vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "vgg16_gap": "VGG16_Weights.IMAGENET1K_V1",
    "vgg16_cam": "VGG16_Weights.IMAGENET1K_V1",
    "vgg16_acol": "VGG16_Weights.IMAGENET1K_FEATURES",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
    "resnet50_s8": "ResNet50_Weights.IMAGENET1K_V1",
    "resnet50_acol28": "ResNet50_Weights.IMAGENET1K_V1",
    "seresnet50": "timm:seresnet50.ra2_in1k",
    "inception_v3": "Inception_V3_Weights.IMAGENET1K_V1",
    "inception_v3_spg": "Inception_V3_Weights.IMAGENET1K_V1",
    "densenet161": "DenseNet161_Weights.IMAGENET1K_V1",
    "efficientnet_b7": "EfficientNet_B7_Weights.IMAGENET1K_V1",
    "vit_s16": "timm:vit_small_patch16_224.dino",
    "vit_s16_gap": "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "old.pth", "nested.pth"])
@pytest.mark.parametrize("remote", [False, True])
def test_shapes_are_those_of_the_whole_file(name, remote, tmp_path, monkeypatch):
    """Breaks when planning judges other names or shapes than the training will read, or reads the values."""
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(STATE, path)
    else:
        whole = NESTED if name.startswith("nested") else STATE
        torch.save(whole, path, _use_new_zipfile_serialization=not name.startswith("old"))
    source = str(path)
    if remote:
        source = f"memory://shapes/{name}"
        fsspec.filesystem("memory").pipe_file(f"/shapes/{name}", path.read_bytes())
    expected = {key: tensor.shape for key, tensor in read_state(source).items()}
    monkeypatch.setattr(sources, "_bytes", lambda source: pytest.fail("the whole file was read"))
    shapes = weight_shapes(source)
    if remote and name.endswith("pth"):
        assert shapes is None
        return
    assert shapes is not None
    assert {key: tensor.shape for key, tensor in shapes.items()} == expected
    assert {tensor.device.type for tensor in shapes.values()} == {"meta"}


@pytest.mark.parametrize(("length", "behind"), [(8, b""), (2**40, b"{}"), (2, b"[]"), (4, b"{}")])
def test_a_remote_file_that_is_no_safetensors_is_refused(length, behind):
    """Breaks when a header that claims more than the file holds is believed, or fills the memory."""
    fsspec.filesystem("memory").pipe_file("/shapes/bad.safetensors", length.to_bytes(8, "little") + behind)
    with pytest.raises(WeightsError, match="cannot be read"):
        weight_shapes("memory://shapes/bad.safetensors")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_fit_their_network(name, monkeypatch):
    """Breaks when weights that a training can start from are refused beforehand, or when they are fetched for it."""
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("weights were fetched"))
    shapes = weight_shapes(PUBLISHED[name])
    assert shapes is not None
    fit(meta_network(name, 2), shapes, PUBLISHED[name], keep_head=False)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_takes_images_of_its_size(name):
    """Breaks when a network of the table cannot be judged without weights, and every config with it is refused."""
    assert meta_network(name, 2).classifier.weight.device.type == "meta"
