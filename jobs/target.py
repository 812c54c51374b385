"""TARGET: a config file or a run root; both lead to a config, its stages and the store."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import RunConfig, load_config, parse_config
from pipeline.errors import UsageError
from pipeline.stage import Stage
from pipeline.store import Store
from stages import catalog

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
    config = _config(target, changes)
    return Target(config, config.stage_objects(catalog), open_store(config.run_root))


def open_store(root: str) -> Store:
    """The store of a run root. Raises UsageError for a URI that no file system knows."""
    try:
        return Store(root)
    except (ValueError, ImportError) as error:
        raise UsageError(f"run_root {root}: {error}") from error


def remember(target: Target) -> None:
    """Keep the config in the run root, so that the root alone is a TARGET. Raises UsageError if it cannot be written."""
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
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{target}: neither a config file nor the root of a run") from error
    return parse_config({**data, "run_root": target}, changes, where=target)
