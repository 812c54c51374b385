import sys
from types import SimpleNamespace
from urllib.error import URLError

import fsspec
import huggingface_hub
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from stages.vision.backbones.build import build
from stages.vision.backbones.sources import WeightsError, read_state
from stages.vision.backbones.weight_names import is_file
from stages.vision.backbones.weights import load_weights

STATE = {"a.weight": torch.arange(3.0), "b.bias": torch.ones(1)}
DINO = "timm:vit_small_patch16_224.dino"


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "arch": "resnet50"},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"teacher": {f"backbone.{name}": t for name, t in state.items()}, "student": {}},
        lambda state: {"model": {f"module.model.{name}": t for name, t in state.items()}},
    ],
)
def test_exports_are_unwrapped(tmp_path, wrap):
    """Breaks when a checkpoint as training scripts save it (nested, wrapped, beside counters) is no state dict."""
    torch.save(wrap(STATE), tmp_path / "w.pth")
    assert same(read_state(str(tmp_path / "w.pth")), STATE)


def test_one_name_under_two_prefixes_is_an_error(tmp_path):
    """Breaks when one of two tensors silently wins."""
    torch.save({"a": torch.zeros(1), "module.a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="a twice"):
        read_state(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_remote_files(tmp_path, name):
    """Breaks when weights in an object store must be copied by hand first, or a missing one looks damaged."""
    local = tmp_path / name
    save_file(STATE, local) if name.endswith("safetensors") else torch.save(STATE, local)
    with fsspec.open(f"memory://weights/{name}", "wb") as file:
        file.write(local.read_bytes())
    assert same(read_state(f"memory://weights/{name}"), STATE)
    assert same(read_state(local.as_uri()), STATE)
    with pytest.raises(WeightsError, match=f"memory://absent/{name} does not exist"):
        read_state(f"memory://absent/{name}")


def test_what_is_a_file():
    """Breaks when a published name is taken for a file, whose absence is then reported in its place."""
    assert [is_file(name) for name in ("a/b.pth", "s3://b/w.safetensors", "w.pt")] == [True] * 3
    assert not any(is_file(name) for name in ("scratch", "VGG16_Weights.IMAGENET1K_V1", "timm:resnet50.pt"))


def test_bad_files(tmp_path):
    """Missing, damaged, pickled, endless or foreign files are one clear line each."""
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"12345678901234567890")
    pickled = tmp_path / "pickled.pth"
    torch.save({"weights": pytest.approx(1)}, pickled)
    listed = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], listed)
    empty = tmp_path / "empty.pth"
    torch.save({"model": {}}, empty)
    foreign = tmp_path / "foreign.pth"
    torch.save({"encoder.weight": torch.zeros(1)}, foreign)
    endless: dict[str, object] = {}
    endless["state_dict"] = endless
    files = {
        "endless": (endless, "no state dict"),
        "numbered": ({1: torch.zeros(1)}, "'1' is no name of a layer"),
        "sparse": ({"a": torch.eye(3).to_sparse()}, "a is no plain tensor of numbers .sparse_coo"),
        "complex": (
            {"a": torch.zeros(1, dtype=torch.complex64)},
            "a is no plain tensor of numbers .strided, complex64",
        ),
        "quantised": ({"a": torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.qint8)}, "a is no plain tensor"),
    }
    for name, (content, _) in files.items():
        torch.save(content, tmp_path / f"{name}.pth")
    for path, message in (
        (tmp_path / "absent.pth", "does not exist"),
        (damaged, "cannot be read"),
        (pickled, "cannot be read"),
        (listed, "no state dict"),
        (empty, "no state dict"),
        (foreign, "do not fit"),
        *((tmp_path / f"{name}.pth", said) for name, (_, said) in files.items()),
    ):
        with pytest.raises(WeightsError, match=message):
            load_weights(build("smallnet", 3), str(path))


def test_torchvision_weights_that_cannot_be_fetched(monkeypatch):
    """Without a network the user must read which file to put where."""

    def offline(*_args, **_kwargs):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"put mobilenet_v2-\w+\.pth into .*checkpoints"):
        read_state("MobileNet_V2_Weights.IMAGENET1K_V1")


def test_unknown_names():
    """A misspelt name must not look like a network failure."""
    with pytest.raises(WeightsError, match=r"MobileNet_V2_Weights\.IMAGENET1K_V1"):
        read_state("MobileNetV2_Weights.IMAGENET1K_V1")
    for name in ("vit_small_patch16_224.dinoX", "vit_smal_patch16_224.dino"):
        with pytest.raises(WeightsError, match=rf"nearest .* {DINO}$"):
            read_state(f"timm:{name}")


def test_timm_weights_that_cannot_be_fetched(monkeypatch):
    """Without a network the user must read which file of which repository to fetch, in one line."""

    def offline(*_args, **_kwargs):
        raise OSError("no route\nand much more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError) as error:
        read_state(DINO)
    assert "fetch model.safetensors of the hub's repository timm/vit_small_patch16_224.dino" in str(error.value)
    assert "no route" in str(error.value)
    assert "\n" not in str(error.value)


def test_timm_weights_are_read_from_the_hub(monkeypatch, tmp_path):
    """Breaks when the file that the hub's client brings is not what is read, or the wrong one is asked for."""
    save_file(STATE, tmp_path / "model.safetensors")
    asked = SimpleNamespace(of=None)

    def fetched(repository, file):
        asked.of = (repository, file)
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    assert same(read_state(DINO), STATE)
    assert asked.of == ("timm/vit_small_patch16_224.dino", "model.safetensors")


def test_timm_weights_without_timm(monkeypatch):
    """Breaks when a machine without timm gets a traceback for a name that only timm knows."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WeightsError, match=r"pip install 'weakbox\[timm\]'"):
        read_state(DINO)
