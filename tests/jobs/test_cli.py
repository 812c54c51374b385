import json
import os
import subprocess
import sys

import click
import pytest
import yaml

from jobs.cli import cli
from pipeline.planning.plan import make_plan
from tests import runs

METRIC_KEYS = {
    "run", "dataset", "split", "method", "source", "seed", "metric", "iou", "protocol", "threshold",
    "threshold_choice", "value", "n", "ci_low", "ci_high", "supervision",
}  # fmt: skip


@pytest.fixture
def config(run_copy):
    """The config file of a copy of the finished run."""
    with open("config.yaml", "w") as file:
        yaml.safe_dump(run_copy, file)
    return "config.yaml"


def test_a_finished_run_says_so_and_exits_0(weakbox, config):
    """Breaks when a complete run is an error, or computes anything."""
    code, out, err = weakbox("run", config, "--in-process")
    assert (code, out) == (0, "")
    assert "nothing to do" in err


def test_the_run_root_alone_is_a_target(weakbox, config):
    """Breaks when a run cannot be looked at without its config file."""
    assert weakbox("run", config, "--in-process")[0] == 0
    os.remove(config)
    for verb in ("plan", "status", "metrics", "verify"):
        code, out, err = weakbox(verb, "run")
        assert code == 0, err
        assert out


def test_metrics_prints_only_json_with_exactly_the_keys(weakbox, config):
    """Breaks when a log line reaches stdout, a key comes or goes, or an undefined value is no null."""
    code, out, _ = weakbox("metrics", config, "--json", "-")
    rows = json.loads(out)
    assert code == 0
    assert rows
    for row in rows:
        assert set(row) == METRIC_KEYS
        assert row["value"] is None or 0 <= row["value"] <= 255
        assert row["threshold_choice"] in ("oracle", "validated", "fixed", None)
        assert row["split"] == "test"
    assert {"cls_top1", "gt_known", "max_box_acc", "max_box_acc_v2"} <= {row["metric"] for row in rows}
    methods = {row["method"] for row in rows}
    assert {"cam", "ddt", "psol", "whole_image", "centred_square", "median_train_box"} <= methods
    choices = {(row["source"], row["threshold_choice"]) for row in rows if row["metric"] == "gt_known"}
    assert {("boxes_cam", "validated"), ("boxes_ddt", "fixed")} <= choices


def test_metrics_as_a_table_and_to_a_file(weakbox, config, tmp_path):
    """Breaks when --split or --json FILE is not honoured."""
    code, out, _ = weakbox("metrics", config, "--split", "test")
    assert code == 0
    assert "gt_known" in out
    assert weakbox("metrics", config, "--split", "val", "--json", str(tmp_path / "m.json"))[0] == 0
    assert json.loads((tmp_path / "m.json").read_text()) == []


