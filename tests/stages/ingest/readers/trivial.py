"""What trivial predictors reach in a run of one data set, and what they reach by the standard evaluator's metadata."""

from pathlib import Path
from typing import Any

from stages.scoring.foreign.metadata_folder import read_boxes
from stages.scoring.metadata import BASELINES, baselines
from tests import runs

Values = dict[tuple[str, str, float], float]
"""(predictor, protocol, IoU) -> percent of the images."""


def of_run(dataset: dict[str, Any], run_root: Path, split: str) -> Values:
    """List a data set, open its images and score the trivial predictors, with no other stage."""
    protocols = list(dict.fromkeys(protocol for _, protocol in BASELINES))
    stages = {"evaluate": {"splits": [split], "protocols": protocols}}
    target = runs.target_of({"run_root": str(run_root), "dataset": dataset, "stages": stages})
    runs.execute(target)
    rows = [row for row in runs.rows(target, "evaluate", "metrics") if row["metric"] == "gt_known"]
    return {(row["method"], row["protocol"], row["iou"]): row["value"] for row in rows if row["split"] == split}


def of_metadata(folder: Path) -> Values:
    """What `weakbox baselines --metadata` shows of the folder of a split."""
    return {(row.predictor, row.protocol, row.iou): row.value for row in baselines(read_boxes(folder))}
