import os
from typing import Any

import pytest

from pipeline.base.errors import UsageError
from pipeline.config.run_config import parse_config


def places(run_root, data_root):
    config = parse_config({"run_root": run_root, "dataset": {"reader": "folder", "root": data_root}})
    assert config.remembered["run_root"] == config.run_root
    assert config.remembered["dataset"] == config.dataset
    return config.run_root, config.dataset["root"]


def test_places_mean_the_same_from_every_folder(monkeypatch, tmp_path):
    """Breaks when ~ becomes a folder of that name, or a relative place is remembered as it was written."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home, here = str(tmp_path / "home"), str(tmp_path)
    assert places("~/runs/x", "photos") == (f"{home}/runs/x", f"{here}/photos")
    assert places("~", "./a/../b/") == (home, f"{here}/b")
    assert places("file:///r/x", "file://~/d") == ("/r/x", f"{home}/d")
    assert places("./~/x", "local:///d") == (f"{here}/~/x", "/d")
    assert places("s3://b/~/x", "memory://d") == ("s3://b/~/x", "memory://d")
    assert places("~root/x", "d")[0] == f"{os.path.expanduser('~root')}/x"
    with pytest.raises(UsageError, match="run_root: there is no user 'nobody-of-this-name'"):
        places("~nobody-of-this-name/x", "d")


@pytest.mark.parametrize(
    ("run_root", "data_root"),
    [
        *(
            ("data/run", "data"),
            ("data", "data/images"),
            ("data", "data"),
            ("linked/run", "data"),
            ("data/run", "linked"),
        ),
        *(
            ("data/", "./data"),
            ("s3://b/data/run", "s3://b/data"),
            ("s3://b/d", "s3://b/d/"),
            ("x", "/"),
            ("file://data", "data/x"),
        ),
    ],
)
def test_a_run_does_not_read_its_own_files(monkeypatch, tmp_path, run_root, data_root):
    """Breaks when parts of the run are listed as images of the data set, by way of links too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "linked").symlink_to("data")
    with pytest.raises(UsageError, match="lie inside each other.*choose a run_root beside the data"):
        places(run_root, data_root)


@pytest.mark.parametrize(
    ("run_root", "data_root"),
    [("data_run", "data"), ("a/run", "a/data"), ("s3://b/data-run", "s3://b/data"), ("s3://b/x", "b/x")],
)
def test_places_beside_each_other_are_fine(monkeypatch, tmp_path, run_root, data_root):
    """Breaks when a common beginning of two names is taken for a folder."""
    monkeypatch.chdir(tmp_path)
    places(run_root, data_root)


def test_the_places_of_further_data_sets_are_settled_too(monkeypatch, tmp_path):
    """Breaks when a second data set of a run is relative to whoever asks, or holds the run's own files."""
    monkeypatch.chdir(tmp_path)
    other: dict[str, Any] = {"stage": "ingest.folder", "root": "other"}
    data: dict[str, Any] = {"run_root": "r", "dataset": {"reader": "folder", "root": "d"}, "stages": {"other": other}}
    remembered = parse_config(data).remembered["stages"]
    assert remembered == {"other": {**other, "root": str(tmp_path / "other")}}
    with pytest.raises(UsageError, match="lie inside each other"):
        parse_config({**data, "stages": {"other": {**other, "root": str(tmp_path)}}})


def test_a_place_has_no_control_characters():
    """Breaks when a zero byte in a place ends a command in an error of Python's."""
    with pytest.raises(UsageError, match="run_root: a place has no control characters"):
        places("a\0b", "d")
