"""What someone could have done to a run root: changes of its objects with checksums that fit, links, pipes, folders."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pipeline.store.layout import BLOBS, PARTS
from pipeline.store.sealed import unseal

Change = Callable[[Path], None]
"""Changes the run root at this path; may find nothing to do there."""


def seal_raw(body: bytes) -> bytes:
    """Any bytes as a sealed object, whose checksum fits."""
    return b'{"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'","content":' + body + b"}"


BODY = slice(len(seal_raw(b"")) - 1, -1)
_DEEP = '{"a":' * 100_000 + "0" + "}" * 100_000
_RAW = (
    "NaN", "Infinity", "-1", "0", "1.5", "1e999", "9" * 25, "9" * 5000, str(-(2**63)), str(2**63 - 1), "true", "null",
    "[]", "{}", "[[]]", '"0"', '[1,"a",null,{}]', _DEEP, "[" * 100_000, '"' + "x" * 300_000 + '"',
)  # fmt: skip
_NAMES = (
    "", ".", "..", "../x", "../../canary/kept.txt", "../canary", "/etc/passwd", "a/b", "/", "//", "a//b", "a" * 300,
    "a\0b", "a\nb", "\x1b[31mred\x1b[0m", "\x9b31m", "[bold]x[/red]", "caf\u00e9\u202e", "\ud800", "\\..\\x", "~",
    "~nobody_here", "${HOME}", "%s{0}", "damaged", "newest.json", "done", "file:///tmp/none", "nowhere://x", "cam",
    "ingest", "0" * 16, "report.html", "-rf", "CON", " ", "\u2028",
)  # fmt: skip

raw = st.sampled_from(_RAW)
names = st.sampled_from(_NAMES) | st.text(max_size=20)


def sealed_files(root: Path) -> list[Path]:
    """The JSON objects of a run root: exports and cards are blobs, and have no checksum of their own."""
    return [path for path in root.rglob("*.json") if BLOBS not in path.parts]


class _Raw:
    """A value that is JSON text already."""

    def __init__(self, text: str) -> None:
        self.text = text


def _dump(value: Any) -> str:
    if isinstance(value, _Raw):
        return value.text
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value)


def _write(path: Path, content: Any) -> None:
    path.write_bytes(seal_raw(_dump(content).encode("utf-8", "surrogatepass")))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside of a JSON object, its own included."""
    below: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [path, *(place for key, item in below for place in _places(item, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy in which `change` was made to (container, key) at the path."""
    copy = json.loads(json.dumps(value))
    container = copy
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return copy


def _delete(container: Any, key: Any) -> None:
    del container[key]


def _repeat(container: Any, key: Any) -> None:
    if isinstance(container, list):
        container.append(container[key])


def _set(value: Any) -> Callable[[Any, Any], None]:
    def change(container: Any, key: Any) -> None:
        container[key] = value

    return change


def _rename(name: str) -> Callable[[Any, Any], None]:
    def change(container: Any, key: Any) -> None:
        if isinstance(container, dict):
            container[name] = container.pop(key)

    return change


def _value(path: Path, part: float, change: Callable[[Any, Any], None]) -> Change:
    """Change one value of an object; `part` of the way through them."""

    def do(root: Path) -> None:
        content = unseal((root / path).read_bytes())
        places = _places(content)[1:]
        if places:
            _write(root / path, _replaced(content, places[int(part * len(places))], change))

    return do


def _whole(path: Path, text: str) -> Change:
    return lambda root: _write(root / path, _Raw(text))


def _everywhere(path: Path, part: float, name: str) -> Change:
    """Replace a text of an object by another in every object of the root: what refers to each other still does."""

    def do(root: Path) -> None:
        content = unseal((root / path).read_bytes())
        texts = sorted({text for text in _texts(content) if len(text) > 2})
        if not texts:
            return
        old = json.dumps(texts[int(part * len(texts))])[1:-1]
        for file in sealed_files(root):
            body = file.read_bytes()[BODY]
            if old.encode() in body:
                file.write_bytes(seal_raw(body.replace(old.encode(), json.dumps(name)[1:-1].encode())))

    return do


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (str(key), *_texts(item))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _forged(path: Path, data: bytes) -> Change:
    """Other bytes in a part or a blob, with the checksums of all that name it."""

    def do(root: Path) -> None:
        file = root / path
        old, new = (hashlib.sha256(each).hexdigest().encode() for each in (file.read_bytes(), data))
        file.write_bytes(data)
        for other in sealed_files(root):
            body = other.read_bytes()[BODY]
            if old in body:
                other.write_bytes(seal_raw(body.replace(old, new)))

    return do


def _edited(path: Path, part: float, change: Callable[[Any, Any], None], root: Path) -> Change:
    """A JSON blob, a model's card or an export, with another value in it."""
    content = json.loads((root / path).read_bytes())
    places = _places(content)[1:]
    data = _dump(_replaced(content, places[int(part * len(places))], change)).encode("utf-8", "surrogatepass")
    return _forged(path, data)


def _swapped(path: Path, other: Path) -> Change:
    """Another object of the root in the place of this one."""

    def do(root: Path) -> None:
        (root / path).write_bytes((root / other).read_bytes())

    return do


def _linked(path: Path, depth: int, to: Path) -> Change:
    """A link at the place of an object or of a folder above it, to what looks the same outside of the root."""

    def do(root: Path) -> None:
        place = Path(*path.parts[: max(1, len(path.parts) - depth)])
        inside, outside = root / place, to / place
        outside.parent.mkdir(parents=True, exist_ok=True)
        if inside.is_dir():
            shutil.copytree(inside, outside)
            shutil.rmtree(inside)
        else:
            shutil.move(inside, outside)
        for parts in (path for path in (outside, *outside.rglob("*")) if path.name == PARTS):
            (parts / "stray.parquet").touch()  # garbage, were it in the root
        inside.symlink_to(outside)

    return do


def _other_kind(path: Path, kind: str) -> Change:
    """No file at the place of one."""

    def do(root: Path) -> None:
        file = root / path
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            (file / "x").mkdir(parents=True)
        elif kind == "loop":
            file.symlink_to(file.name)
        elif kind == "dangling":
            file.symlink_to("nothing-here")
        elif kind == "empty":
            file.touch()

    return do


def changes(root: Path, outside: Path) -> st.SearchStrategy[Change]:
    """Any change of a finished run root. outside: a folder for what links lead to."""
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    blobs = [path for path in files if BLOBS in path.parts]
    parts = [path for path in files if PARTS in path.parts]
    objects = st.sampled_from([path for path in files if path.suffix == ".json" and path not in blobs])
    texts = st.sampled_from([path for path in blobs if path.suffix == ".json"])
    stored = st.sampled_from([*parts, *blobs])
    forged = st.sampled_from([(root / path).read_bytes() for path in parts]) | st.binary(max_size=40)
    part = st.floats(0, 1, exclude_max=True)
    edits = st.one_of(
        st.just(_delete), st.just(_repeat), raw.map(lambda text: _set(_Raw(text))), names.map(_set), names.map(_rename)
    )
    kinds = st.sampled_from(("pipe", "folder", "loop", "dangling", "empty", "gone"))
    return st.one_of(
        st.builds(_value, objects, part, edits),
        st.builds(_value, objects, part, edits),
        st.builds(_everywhere, objects, part, names),
        st.builds(_whole, objects, raw),
        st.builds(_swapped, objects, objects),
        st.builds(_forged, stored, forged),
        st.builds(_edited, texts, part, edits, st.just(root)),
        st.builds(_linked, st.sampled_from(files), st.integers(0, 4), st.just(outside)),
        st.builds(_other_kind, st.sampled_from(files), kinds),
    )
