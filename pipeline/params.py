"""Stage parameters: frozen dataclasses whose fields say what they mean and whether they change results.

Three kinds of fields: *numeric* ones change results and are hashed into the recipe; *resource* ones (prefetch,
batch size where it does not matter) never are; *inputs* name the stages that are read.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

_RESOURCE = "resource"
_CHOICES = "choices"
_AT_LEAST = "at_least"
_INPUT = "input"
_HELP = "help"


def option(
    default: Any,
    help: str,
    *,
    resource: bool = False,
    choices: Collection[str] | None = None,
    at_least: float | None = None,
) -> Any:
    """A parameter with a default.

    resource: it does not change results and is not hashed. choices: the texts that it (or each of a tuple) may be.
    at_least: the smallest number that it may be. None is always allowed where it is the default.
    """
    metadata = {_HELP: help, _RESOURCE: resource, _CHOICES: choices, _AT_LEAST: at_least}
    return dataclasses.field(default=default, metadata=metadata)


def reads(table: str, default: Any, help: str) -> Any:
    """A parameter that names the stage, or the tuple of stages, whose `table` (or "model") is read; None: not read."""
    return dataclasses.field(default=default, metadata={_HELP: help, _INPUT: table})


def input_tables(params_type: type) -> dict[str, str]:
    """The input fields of a parameter class: field name -> table that is read."""
    return {f.name: f.metadata[_INPUT] for f in dataclasses.fields(params_type) if _INPUT in f.metadata}


def input_names(params: Any) -> dict[str, tuple[str, ...]]:
    """The stages that `params` names: field name -> stage names."""
    names = {slot: getattr(params, slot) for slot in input_tables(type(params))}
    return {
        slot: () if value is None else (value,) if isinstance(value, str) else tuple(value)
        for slot, value in names.items()
    }


def mistake(params: Any) -> str | None:
    """What is wrong with the first parameter outside its choices or below its minimum, in words; None if none is."""
    for field in dataclasses.fields(params):
        value, choices, least = getattr(params, field.name), field.metadata.get(_CHOICES), field.metadata.get(_AT_LEAST)
        if value is None:
            continue
        for part in value if isinstance(value, tuple) else (value,):
            if choices is not None and part not in choices:
                return f"{field.name} must be one of {', '.join(choices)}, not {part!r}"
        if least is not None and not value >= least:  # NaN is not
            return f"{field.name} must be at least {least:g}, not {value:g}"
    return None


def numeric(params: Any) -> dict[str, Any]:
    """The parameters that change results, as a JSON-like dictionary.

    One that is null by default and left so is not in it: a parameter that a new version adds makes no old result stale.
    """
    values = {
        f.name: getattr(params, f.name)
        for f in dataclasses.fields(params)
        if _INPUT not in f.metadata and not f.metadata.get(_RESOURCE, False)
    }
    left = {f.name for f in dataclasses.fields(params) if f.default is None}
    return {name: value for name, value in values.items() if value is not None or name not in left}


def describe(params_type: type) -> list[tuple[str, Any, str]]:
    """(name, default, help) of every parameter, for help texts and the documentation."""
    return [
        (f.name, None if f.default is dataclasses.MISSING else f.default, f.metadata.get(_HELP, ""))
        for f in dataclasses.fields(params_type)
    ]
