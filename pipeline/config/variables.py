"""`${NAME}` and `${NAME:-default}` in the texts of a config."""

import re
from collections.abc import Mapping, Sequence

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.config.yaml_text import scalar

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}")
_SECRET = re.compile(
    r"(?:^|_)(?:(?:ACCESS|API|APP|AUTH|AWS)?KEYS?|\w*(?:TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL)\w*|PASS|PWD|PAT|AUTH)(?:_|$)",
    re.IGNORECASE,
)


class ExpandedText(str):
    """A string in which variables were replaced: where a number is expected, it is parsed as YAML."""

    __slots__ = ()


class Variables:
    """Replaces the variables in strings, and keeps those that it replaced: `used`, name -> value.

    values: name -> value. where: the config, for errors. absent: the error text for any other name, with `{name}`.
    """

    def __init__(self, values: Mapping[str, str], where: str, absent: str) -> None:
        self.used: dict[str, str] = {}
        self._values, self._where, self._absent = values, where, absent

    def expanded(self, value: Json, path: str = "") -> Json:
        """A value with the variables of all its texts replaced; keys are left alone.

        Raises: UsageError for a variable without value, and for one whose name says that it is a secret: what a config
        says is kept in the run root.
        """
        if isinstance(value, Mapping):
            return {key: self.expanded(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.expanded(item, f"{path}.{i}") for i, item in enumerate(value)]
        if not isinstance(value, str) or not _VARIABLE.search(value):
            return value
        return ExpandedText(_VARIABLE.sub(lambda match: self._value(match, path), value))

    def _value(self, match: re.Match[str], path: str) -> str:
        name, default = match["name"], match["default"]
        if _SECRET.search(name):
            raise UsageError(
                f"{self._where}: {path}: {name} looks like a secret, and a run root keeps what its config says: leave"
                " it to the storage's own credentials, or rename the variable if it is no secret"
            )
        if name in self._values:
            self.used[name] = self._values[name]
        elif default is None:
            raise UsageError(f"{self._where}: {path}: {self._absent.format(name=name)}")
        return self._values.get(name) or default or ""


def names_in(texts: Sequence[str]) -> set[str]:
    """The variables that texts name."""
    return {match["name"] for text in texts for match in _VARIABLE.finditer(text)}


def as_numbers(value: Json) -> Json:
    """A value whose strings made from variables are parsed as YAML scalars, for keys that take no strings."""
    if isinstance(value, Mapping):
        return {key: as_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item) for item in value]
    return scalar(value) if isinstance(value, ExpandedText) else value
