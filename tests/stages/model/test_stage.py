"""Stage `model`: a model that another run trained, on this run's images."""

import pytest

from pipeline.base.errors import StageFailed, UsageError
from tests import runs


def of(config, root, stage="psol", **more):
    stages = {
        "theirs": {"stage": "model", "run": str(root), "of": stage},
        "their_boxes": {"stage": "localize", "model": "theirs"},
        **more,
    }
    return {**config, "run_root": f"{config['run_root']}_here", "stages": stages}


def predicted(target, stage):
    return {
        row["image_id"]: [[box[name] for name in ("x0", "y0", "x1", "y1")] for box in row["boxes"] or ()]
        for row in runs.rows(target, stage, "predictions")
    }


def test_it_predicts_what_it_predicted_there(run_copy, finished_run):
    """Breaks when the copied model is another one, or the run hangs on the other once it has it."""
    there = run_copy["run_root"]
    target = runs.target_of(of(run_copy, there))
    runs.execute(target)
    assert predicted(target, "their_boxes") == predicted(finished_run, "psol_boxes")
    assert runs.rows(target, "theirs", "training") == runs.rows(finished_run, "psol", "training")
    again = runs.target_of(of(run_copy, there))
    assert runs.missing(again) == {}


def test_a_training_there_is_seen_here(run_copy):
    """Breaks when a model that was trained anew is not taken."""
    there = run_copy["run_root"]
    runs.execute(runs.target_of(of(run_copy, there)))
    psol = {**run_copy["stages"]["psol"], "seed": 1}
    runs.execute(runs.target_of({**run_copy, "stages": {**run_copy["stages"], "psol": psol}}), only="psol")
    computed = runs.execute(runs.target_of(of(run_copy, there)))
    assert computed["theirs"] == 1
    assert computed["their_boxes"]


@pytest.mark.parametrize(
    ("root", "stage", "said"),
    [
        ("nowhere", "psol", "has no stage 'psol' that was completed"),
        (None, "psal", "has no stage 'psal' that was completed"),
        (None, "boxes_cam", "its stage 'boxes_cam' trained no model"),
        (None, "../psol", "theirs: of: "),
        ("", "psol", r"run \(a run root\) and of"),
    ],
)
def test_what_is_no_model_is_one_clear_line(run_copy, tmp_path, root, stage, said):
    """Breaks when a wrong run or stage is found out late, or reads outside of the run root."""
    place = run_copy["run_root"] if root is None else root and str(tmp_path / root)
    with pytest.raises(UsageError, match=said):
        runs.target_of(of(run_copy, place, stage)).stages["theirs"].rehearse({})


def test_a_damaged_model_is_not_taken(run_copy):
    """Breaks when weights are believed whatever their checksum, or a card whatever it says."""
    there = runs.Path(run_copy["run_root"])
    (weights,) = (path for path in there.glob("psol/**/*safetensors*") if path.is_file())
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StageFailed, match="verify --repair"):
        runs.execute(runs.target_of(of(run_copy, str(there))))
