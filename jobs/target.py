"""TARGET: a config file or a run root; both lead to a config, its stages and the store."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import RunConfig, load_config, parse_config
from pipeline.errors import UsageError
from pipeline.stage import Stage
from pipeline.store import Store

CONFIG = "config.json"


@dataclass(frozen=True)
class Target:
    """A run: its config, stage objects and store."""

    config: RunConfig
    stages: dict[str, Stage]
    store: Store


def open_target(target: str, changes: Sequence[str] = ()) -> Target:
    """Open a config file (ends in .yaml, .yml or .json, or is a file) or the run root that an earlier run made.

    Raises:
        UsageError: neither of the two, or a bad config.
    """
    from stages import catalog  # brings torch along, which --help does not need

    config = _config(target, changes)
    return Target(config, config.stage_objects(catalog), open_store(config.run_root))


def open_store(root: str) -> Store:
    """The store of a run root. Raises UsageError for a URI that no file system knows, or a path below a file."""
    if "://" not in root and (blocked := _not_a_folder(os.path.abspath(root))):
        raise UsageError(f"run_root {root}: {blocked} is no folder")
    try:
        return Store(root)
    except (ValueError, ImportError) as error:
        raise UsageError(f"run_root {root}: {error}") from error


def _not_a_folder(path: str) -> str | None:
    """The part of a path that exists and is no folder, if there is one."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return None if os.path.isdir(path) else path


def remember(target: Target) -> None:
    """Keep the config in the run root, so that the root alone is a TARGET. Raises UsageError where that fails."""
    body = json.dumps(target.config.model_dump(mode="json"), indent=1).encode()
    try:
        target.store.files.put(CONFIG, body)
    except OSError as error:
        raise UsageError(f"run_root {target.config.run_root}: {error.strerror or error}") from error


def _config(target: str, changes: Sequence[str]) -> RunConfig:
    if os.path.isfile(target) or target.endswith((".yaml", ".yml")):
        return load_config(target, changes)
    store = open_store(target)
    try:
        data = json.loads(store.files.get(CONFIG))
    except FileNotFoundError as error:
        raise UsageError(f"{target}: neither a config file nor the root of a run") from error
    except ValueError as error:
        raise UsageError(f"{target}: {CONFIG} is damaged: {error}") from error
    return parse_config({**data, "run_root": target}, changes, where=target)
