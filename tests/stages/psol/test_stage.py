import json

import pytest

from pipeline.errors import UsageError
from stages.vision.models import CARD
from tests import runs


def test_only_unflagged_boxes_of_train_are_trained_on(finished_run):
    """Breaks when dev, test or a fallback box enters the training."""
    labels = runs.rows(finished_run, "boxes_cam", "pseudo_labels")
    usable = [row for row in labels if row["split"] == "train" and row["flag"] is None]
    (done,) = runs.dones(finished_run, "psol")
    card = json.loads(finished_run.store.blob(done, CARD))
    assert card["images"] == len(usable)
    assert (card["method"], card["labels"], card["backbone"]) == ("psol", "boxes_cam", "smallnet")


def test_no_usable_box_is_one_line(run_copy):
    """Breaks when a pseudo-label stage without one usable box trains on nothing."""
    run_copy["stages"] = {
        **{name: runs.STAGES[name] for name in ("classify", "cam")},
        "none": {"stage": "boxes", "maps": "cam", "threshold": 1.0},
        "psol": {"labels": "none", "epochs": 1},
    }
    with pytest.raises(UsageError, match="none has no pseudo box of a training image"):
        runs.execute(runs.target_of(run_copy))
