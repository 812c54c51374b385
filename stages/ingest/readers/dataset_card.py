"""The YAML header of a Hugging Face dataset card, README.md: configs, the files of their splits, and class names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import yaml
from fsspec.utils import glob_translate

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json

CARD = "README.md"
_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_DEFAULT = "default"
_DEEPEST = 16


class Config(NamedTuple):
    """One config of a data set. patterns: (split, glob below the root). features: column -> its description."""

    name: str
    patterns: Sequence[tuple[str, str]]
    features: Mapping[str, Json]

    def splits(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> split, as the card names it, of the files that match its patterns."""
        found: dict[str, str] = {}
        for split, pattern in self.patterns:
            matches = re.compile(glob_translate(pattern)).match
            found |= {path: split for path in paths if path not in found and matches(path)}
        return found


def has_data(text: str) -> bool:
    """Whether a README.md, or its beginning, is the card of a data set with files or features."""
    head = _HEAD.match(text)
    return head is not None and re.search(r"^(configs|dataset_info):", head[1], re.MULTILINE) is not None


def read_card(text: str, asked: str | None) -> Config:
    """The config `asked`, else the default one or the only one; an empty config where the card has none.

    Raises: UsageError for a header that is not YAML, an absent config, or several without a default.
    """
    head = _HEAD.match(text)
    try:
        said: Json = yaml.safe_load(head[1]) if head else {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"dataset: {CARD}: no YAML: {' '.join(str(error).split())}") from error
    said = said if isinstance(said, Mapping) else {}
    configs = {_name(each): each for each in _mappings(said.get("configs"))}
    infos = {_name(each): each for each in _mappings(said.get("dataset_info"))}
    name = _chosen(configs, infos, asked)
    return Config(name, list(_patterns(configs.get(name, {}), name)), _features(infos.get(name, {}).get("features")))


def _chosen(configs: Mapping[str, Mapping[str, Json]], infos: Mapping[str, object], asked: str | None) -> str:
    names = list(configs) or list(infos)
    if asked is not None:
        if asked not in names:
            raise UsageError(f"dataset: {CARD}: there is no config {asked!r} among {', '.join(names) or 'none'}")
        return asked
    default = [name for name, said in configs.items() if said.get("default") is True]
    if default or len(names) <= 1 or _DEFAULT in names:
        return default[0] if default else _DEFAULT if _DEFAULT in names or not names else names[0]
    raise UsageError(f"dataset: {CARD}: configs {', '.join(names[:8])}: set `config` to one")


def _patterns(config: Mapping[str, Json], name: str) -> Iterator[tuple[str, str]]:
    """(split, glob) pairs of `data_files`: a glob, a list of globs, or a list of split and path."""
    files, folder = config.get("data_files"), config.get("data_dir")
    below = f"{folder.strip('./')}/" if isinstance(folder, str) and folder.strip("./") else ""
    if files is None and below:
        yield "", f"{below}**"
    for each in files if isinstance(files, list) else [files] if files else []:
        split, globs = (each.get("split"), each.get("path")) if isinstance(each, Mapping) else ("train", each)
        for glob in globs if isinstance(globs, list) else [globs]:
            if not isinstance(glob, str) or not isinstance(split, str) or "://" in glob:
                raise UsageError(f"dataset: {CARD}: config {name!r}: a split and globs of its files were expected")
            yield split, below + glob.removeprefix("./")


def _features(said: Json) -> Mapping[str, Json]:
    """A card's features in the form of `datasets`, reduced to images and classes."""
    found = _kind(said)
    return found if isinstance(found, Mapping) else {}


def _kind(said: Json, depth: int = 0) -> Json:
    if depth > _DEEPEST:
        return None
    if isinstance(said, list):
        parts = {str(part.get("name")): _kind(part, depth + 1) for part in _mappings(said)}
        return {name: kind for name, kind in parts.items() if kind is not None} or None
    if not isinstance(said, Mapping):
        return {"_type": "Image"} if said == "image" else None
    if isinstance(labels := said.get("class_label"), Mapping):
        names = labels.get("names")
        return {"_type": "ClassLabel", "names": list(names.values()) if isinstance(names, Mapping) else names}
    inner = next((said[key] for key in ("dtype", "sequence", "list", "struct") if key in said), None)
    return _kind(inner, depth + 1)


def _mappings(said: Json) -> list[Mapping[str, Json]]:
    """The objects of a list, or a single object as a list."""
    each = said if isinstance(said, list) else [said]
    return [one for one in each if isinstance(one, Mapping)]


def _name(said: Mapping[str, Json]) -> str:
    return str(said.get("config_name", _DEFAULT))
