"""`import weakbox`: the functions say what the commands say, and load no more than they need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import structlog
import yaml
from matplotlib.patches import Rectangle

import weakbox as wb
from jobs.cli import main
from tests import runs
from weakbox.api import opened

ROOT = Path(__file__).resolve().parents[2]


def test_metrics_are_the_commands_rows(run_copy, tmp_path, capsys):
    """Breaks when function and command read other rows, or a number loses digits on its way into the frame."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(run_copy))
    for show in ("metrics", "groups", "comparisons"):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main(["metrics", str(config), "--show", show, "--json", "-"])
        structlog.reset_defaults()  # the command logs to this test's stderr
        rows = json.loads(capsys.readouterr().out)
        frame = wb.metrics(run_copy, show=show)
        assert list(frame.columns) == list(rows[0])
        assert frame.astype(object).where(frame.notna(), None).to_dict("records") == rows
    assert set(wb.metrics(run_copy, split="test")["split"]) == {"test"}
    assert wb.metrics(run_copy, split="val").empty


def test_a_run_is_planned_run_and_looked_at(run_copy, tmp_path):
    """Breaks when a changed key is not heard, a run computes too little or too much, or a frame has other columns."""
    changes = {"run_root": str(tmp_path / "new")}
    plan = wb.plan(run_copy, changes=changes)
    assert list(plan.columns) == ["stage", "kind", "state", "to_run", "shards", "why", "worker_seconds", "measured"]
    assert set(plan["state"]) == {"to run"}
    computed = wb.run(run_copy, changes={**changes, "stages.classify.epochs": 0}, in_process=True, only="ingest")
    assert computed["ingest"] == len(runs.dones(opened(run_copy, changes), "ingest"))
    status = wb.status(run_copy, changes=changes).set_index("stage")
    assert status.loc["ingest", "done"] == status.loc["ingest", "shards"] == computed["ingest"]
    assert status.loc["cam", "done"] == 0
    assert set(wb.plan(run_copy)["state"]) == {"done"}
    assert wb.run(run_copy, in_process=True) == {}


def test_tables_as_the_stages_wrote_them(run_copy, finished_run):
    """Breaks when a shard is lost, a split lets others in, or a table is listed that nobody can read."""
    rows = runs.rows(finished_run, "boxes_cam", "pseudo_labels")
    table = wb.table(run_copy, "boxes_cam", "pseudo_labels")
    assert table.to_pylist() == rows
    some = wb.table(run_copy, "boxes_cam", "pseudo_labels", columns=["image_id", "split"], split="test")
    assert some.column_names == ["image_id", "split"]
    assert some.column("image_id").to_pylist() == [row["image_id"] for row in rows if row["split"] == "test"]
    listed = wb.tables(run_copy)
    assert listed["complete"].all()
    for stage, name in zip(listed["stage"], listed["table"], strict=True):
        wb.table(run_copy, stage, name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("boxes_can", "pseudo_labels"), "there is no stage 'boxes_can'; did you mean 'boxes_cam'"),
        (("boxes_cam", "pseudo_label"), "gives pseudo_labels, no 'pseudo_label'; did you mean 'pseudo_labels'"),
        (("boxes_cam", "pseudo_labels", ["box"]), "table pseudo_labels has no column 'box'"),
    ],
)
def test_what_is_not_there_is_named(run_copy, arguments, said):
    """Breaks when a slip of the pen gives a KeyError of some library."""
    with pytest.raises(wb.UsageError) as error:
        wb.table(run_copy, *arguments)
    assert said in str(error.value)


def test_a_stage_that_was_not_run_is_named(run_copy, tmp_path):
    """Breaks when an unfinished run gives an empty table."""
    changes = {"run_root": str(tmp_path / "new")}
    with pytest.raises(wb.UsageError, match="boxes_cam was not run"):
        wb.table(run_copy, "boxes_cam", "pseudo_labels", changes=changes)
    assert not wb.tables(run_copy, changes=changes)["complete"].any()


def test_exports_and_reports(run_copy, tmp_path):
    """Breaks when an option does not reach the export, or the page is not where the function says."""
    files = wb.export(run_copy, tmp_path / "yolo", labels="boxes_cam", format="yolo", splits=("test",))
    assert files
    assert all((tmp_path / "yolo" / name).is_file() for name in files)
    assert len(list((tmp_path / "yolo" / "labels" / "test").glob("*.txt"))) == runs.TEST
    with pytest.raises(wb.UsageError, match="psol"):
        wb.export(run_copy, tmp_path / "other", labels="psol")
    stages = {**run_copy["stages"], "report": {"labels": ["boxes_cam"], "samples": 2}}
    place = wb.report({**run_copy, "stages": stages}, out=tmp_path / "page.html")
    assert Path(place) == tmp_path / "page.html"
    assert Path(place).read_text().startswith("<!DOCTYPE html>")


def test_a_picture_with_boxes_and_maps(run_copy, finished_run):
    """Breaks when a box stands elsewhere, the truth is missing, or a map lies beside its picture."""
    image_id, image = next(iter(runs.images(finished_run, "test").items()))
    figure = wb.show(run_copy, image_id)
    photo, *maps = figure.axes
    assert image_id in figure.get_suptitle()
    assert np.asarray(photo.images[0].get_array()).shape == (image["height"], image["width"], 3)
    boxes = [patch for patch in photo.patches if isinstance(patch, Rectangle)]
    drawn = {box.get_label(): list(box.get_bbox().extents) for box in boxes}
    truth = image["gt_boxes"][0]
    assert drawn["ground truth"] == [truth[name] for name in ("x0", "y0", "x1", "y1")]
    for stage, table in (("boxes_cam", "pseudo_labels"), ("psol_boxes", "predictions")):
        (row,) = [row for row in runs.rows(finished_run, stage, table) if row["image_id"] == image_id]
        assert drawn[stage] == [row["boxes"][0][name] for name in ("x0", "y0", "x1", "y1")]
    assert [part.get_title() for part in maps] == ["cam", "ddt"]
    for part in maps:
        extent = part.images[-1].get_extent()
        assert list(extent) == [0, image["width"], image["height"], 0]
        assert np.isfinite(np.asarray(part.images[-1].get_array(), float)).all()
    only = wb.show(run_copy, image_id, stages=["boxes_ddt"])
    assert len(only.axes) == 1
    with pytest.raises(wb.UsageError, match="there is no image 'nothing.jpg'"):
        wb.show(run_copy, "nothing.jpg")


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code as a script of a folder, with weakbox installed behind it on the path."""
    (folder / "script.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )


def test_importing_loads_little(tmp_path):
    """Breaks when `import weakbox` takes seconds: it must not bring torch, Ray, pandas or matplotlib along."""
    heavy = ("torch", "ray", "pandas", "matplotlib", "cv2", "numba", "scipy", "sklearn")
    done = python(f"import sys, weakbox; print([name for name in {heavy!r} if name in sys.modules])", tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_package_of_the_same_name_is_named(tmp_path):
    """Breaks when a project that has its own `jobs` gets an ImportError of some name in the middle of weakbox."""
    (tmp_path / "stages").mkdir()
    assert python("import weakbox; print(weakbox.run)", tmp_path).returncode == 0, "a folder of data is no package"
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    done = python("import weakbox", tmp_path)
    assert done.returncode == 1
    assert f"'jobs' is hidden by {tmp_path / 'jobs' / '__init__.py'}" in done.stderr.splitlines()[-1]
