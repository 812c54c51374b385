"""Stage parameters: frozen dataclasses whose fields say what they mean and whether they change results.

Four kinds of fields: *numeric* ones change results and are hashed into the recipe; *resource* ones (prefetch,
batch size where it does not matter) never are; *content* ones say where or how a data set is found, and its content is
hashed instead of them; *inputs* name the stages that are read.
"""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

from pipeline.base.json_types import Json

T = TypeVar("T")

_RESOURCE = "resource"
_CONTENT = "content"
_AT_LEAST = "at_least"
_AT_MOST = "at_most"
_INPUT = "input"
_HELP = "help"


class Parameters(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def option(
    default: T,
    help: str,
    *,
    resource: bool = False,
    by_content: bool = False,
    at_least: float | None = None,
    at_most: float | None = None,
) -> T:
    """A parameter with a default.

    resource: it does not change results and is not hashed. by_content: the data that it leads to (rows of a data set,
    annotations) are hashed instead of it. at_least, at_most: limits of a number. A Literal type lists the strings that
    it (or each item of a tuple) may be. None is always allowed where it is the default.
    """
    metadata = {_HELP: help, _RESOURCE: resource, _CONTENT: by_content, _AT_LEAST: at_least, _AT_MOST: at_most}
    return dataclasses.field(default=default, metadata=metadata)


def reads(table: str, default: T, help: str) -> T:
    """A parameter that names the stage, or the tuple of stages, whose `table` (or "model") is read; None: not read."""
    return dataclasses.field(default=default, metadata={_HELP: help, _INPUT: table})


def input_tables(params_type: type[Parameters]) -> dict[str, str]:
    """The input fields of a parameter class: field name -> table that is read."""
    return {f.name: f.metadata[_INPUT] for f in dataclasses.fields(params_type) if _INPUT in f.metadata}


def input_names(params: Parameters) -> dict[str, tuple[str, ...]]:
    """The stages that `params` names: field name -> stage names."""
    names = {slot: getattr(params, slot) for slot in input_tables(type(params))}
    return {
        slot: () if value is None else (value,) if isinstance(value, str) else tuple(value)
        for slot, value in names.items()
    }


def upstream_names(params: Parameters) -> set[str]:
    """The names of all stages that `params` names."""
    return {name for names in input_names(params).values() for name in names}


@cache
def choices_of(params_type: type[Parameters]) -> Mapping[str, tuple[str, ...]]:
    """The allowed strings of each parameter that has a Literal type: name -> choices."""
    hints = typing.get_type_hints(params_type)
    found = {field.name: tuple(_literals(hints[field.name])) for field in dataclasses.fields(params_type)}
    return {name: texts for name, texts in found.items() if texts}


@cache
def takes_text(params_type: type[Parameters]) -> frozenset[str]:
    """The names of the parameters that may be a string, or hold one."""
    hints = typing.get_type_hints(params_type)
    return frozenset(field.name for field in dataclasses.fields(params_type) if _may_be_text(hints[field.name]))


def _may_be_text(hint: object) -> bool:
    return hint is str or any(isinstance(part, str) or _may_be_text(part) for part in typing.get_args(hint))


def _literals(hint: object) -> Iterator[str]:
    """The strings of a Literal, also inside a union or a tuple."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        yield from typing.get_args(hint)
    elif origin in (typing.Union, types.UnionType, tuple):
        for part in typing.get_args(hint):
            yield from _literals(part)


def mistake(params: Parameters) -> str | None:
    """The error text for the first parameter outside its choices or limits; None if all are inside."""
    choices = choices_of(type(params))
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        least, most = field.metadata.get(_AT_LEAST), field.metadata.get(_AT_MOST)
        if value is None:
            continue
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, str) and part not in choices.get(field.name, (part,)):
                return not_a_choice(field.name, choices[field.name], part)
        if least is not None and not value >= least:  # True for NaN
            return f"{field.name} must be at least {least:g}, not {value:g}"
        if most is not None and not value <= most:
            return f"{field.name} must be at most {most:g}, not {value:g}"
    return None


def not_a_choice(name: str, choices: Collection[str], value: object) -> str:
    """The error text for a value that is not among the choices."""
    return f"{name} must be one of {', '.join(choices)}, not {value!r}"


def numeric(params: Parameters) -> dict[str, Json]:
    """The parameters that change results, as a JSON-like dictionary.

    A parameter left at its default null is left out, so that a parameter added by a new version makes no result stale.
    """
    values = {
        f.name: getattr(params, f.name)
        for f in dataclasses.fields(params)
        if _INPUT not in f.metadata and not f.metadata.get(_RESOURCE) and not f.metadata.get(_CONTENT)
    }
    left = {f.name for f in dataclasses.fields(params) if f.default is None}
    return {name: value for name, value in values.items() if value is not None or name not in left}


class Described(NamedTuple):
    """One parameter, for help texts and the documentation. kind: input, resource, content or numeric."""

    name: str
    default: str
    kind: Literal["input", "resource", "content", "numeric"]
    help: str


def describe(params_type: type[Parameters]) -> list[Described]:
    """Every parameter of a class, in order."""
    found = []
    for field in dataclasses.fields(params_type):
        said = field.metadata
        kind: Literal["input", "resource", "content", "numeric"] = "numeric"
        if _INPUT in said:
            kind = "input"
        elif said.get(_RESOURCE) or said.get(_CONTENT):
            kind = "resource" if said.get(_RESOURCE) else "content"
        default = "" if field.default is dataclasses.MISSING else repr(field.default)
        found.append(Described(field.name, default, kind, said.get(_HELP, "")))
    return found
