"""The command `backbones`: which networks there are, and which layers of one can be read. It needs no run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobs import output
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from stages.vision.backbones.registry import BACKBONES

if TYPE_CHECKING:
    from stages.vision.backbones.description import Described


@click.command()
@click.argument("name", required=False)
@click.option("--size", type=click.IntRange(1, 2**14), help="Side of the network's input, pixels; its own by default.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is stdout.")
def backbones(name: str | None, size: int | None, json_file: str | None) -> None:
    """Show the built-in networks, or of one network its layers and how maps of its classes are made.

    NAME is one of the table, or timm:NAME for any network of timm, followed by @8 or @16 where strides are removed. CAM
    is exact where the classifier is average pooling and one linear layer; gradient where stage gradcam is needed;
    features where published weights have no classes.
    """
    if name is None:
        if size is not None:
            raise UsageError("backbones: --size goes with a NAME")
        _list(json_file)
        return
    with _one_line():
        from stages.vision.backbones.description import described  # brings torch along

        found = described(name, size)
    if json_file:
        output.write_json(json_file, _json(found))
        return
    _show(found)


def _list(json_file: str | None) -> None:
    """The table of backbones; nothing is built."""
    entries = BACKBONES.values()
    if json_file:
        rows = [{"name": e.name, "input_size": e.input_size, "cam": e.cam, "taps": list(e.taps)} for e in entries]
        output.write_json(json_file, rows)
        return
    rows_shown = [(entry.name, entry.input_size, entry.cam, ", ".join(entry.taps)) for entry in entries]
    output.table(("name", "input", "CAM", "taps"), rows_shown)
    output.say("timm:<name> is any network of timm; weakbox backbones timm:<name> shows its layers")


def _show(found: "Described") -> None:
    trained = "" if found.trained_cam == found.cam else f"; {found.trained_cam} once a head is trained"
    shown = found.preprocessing
    strides = ", ".join(map(str, found.output_strides)) or "its own alone"
    output.say(f"{found.name} at {found.input_size} pixels")
    output.say(f"CAM: {found.cam}{trained}")
    output.say(f"output_stride: {strides}")
    output.say(
        f"published weights: mean {_colours(shown.mean)}, deviation {_colours(shown.deviation)}, "
        f"{shown.interpolation}, crop {shown.crop:g}"
    )
    columns = ("tap", "grid", "channels", "stride", "default of", "gradient")
    output.table(
        columns,
        [
            [
                each.tap,
                f"{each.height}x{each.width}",
                each.channels,
                f"{each.stride:g}",
                ", ".join(each.default_of),
                "" if each.gradient else "none",
            ]
            for each in found.taps
        ],
    )


def _colours(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _json(found: "Described") -> Json:
    values = asdict(found)
    return {**values, "preprocessing": found.preprocessing.said(), "taps": [asdict(each) for each in found.taps]}


@contextmanager
def _one_line() -> Iterator[None]:
    """An unknown network, or one that cannot be built, is wrong usage: one line, exit code 2."""
    try:
        yield
    except (ModuleNotFoundError, ValueError) as error:
        raise UsageError(f"backbones: {error}") from error
