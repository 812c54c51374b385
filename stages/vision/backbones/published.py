"""The preprocessing and input size that a source of weights declares."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import fsspec
from fsspec.core import url_to_fs

from stages.vision.backbones.registry import backbone
from stages.vision.backbones.weight_names import LITE0, SCRATCH, SUFFIXES, TIMM, is_file
from stages.vision.preprocessing import IMAGENET, LARGEST_INPUT, Preprocessing, read_preprocessing

__all__ = ["Published", "card_beside", "published"]

_LITE0 = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, "bicubic", 0.875)
"""As in the package's example and in Google's training: (x - 127) / 128 of pixels from 0 to 255."""

_FIELDS = {"mean": "mean", "std": "deviation", "interpolation": "interpolation", "crop_pct": "crop"}
"""timm's field -> our field."""

_SIZE = "input_size"
_PRETRAINED = "pretrained_cfg"
"""The key of the hub's config.json that holds timm's fields."""


class Published(NamedTuple):
    """The preprocessing of images, and the side of the network's input in pixels, None if not declared."""

    preprocessing: Preprocessing
    input_size: int | None = None


def published(source: str, network: str, card: str | None = None, *, found: bool = False) -> Published:
    """The preprocessing of a source of weights, for a network of the table of backbones.

    Torchvision's weights declare it in their transforms, timm's in their pretrained_cfg, files in a card: JSON with
    timm's fields (mean, std, input_size, interpolation, crop_pct), at its top or under pretrained_cfg. Fields that a
    card lacks, and files without a card, get the network's default: timm's for networks of timm, otherwise ImageNet's.
    `scratch` gets ImageNet's.

    card: a path or URI. found: the card was found beside the file, not named by the user; it is ignored if it has none
    of the fields.

    Raises: WeightsError for an unknown name, ModuleNotFoundError without timm, ValueError for an invalid card.
    """
    if source == LITE0:
        return Published(_LITE0, 224)
    said = _of(source, network) if card is None else _of_card(card, _usual(network), found)
    if backbone(network).rescales:
        same = said.preprocessing
        return said._replace(preprocessing=Preprocessing(interpolation=same.interpolation, crop=same.crop))
    return said


def _of(source: str, network: str) -> Published:
    if source == SCRATCH:
        return Published(IMAGENET)
    if source.startswith(TIMM):
        return _of_timm(source.removeprefix(TIMM))
    if not is_file(source):
        return _of_torchvision(source)
    return _usual(network)


def _usual(network: str) -> Published:
    """The default of a network whose weights declare nothing."""
    name = network.partition("@")[0]
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM))
    return Published(_LITE0 if name == "efficientnet_lite0" else IMAGENET)


def _of_timm(name: str) -> Published:
    from stages.vision.backbones.libraries import timm_config  # brings torch along

    config = timm_config(name)
    return Published(IMAGENET) if config is None else _of_fields(config.to_dict(), Published(IMAGENET))


def _of_torchvision(name: str) -> Published:
    from stages.vision.backbones.sources import torchvision_weights  # brings torch along

    shown = torchvision_weights(name).transforms()
    side, resized = shown.crop_size[0], shown.resize_size[0]
    interpolation = "bicubic" if shown.interpolation.value == "bicubic" else "bilinear"
    said = {
        "mean": list(shown.mean),
        "deviation": list(shown.std),
        "interpolation": interpolation,
        "crop": side / resized,
    }
    return Published(read_preprocessing(said), side)


def card_beside(source: str) -> str | None:
    """The card of a file of weights: <name>.json, or config.json in its folder, as on the hub; None without one."""
    filesystem, _ = url_to_fs(source)
    folder, slash, name = source.rpartition("/")
    suffix = next(end for end in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(end))
    for place in (f"{folder}{slash}{name.removesuffix(suffix)}.json", f"{folder}{slash}config.json"):
        if filesystem.isfile(place):
            return place
    return None


def _of_card(card: str, usual: Published, found: bool) -> Published:
    where = f"card {card}"
    try:
        with fsspec.open(card, "rb") as file:
            said = json.loads(file.read())
    except FileNotFoundError as error:
        raise ValueError(f"{where} does not exist") from error
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON: {error}") from error
    fields = said.get(_PRETRAINED, said) if isinstance(said, dict) else said
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is no JSON object")
    if not fields.keys() & {*_FIELDS, _SIZE}:
        if found:
            return usual
        raise ValueError(f"{where} has none of {', '.join(sorted((*_FIELDS, _SIZE)))}")
    try:
        return _of_fields(fields, usual)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _of_fields(fields: Mapping[str, object], usual: Published) -> Published:
    """Read timm's fields; missing ones are taken from `usual`. Raises ValueError for invalid values."""
    said = usual.preprocessing.said() | {ours: fields[theirs] for theirs, ours in _FIELDS.items() if theirs in fields}
    said["interpolation"] = "bicubic" if said["interpolation"] == "bicubic" else "bilinear"
    size = fields.get(_SIZE, usual.input_size)
    side = size[-1] if isinstance(size, list | tuple) and size else size
    if side is not None and (isinstance(side, bool) or not isinstance(side, int) or not 0 < side <= LARGEST_INPUT):
        raise ValueError(f"input_size must be 1 to {LARGEST_INPUT} pixels, not {str(size)[:20]}")
    return Published(read_preprocessing(said), side)
