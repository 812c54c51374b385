"""The YAML that configs are written in: one document of strings, numbers, true or false, null, lists and mappings.

Stricter than YAML 1.1 and PyYAML: a key is a string and occurs once in its mapping, dates are strings, octal and
sexagesimal numbers are refused, and 1e-3 is a number. The size that a small file can expand to is limited (see
`plain_data`).
"""

import os
import re
import stat

import yaml

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.config.plain_data import DEPTH, VALUES

BYTES = 256 * 1024
"""The longest file that is read."""
ALIASES = 1000
_LONGEST_LINE = 300

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_READ_AS = {
    f"{_TAG}bool": "true or false",
    f"{_TAG}int": "a number",
    f"{_TAG}float": "a number",
    f"{_TAG}null": "nothing",
}
"""Tags of scalars that are no strings, in words."""
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_OTHER_BASE_OF_1_1 = re.compile(r"[-+]?(?:0[0-9_]+|.*:.*)")


def read_file(path: str) -> Json:
    """The content of the YAML file at `path`. Raises UsageError, one line: no readable text file, or no such YAML."""
    try:
        return _parsed(_text(path))
    except OSError as error:
        raise UsageError(f"config {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"config {path}: {str(error)[:_LONGEST_LINE]}") from error


def read_value(text: str) -> Json:
    """What YAML makes of the text of one value. Raises ValueError, one line."""
    return _parsed(text)


def scalar(text: str) -> Json:
    """The number, true, false or null that YAML makes of a text; the text itself where that is none of them."""
    try:
        value = _parsed(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def _text(path: str) -> str:
    """The text of a file. Raises OSError, and ValueError for anything but a text file in UTF-8."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe or a device might never end
        raise ValueError("a text file was expected, this is a folder, a pipe or a device")
    with open(path, "rb") as file:
        data = file.read(BYTES + 1)
    if len(data) > BYTES:
        raise ValueError(f"larger than {BYTES // 1024} KiB, which no config is")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ValueError("no text in UTF-8, but UTF-16 or binary data: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: no text in UTF-8 (Latin-1?): save the file as UTF-8") from error
    if not text.strip():
        raise ValueError("the file is empty: a mapping with run_root, dataset and stages was expected")
    return text


def _parsed(text: str) -> Json:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else loader.plain(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"no YAML: {line}{' '.join(str(error.problem or error.context).split())}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    """Composes nodes within limits, and turns them into plain data."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = self._aliases = 0
        self._made: dict[int, Json] = {}
        self._open: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One node, counted. Raises ValueError beyond the limits."""
        self._values += 1
        self._aliases += self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._values > VALUES or self._depth > DEPTH or self._aliases > ALIASES:
            line = f"after line {parent.start_mark.line + 1}: " if parent else ""
            raise ValueError(f"{line}more than {VALUES} values, {ALIASES} aliases or {DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def plain(self, node: yaml.Node) -> Json:
        """The plain data of a node, made once for all its aliases. Raises ValueError with its line."""
        if id(node) not in self._made:
            with_itself = id(node) in self._open
            if with_itself:
                raise _wrong(node, "an alias refers to a value that contains it")
            self._open.add(id(node))
            self._made[id(node)] = self._make(node)
        return self._made[id(node)]

    def _make(self, node: yaml.Node) -> Json:
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.plain(item) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node)
        if isinstance(node, yaml.ScalarNode) and (node.tag == f"{_TAG}str" or node.tag in _READ_AS):
            return self._scalar(node)
        raise _wrong(node, f"a config has no {node.tag.replace(_TAG, '!!')}")

    def _scalar(self, node: yaml.ScalarNode) -> Json:
        if node.tag == f"{_TAG}int" and _OTHER_BASE_OF_1_1.fullmatch(node.value):
            raise _wrong(node, f"{node.value} is octal or sexagesimal to YAML: write it in tens, or quote a text")
        if node.tag != f"{_TAG}str" and not _reads_as(node.tag, node.value):  # !!int x
            raise _wrong(node, f"{node.value!r} is no {node.tag.removeprefix(_TAG)}")
        try:
            value: Json = self.construct_object(node)
        except ValueError as error:
            raise _wrong(node, " ".join(str(error).split())) from error
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Json]:
        """Own keys win over merged ones (`<<`), and those of an earlier mapping over those of a later one."""
        own: dict[str, Json] = {}
        merged: dict[str, Json] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in lines:
                raise ValueError(f"line {line}: the key {key!r} stands here and in line {lines[key]}: remove one")
            lines[key] = line
            if key_node.tag == _MERGE:
                merged = self._merged(value_node)
            else:
                own[key] = self.plain(value_node)
        return {**merged, **own}

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.tag in (f"{_TAG}str", _MERGE):
            return str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.tag in _READ_AS:
            raise _wrong(node, f"the key {node.value} is {_READ_AS[node.tag]} to YAML: quote it, '{node.value}'")
        raise _wrong(node, "a key must be a text")

    def _merged(self, node: yaml.Node) -> dict[str, Json]:
        found = self.plain(node)
        merged: dict[str, Json] = {}
        for mapping in found if isinstance(found, list) else [found]:
            if not isinstance(mapping, dict):
                raise _wrong(node, "<< takes a mapping, or a list of them")
            merged = {**mapping, **merged}
        return merged


def _reads_as(tag: str, text: str) -> bool:
    """Whether YAML gives an unquoted scalar this tag."""
    rules = _Loader.yaml_implicit_resolvers.get(text[:1], [])
    return any(tag == own and pattern.match(text) for own, pattern in rules)


def _wrong(node: yaml.Node, what: str) -> ValueError:
    return ValueError(f"line {node.start_mark.line + 1}: {what}")


# As YAML 1.1, except that dates are strings, and that floating-point numbers need no dot before their exponent.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in (f"{_TAG}timestamp", f"{_TAG}float")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))