def test_plan_says_what_why_and_how_many(weakbox, config):
    """Breaks when plan does not tell done from to run, the reason, or the number of shards."""
    code, out, _ = weakbox("plan", config, "--set", "stages.ddt.sign=skew", "--json", "-")
    rows = {row["stage"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["ddt"].pop("worker_seconds") > 0
    assert rows["ddt"] == {
        "stage": "ddt", "kind": "ddt", "state": "to run", "to_run": 10, "shards": 10, "why": "sign: 'energy' -> 'skew'",
        "measured": True,
    }  # fmt: skip
    assert rows["cam"]["state"] == "done"
    assert rows["cam"]["to_run"] == 0
    assert [name for name, row in rows.items() if row["to_run"]] == ["ddt", "boxes_ddt", "sweep_ddt", "evaluate"]
    code, out, _ = weakbox("plan", config, "--set", "stages.ddt.sign=skew")
    assert code == 0
    assert "sign: 'energy' -> 'skew'" in out
    assert "rates measured in this root" in out.splitlines()[-1]


def test_status_shows_each_stage(weakbox, config):
    """Breaks when status loses a stage, its counts, or how the last run ended."""
    weakbox("run", config, "--in-process")
    code, out, _ = weakbox("status", config)
    assert code == 0
    for stage in ("ingest", *runs.STAGES):
        assert stage in out
    assert "last run: done" in out


def test_verify_exits_1_on_damage(weakbox, config, run_copy):
    """Breaks when a damaged store passes, or the damaged file is not named."""
    assert weakbox("verify", config)[0] == 0
    target = runs.target_of(run_copy)
    done = next(iter(make_plan(target.stages, target.store)["cam"].done.values()))
    target.store.files.put(done.tables["score_maps"].file, b"damage")
    code, out, err = weakbox("verify", config)
    assert code == 1
    assert done.tables["score_maps"].file in err
    assert "1 damaged" in out


def test_only_and_force(weakbox, config):
    """Breaks when --only or --force does not reach the run; evaluate looks at its input's ingredients."""
    code, _, err = weakbox("run", config, "--in-process", "--only", "evaluate", "--force", "evaluate")
    assert code == 0, err
    assert "stage starts" in err
    assert "stale" not in err


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "No such file"),
        (("plan", "no/such/root"), "neither a config file nor the root of a run"),
        (("run", "CONFIG", "--set", "stages.cam.bach_size=3"), "did you mean 'batch_size'"),
        (("run", "CONFIG", "--set", "dataset.root=/no/such/folder"), "/no/such/folder"),
        (("run", "CONFIG", "--set", "dataset.root=with_empty"), "class folder 'dog' has no images"),
        (("run", "CONFIG", "--set", "run_root=config.yaml/below"), "config.yaml is no folder"),
        (("plan", "CONFIG", "--set", "run_root=config.yaml/below"), "config.yaml is no folder"),
        (("run", "CONFIG", "--set", "run_root=nonsense://x"), "nonsense"),
        (("run", "CONFIG", "--only", "eval"), "there is no stage 'eval'; did you mean 'evaluate'"),
        (("run", "CONFIG", "--address", "auto"), "exclude each other"),
        (("run", "CONFIG", "--fast"), "No such option"),
        (("run",), "Missing argument"),
        (("rum", "CONFIG"), "rum"),
        (("metrics", "CONFIG", "--set", "run_root=fresh"), "stage evaluate was not run with this config"),
        (("export", "CONFIG", "--labels", "boxes_cat", "--out", "x"), "did you mean 'boxes_cam'"),
        (
            ("export", "CONFIG", "--labels", "boxes_cam", "--out", "x", "--format", "koko"),
            "'koko' is not one of 'coco', 'yolo'",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(weakbox, config, arguments, words):
    """Breaks when a user's mistake gives a traceback, more than a line, or another exit code."""
    os.makedirs("with_empty/cat")
    os.makedirs("with_empty/dog")
    with open("with_empty/cat/a.jpg", "wb") as file:
        file.write(b"x")
    filled = [config if word == "CONFIG" else word for word in arguments]
    in_process = ["--in-process"] if "CONFIG" in arguments and arguments[0] == "run" else []
    code, out, err = weakbox(*filled, *in_process)
    assert (code, out) == (2, "")
    assert words in one_line(err)


def test_bad_yaml_is_one_line_and_debug_shows_the_traceback(weakbox, tmp_path):
    """Breaks when --debug hides what developers need, or a plain run shows it."""
    (tmp_path / "bad.yaml").write_text("run_root: [\n")
    code, _, err = weakbox("run", str(tmp_path / "bad.yaml"))
    assert code == 2
    assert "no YAML" in one_line(err)
    code, _, err = weakbox("--debug", "run", str(tmp_path / "bad.yaml"))
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert "no YAML" in err.splitlines()[-1]


def test_too_many_bad_images_exit_3(weakbox, config):
    """Breaks when an outage ends as success or failure instead of `stopped`."""
    for number in range(12):
        with open(f"data/train/3/bad{number}.jpg", "wb") as file:
            file.write(b"no image")
    code, _, err = weakbox("run", config, "--in-process", "--set", "max_quarantined=0.05")
    assert code == 3
    assert "12 of 72 images quarantined" in err.splitlines()[-1]
    assert "last run: stopped" in weakbox("status", config)[1]


def test_a_failure_exits_1_with_one_line(weakbox, config):
    """Breaks when an unexpected error loses its cause or shows a traceback unasked."""
    code, _, err = weakbox("run", config, "--in-process", "--set", "stages.psol.learning_rate=1e30")
    assert code == 1
    assert "Traceback" not in err
    assert "lower the learning rate" in err.splitlines()[-1]
    assert "last run: failed" in weakbox("status", config)[1]


def test_help_shows_examples_and_needs_no_ray():
    """Breaks when `weakbox --help` loses its examples, is slow for importing Ray, or no longer starts as a program."""
    code = "import sys; sys.modules['ray'] = None; sys.argv = ['weakbox', '--help']; from jobs.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=runs.Path(runs.__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    for words in ("Examples:", "weakbox plan", "weakbox run", "weakbox metrics", "Exit codes", "TARGET"):
        assert words in done.stdout


def test_the_verbs_and_options_are_frozen():
    """A change here is a decision: others' scripts depend on it. Write it into CHANGELOG.md."""
    assert isinstance(cli, click.Group)
    found = {
        name: sorted(opt for param in command.params for opt in param.opts if opt.startswith("-"))
        for name, command in cli.commands.items()
    }
    assert found == {
        "plan": ["--json", "--set"],
        "run": ["--address", "--force", "--in-process", "--only", "--set", "--strict"],
        "status": ["--set"],
        "report": ["--out", "--set"],
        "metrics": ["--json", "--set", "--show", "--split"],
        "verify": ["--all", "--repair", "--set", "--yes"],
        "gc": ["--json", "--older-than", "--recipes", "--set", "--yes"],
        "retry-quarantine": ["--json", "--set", "--stage", "--yes"],
        "submit": [
            "--address",
            "--detach",
            "--env",
            "--force",
            "--only",
            "--set",
            "--submission-id",
            "--working-dir",
        ],
        "maps": ["--out", "--set", "--split"],
        "reproduce": ["--json", "--set"],
        "jobs": ["--address", "--follow", "--json", "--logs", "--stop"],
        "baselines": ["--json", "--metadata"],
        "score": [
            "--boxes",
            "--classes",
            "--json",
            "--maps",
            "--masks",
            "--metadata",
            "--method",
            "--protocol",
            "--threshold",
        ],
        "export": [
            "--boxes",
            "--classes",
            "--format",
            "--images",
            "--keep-flagged",
            "--labels",
            "--max-boxes",
            "--merge",
            "--min-quality",
            "--min-score",
            "--out",
            "--outlines",
            "--overwrite",
            "--predictions",
            "--set",
            "--splits",
        ],
        "label": [
            "--format",
            "--keep",
            "--network",
            "--out",
            "--overwrite",
            "--ray",
            "--reviewed",
            "--run-root",
            "--strict",
            "--weights",
        ],
        "review": ["--out", "--sample", "--set"],
        "backbones": ["--json", "--size"],
        "init": ["--out"],
        "stages": ["--json"],
        "doctor": ["--no-ray"],
    }
    assert sorted(opt for param in cli.params for opt in param.opts) == [
        "--debug", "--log-format", "--log-level", "--version",
    ]  # fmt: skip
