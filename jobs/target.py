"""TARGET: a config file or a run root; both lead to a config, its stages and the store, which is all a run needs."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs import stopping
from pipeline.base.credentials import has_credentials, redacted
from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.config.places import absolute
from pipeline.config.run_config import RunConfig, load_config, parse_config, parse_remembered
from pipeline.contract.runner import Runner
from pipeline.contract.stage import AnyStage
from pipeline.running.progress import log_training, make_progress
from pipeline.running.run import Run, RunOptions
from pipeline.store import layout
from pipeline.store.encoding import read_layout
from pipeline.store.sealed import seal
from pipeline.store.store import Store
from stages import catalog


@dataclass(frozen=True)
class Target:
    """A run: its config, stage objects and store."""

    config: RunConfig
    stages: dict[str, AnyStage]
    store: Store

    def execute(self, address: str | None, in_process: bool, options: RunOptions) -> dict[str, int]:
        """Run what is missing; returns the number of shards computed for each stage that ran.

        address: of the Ray cluster to join; None: one is started. in_process: without Ray.
        """
        wanted = self.config.resources

        def make_runner() -> Runner:
            if in_process:
                from pipeline.running.in_process import InProcessRunner

                return InProcessRunner(told=log_training)
            from jobs.ray_session import RaySession

            return RaySession(address, wanted.num_cpus, wanted.placement)

        with stopping.graceful(options.stop, wanted.grace):
            run = Run(self.stages, self.store, make_runner, wanted.resources(), make_progress(), options)
            return run.execute()


def open_target(target: str, changes: Sequence[str] = ()) -> Target:
    """Open a config file (ends in .yaml or .yml, or is no folder) or the run root that an earlier run made.

    Raises:
        UsageError: neither of the two, a bad config, or a run root of another layout.
    """
    config = _config(target, changes)
    return Target(config, config.stage_objects(catalog), open_store(config.run_root))


def open_config(data: Mapping[str, Json], changes: Sequence[str] = ()) -> Target:
    """The run of a config as plain data. Raises UsageError for a bad one, or a run root of another layout."""
    config = parse_config(data, changes)
    return Target(config, config.stage_objects(catalog), open_store(config.run_root))


def root_of(target: str, changes: Sequence[str] = ()) -> str:
    """The run root that a target names, whatever state it is in. Raises UsageError for a bad config."""
    return load_config(target, changes).run_root if _is_config(target) else _root(target)


def open_store(root: str) -> Store:
    """The store of a run root.

    Raises:
        UsageError: a URI that no file system knows, a path below a file, or a run root of another layout.
    """
    if "://" not in root and (blocked := _not_a_folder(os.path.abspath(root))):
        raise UsageError(f"run_root {root}: {blocked} is no folder")
    try:
        store = Store(root)
    except (ValueError, ImportError) as error:
        raise UsageError(f"run_root {root}: {error}") from error
    _check_layout(store)
    return store


def mark(target: Target) -> None:
    """Write the version of the layout into the run root, before anything else. Raises UsageError where that fails."""
    try:
        target.store.files.put_if_absent(layout.MARKER, seal({"layout": layout.VERSION}))
    except OSError as error:
        raise UsageError(f"run_root {target.config.run_root}: {error.strerror or error}") from error


def remember(target: Target) -> None:
    """Keep the config in the run root, so that the root is a TARGET; called once the config passed all checks."""
    mark(target)
    target.store.write(layout.CONFIG, target.config.remembered)


def _check_layout(store: Store) -> None:
    """Refuse a run root that another version of weakbox wrote in another layout; a root without a run has none.

    The config is looked for before the marker, which `remember` writes before the config: a run that begins meanwhile
    is never taken for one without a marker.
    """
    began = store.files.get_many([layout.CONFIG])
    marked = store.files.get_many([layout.MARKER])
    if layout.MARKER in marked:
        written = _layout(store, marked[layout.MARKER])
    else:
        written = "1" if layout.CONFIG in began else str(layout.VERSION)
    if written != str(layout.VERSION):
        raise UsageError(
            f"run_root {store.files.root}: it was written in layout {written}, this weakbox reads layout"
            f" {layout.VERSION}: choose a new run_root, or use the weakbox that wrote it"
        )


def _layout(store: Store, data: bytes) -> str:
    """The layout that a marker says; those of older versions have no checksum. Raises DamagedError."""
    with contextlib.suppress(ValueError, RecursionError):
        older = json.loads(data)
        if isinstance(older, dict) and isinstance(older.get("layout"), int):
            return str(older["layout"])
    return str(store.read(layout.MARKER, read_layout))


def _not_a_folder(path: str) -> str | None:
    """The part of a path that exists and is no folder, if there is one."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return None if os.path.isdir(path) else path


def _is_config(target: str) -> bool:
    return target.endswith((".yaml", ".yml")) or (os.path.exists(target) and not os.path.isdir(target))


def _config(target: str, changes: Sequence[str]) -> RunConfig:
    if _is_config(target):
        return load_config(target, changes)
    root = _root(target)
    data = open_store(root).read(layout.CONFIG, dict)
    if data is None:
        raise UsageError(f"{target}: neither a config file nor the root of a run")
    return parse_remembered({**data, "run_root": root}, changes, where=f"{target}: {layout.CONFIG}")


def _root(target: str) -> str:
    """The run root that TARGET names. Raises UsageError for one with credentials, or in the home of an unknown user."""
    if has_credentials(target):
        raise UsageError(f"{redacted(target)}: leave credentials to the storage's own (environment, configuration)")
    try:
        return absolute(target)
    except ValueError as error:
        raise UsageError(f"{target}: {error}") from error
