"""Names and shapes of the tensors of a source of weights; no more than a header is fetched."""

import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from safetensors import safe_open

from stages.vision.backbones.sources import (
    WeightsError,
    packaged_state,
    place_on_hub,
    state_of,
    torchvision_weights,
    unpickled,
    without_prefixes,
)
from stages.vision.backbones.weight_names import PACKAGE, SAFETENSORS, TIMM, is_file

__all__ = ["weight_shapes"]

Shapes = dict[str, torch.Tensor]


def weight_shapes(source: str) -> Shapes | None:
    """The result of `read_state`, on torch's meta device; None if the whole source would have to be fetched.

    The shapes of published weights are those of the network that they are published for. None is returned for pickled
    files that are not on this disk.

    Raises: WeightsError when the source is missing or misspelt, cannot be read, or holds no state dict.
    """
    if source.startswith(TIMM):
        return without_prefixes(_of_timm(source), source)
    if source.startswith(PACKAGE):
        return packaged_state(source, "meta")
    found = _of_file(source) if is_file(source) else _of_torchvision(source)
    return None if found is None else without_prefixes(found, source)


def _of_file(source: str) -> Shapes | None:
    try:
        filesystem, path = url_to_fs(source)
        info = filesystem.info(path)
        if info["type"] != "file":
            raise WeightsError(f"weights {source} are no file")
        if source.endswith(SAFETENSORS):
            with _header_of(filesystem, path, info["size"]) as local:
                return _safetensors_shapes(local)
        found = _pickled_shapes(path) if isinstance(filesystem, LocalFileSystem) else None
    except WeightsError:
        raise
    except FileNotFoundError as error:
        raise WeightsError(f"weights file {source} does not exist") from error
    except Exception as error:  # file systems and torch raise many types
        raise WeightsError(f"weights file {source} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return None if found is None else state_of(found, source)


@contextmanager
def _header_of(filesystem: Any, path: str, size: int) -> Iterator[str]:
    """A local file with the header and the length of a safetensors file, but no values behind the header."""
    if isinstance(filesystem, LocalFileSystem):
        yield path
        return
    first = filesystem.cat_file(path, start=0, end=8)
    length = min(int.from_bytes(first, "little"), size)
    with tempfile.NamedTemporaryFile(suffix=SAFETENSORS) as file:
        file.write(filesystem.cat_file(path, start=0, end=8 + length))
        file.truncate(size)
        file.flush()
        yield file.name


def _safetensors_shapes(path: str) -> Shapes:
    with safe_open(path, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _pickled_shapes(path: str) -> Any:
    """The content of a file of `torch.save`, tensors on the meta device; those of a zip file are not read at all."""
    return unpickled(path, device="meta", mmap=zipfile.is_zipfile(path))


def _of_torchvision(name: str) -> Shapes:
    """The state of the torchvision network that published weights belong to."""
    import torchvision  # slow to import, see networks.py

    weights = torchvision.models.get_model_weights
    chosen = torchvision_weights(name)
    for model in torchvision.models.list_models(module=torchvision.models):
        if chosen in weights(model):
            return _state(torchvision.models.get_model, model, weights=None)
    raise WeightsError(f"weights {name} are of no classifier of torchvision: choose those of the backbone")


def _of_timm(source: str) -> Shapes:
    """The state of the timm network that published weights belong to."""
    place_on_hub(source)
    import timm  # brings torchvision along

    return _state(timm.create_model, source.removeprefix(TIMM), pretrained=False)


def _state(make: Any, name: str, **options: Any) -> Shapes:
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):  # about values, which do not exist here
        state: Mapping[str, torch.Tensor] = make(name, **options).state_dict()
    return dict(state)
