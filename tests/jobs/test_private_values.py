"""What a run leaves behind, and shows, of the environment that it ran in."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.store.sealed import seal, unseal

SECRET = "s3cr3t-of-the-reader"


@pytest.fixture
def written(demo_data, tmp_path, monkeypatch):
    """A function that writes the config of an ingest alone, changed; the environment has a secret."""
    monkeypatch.chdir(tmp_path)
    for name in ("WB_TOKEN", "AWS_SECRET_ACCESS_KEY", "WB_PRIVATE"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("WB_SIZE", "30")
    monkeypatch.setenv("WB_DATA", str(demo_data))

    def write(**changes):
        dataset = {"reader": "folder", "root": "${WB_DATA}", "shard_size": "${WB_SIZE}"}
        Path("c.yaml").write_text(yaml.safe_dump({"run_root": "run", "dataset": dataset, **changes}))
        return "c.yaml"

    return write


def leaks(folder):
    """The files below a folder that hold the secret."""
    return [path for path in Path(folder).rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "changes",
    [
        {"run_root": "runs/${WB_TOKEN}"},
        {"run_root": "s3://id:${WB_TOKEN}@bucket/run"},
        {"dataset": {"reader": "folder", "root": "${WB_DATA}", "boxes": "${WB_TOKEN}"}},
        {"dataset": {"reader": "folder", "root": "https://host/data?sig=${WB_PRIVATE}"}},
        {"stages": {"classify": {"weights": "https://user:${WB_PRIVATE}@host/net.pth"}}},
        {"stages": {"report": {"title": "${AWS_SECRET_ACCESS_KEY}"}}},
        {"resources": {"labels": {"zone": "${WB_TOKEN:-a}"}}},
    ],
)
def test_no_secret_of_the_environment_is_kept_or_shown(weakbox, written, changes):
    """Breaks when a secret that a config names gets into the run root, into a line of an error, or into a log."""
    for verb in (("run", "--in-process"), ("plan",), ("status",)):
        code, out, err = weakbox(*verb, written(**changes))
        assert (code, len(err.splitlines())) == (2, 1), err
        assert SECRET not in out + err
    assert leaks(".") == []
    assert not any(SECRET in name for _, folders, files in os.walk(".") for name in (*folders, *files))


def test_a_root_means_what_it_meant_when_it_ran(weakbox, written, monkeypatch, demo_data, tmp_path):
    """Breaks when a root is read with other values than it ran with, needs them again, or is relative to a folder."""
    assert weakbox("run", "--in-process", written())[0] == 0
    kept: Any = unseal(Path("run/config.json").read_bytes())
    assert (kept["dataset"]["shard_size"], kept["variables"]) == ("${WB_SIZE}", {"WB_SIZE": "30"})
    assert (kept["run_root"], kept["dataset"]["root"]) == (str(tmp_path / "run"), str(demo_data))
    monkeypatch.chdir("/")
    for size in ("7", None):
        monkeypatch.delenv("WB_SIZE") if size is None else monkeypatch.setenv("WB_SIZE", size)
        code, out, err = weakbox("plan", str(tmp_path / "run"), "--json", "-")
        assert code == 0, err
        shards = {row["stage"]: row["shards"] for row in json.loads(out) if row["state"] == "done"}
        assert shards == {"ingest": 2, "truth": 2, "duplicates": 1}


def test_a_hostile_root_gets_nothing(weakbox, written, tmp_path):
    """Breaks when the config.json of someone else's root pulls the reader's environment into files or messages."""
    assert weakbox("run", "--in-process", written())[0] == 0
    path = Path("run/config.json")
    kept: Any = unseal(path.read_bytes())
    for text in ("${WB_PRIVATE}", "${WB_TOKEN}", "${HOME}"):
        path.write_bytes(seal({**kept, "stages": {"report": {"title": text}}}))
        for verb in (("run", "--in-process"), ("status",), ("report",)):
            code, out, err = weakbox(*verb, "run")
            assert code == 2, err
            assert SECRET not in out + err
        if "HOME" in text:
            assert "needs the variable HOME" in err
            assert "run the config file instead" in err
    assert leaks(tmp_path) == []
