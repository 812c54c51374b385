"""The commands as functions."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from jobs import inspection, recorded, results, run_tables
from jobs.estimates import estimates
from jobs.export import export_chosen
from jobs.target import Target, open_config, open_target

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Named",
    "export",
    "label",
    "metrics",
    "opened",
    "plan",
    "report",
    "run",
    "status",
    "table",
    "tables",
]

Named = str | PathLike[str] | Mapping[str, Any]
"""A config file, the root of a run (a path or a URI), or a config as plain data."""

Changes = Mapping[str, Any]
"""Key of the config, such as ``stages.cam.batch_size``, -> its new value, as ``--set`` gives it."""


def opened(target: Named, changes: Changes | None = None) -> Target:
    """The run that a target names. Raises: UsageError for a bad config, or no run."""
    said = [f"{key}={json.dumps(value)}" for key, value in (changes or {}).items()]
    return open_config(target, said) if isinstance(target, Mapping) else open_target(str(target), said)


def plan(target: Named, *, changes: Changes | None = None) -> "pd.DataFrame":
    """What is done and what is to run, a row a stage; computes nothing.

    Columns: stage, kind, state, to_run (of its shards), shards, why, worker_seconds (about how long it takes), measured
    (whether by rates of this root, not by shipped ones). Raises: UsageError for failures that can be foreseen.
    """
    there = opened(target, changes)
    planned = inspection.planned_stages(there)
    found = estimates(planned, there.store, there.config.resources.resources())
    return _frame(inspection.plan_rows(planned, found))


def run(
    target: Named,
    *,
    changes: Changes | None = None,
    in_process: bool = False,
    address: str | None = None,
    only: str | None = None,
    force: Sequence[str] = (),
) -> dict[str, int]:
    """Run what is missing; returns the number of shards computed for each stage that ran. Continues a stopped run.

    in_process: without Ray. address: of the Ray cluster to join; None: one is started on this machine. only: this stage
    alone, on the newest complete inputs. force: stages that are computed again.
    Raises: UsageError for a bad config, WeakboxError where a stage gave up.
    """
    there = opened(target, changes)
    named = there.config.run_root if isinstance(target, Mapping) else str(target)
    computed = recorded.execute(there, named, address, in_process=in_process, only=only, force=force)
    results.publish_report(there)
    return computed


def status(target: Named, *, changes: Changes | None = None) -> "pd.DataFrame":
    """How far each stage is: stage, done, shards, rows, quarantined, started, seconds, worker_seconds, bottleneck."""
    return _frame(inspection.status_rows(opened(target, changes)))


def metrics(
    target: Named, *, show: str = "metrics", split: str | None = None, changes: Changes | None = None
) -> "pd.DataFrame":
    """Every number of a finished run, with protocol, threshold, how that was chosen, and its 95 % interval.

    show: ``metrics``; ``groups``, the same by class and by object size; or ``comparisons``, paired tests of every two
    methods. split: only this one. Values are percent. Raises: UsageError where the run did not get that far.
    """
    there = opened(target, changes)
    results.warn_of_other_data(there)
    return _frame([row for row in results.metric_rows(there, show) if split in (None, row["split"])])


def tables(target: Named, *, changes: Changes | None = None) -> "pd.DataFrame":
    """The tables that a run's stages give, a row each: stage, kind, table, complete."""
    there = opened(target, changes)
    return _frame(
        [
            {"stage": name, "kind": stage.kind, "table": table, "complete": there.store.newest_set(name) is not None}
            for name, stage in there.stages.items()
            for table in stage.outputs
        ]
    )


def table(
    target: Named,
    stage: str,
    name: str,
    columns: Sequence[str] | None = None,
    split: str | None = None,
    *,
    changes: Changes | None = None,
) -> "pa.Table":
    """A table of a finished stage; its columns are described in schemas/tables.py.

    columns: only these. split: only rows of this split. Raises: UsageError where stage, table or column is not there.
    """
    where = None if split is None else pc.field("split") == split
    return run_tables.table(opened(target, changes), stage, name, columns, where)


def export(
    target: Named,
    out: str | PathLike[str],
    *,
    labels: str | None = None,
    predictions: str | None = None,
    overwrite: bool = False,
    changes: Changes | None = None,
    **choice: Any,
) -> list[str]:
    """Write the boxes of a stage as a data set that other tools read; returns its files below `out`.

    labels, predictions: the stage; neither: what the config's export stage says. choice: parameters of stage `export`,
    such as ``format="yolo"``, ``pictures="copy"``, ``boxes="best"``, ``min_score=0.2``, ``splits=("val",)``.
    Raises: UsageError for a stage without boxes, a choice that the format cannot hold, or a folder in use.
    """
    return export_chosen(opened(target, changes), str(out), labels, predictions, choice, overwrite=overwrite)


def report(target: Named, *, out: str | PathLike[str] | None = None, changes: Changes | None = None) -> str:
    """Make the HTML report of a finished run, copied to `out` if that is given; returns its path."""
    return results.make_report(opened(target, changes), None if out is None else str(out))


def label(root: str | PathLike[str], out: str | PathLike[str], **asked: Any) -> list[str]:
    """Make boxes for a folder of labeled pictures and a data set of them; returns five lines that say what there is.

    asked: as the options of ``weakbox label``, such as ``format="yolo"``, ``keep=0.8``, ``reviewed="review.csv"``.
    Raises: UsageError for pictures that cannot be listed, or a folder in use.
    """
    from jobs.label import make_labels
    from jobs.label_request import LabelRequest

    return make_labels(LabelRequest(str(root), str(out), **asked))[1]


def _frame(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows))
