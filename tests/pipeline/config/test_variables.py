import json
import os
from typing import Any

import pytest

from pipeline.base.errors import UsageError
from pipeline.config.run_config import RunConfig, load_config, parse_config, parse_remembered
from stages import catalog

CONFIG = """
run_root: ${WB_RUNS}/x
dataset: {reader: folder, root: "${WB_DATA:-photos}"}
stages:
  classify: {epochs: "${WB_EPOCHS}", weights: "${WB_MODELS:-/models}/net.pth", learning_rate: "${WB_RATE:-1e-2}"}
resources: {actors: "${WB_ACTORS:-3}", labels: {zone: "${WB_ZONE:-7a}"}}
max_quarantined: ${WB_MOST:-0.5}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The config above, with some of its variables set."""
    for name in list(os.environ):
        if name.startswith("WB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WB_EPOCHS", "4")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return "c.yaml"


def params_of(config: RunConfig, stage: str) -> Any:
    """The parameters of one of its stages."""
    return dict(config.stage_objects(catalog))[stage].params


def kept(config: RunConfig) -> dict[str, Any]:
    """What a run root keeps of it, as it comes back from there."""
    stored: dict[str, Any] = json.loads(json.dumps(config.remembered))
    return stored


def test_a_variable_is_a_number_where_a_number_is_wanted(config, monkeypatch):
    """Breaks when strict types refuse what only a variable can say, or 2017 is no name of a folder any more."""
    read = load_config(config)
    params = params_of(read, "classify")
    assert (params.epochs, params.weights, params.learning_rate) == (4, "/models/net.pth", 0.01)
    assert (read.resources.actors, read.resources.labels, read.max_quarantined) == (3, {"zone": "7a"}, 0.5)
    monkeypatch.setenv("WB_MODELS", "2017")
    changes = ["dataset={reader: coco, root: d, train: 'a', train_images: '${WB_MODELS}'}", "stages={}"]
    assert params_of(load_config(config, changes), "ingest").train_images == "2017"
    monkeypatch.setenv("WB_EPOCHS", "many")
    with pytest.raises(UsageError, match="stage classify: epochs"):
        load_config(config).stage_objects(catalog)


def test_a_root_keeps_the_texts_and_what_they_meant(config, monkeypatch, tmp_path):
    """Breaks when the values replace the texts, places stay relative, or the reader's environment counts in a root."""
    stored = kept(load_config(config))
    assert stored["stages"]["classify"]["epochs"] == "${WB_EPOCHS}"
    assert stored["max_quarantined"] == "${WB_MOST:-0.5}"
    assert (stored["run_root"], stored["dataset"]["root"]) == (str(tmp_path / "runs/x"), str(tmp_path / "photos"))
    assert stored["variables"] == {"WB_EPOCHS": "4"}
    for name in ("WB_EPOCHS", "WB_MODELS", "WB_MOST", "WB_RATE"):
        monkeypatch.setenv(name, "0.9")
    monkeypatch.delenv("WB_RUNS")
    again = parse_remembered(stored)
    params = params_of(again, "classify")
    assert (params.epochs, params.weights, again.max_quarantined) == (4, "/models/net.pth", 0.5)
    assert kept(again) == stored


def test_a_strangers_root_gets_nothing_of_the_environment(monkeypatch):
    """Breaks when the config.json of a root that someone else made pulls values out of the reader's environment."""
    monkeypatch.setenv("WB_PRIVATE", "mine")
    stored: dict[str, Any] = {"run_root": "/r", "dataset": {"reader": "folder", "root": "/d"}, "stages": {"report": {}}}
    changes: list[dict[str, Any]] = [
        {"stages": {"report": {"title": "${WB_PRIVATE}"}}},
        {"dataset": {"reader": "folder", "root": "/d/${WB_PRIVATE}"}},
        {"resources": {"labels": {"a": "${WB_PRIVATE}"}}},
    ]
    for change in changes:
        with pytest.raises(
            UsageError, match=r"it needs the variable WB_PRIVATE.*: run the config file instead"
        ) as caught:
            parse_remembered({**stored, **change})
        assert "mine" not in str(caught.value)
    for variables in (7, ["WB"], {"WB": 7}):
        with pytest.raises(UsageError, match="variables must be a mapping of texts"):
            parse_remembered({**stored, "variables": variables})
    with pytest.raises(UsageError, match="unknown key 'variables'"):
        parse_config({**stored, "variables": {}})


def test_set_on_a_root_names_variables_of_this_environment(config, monkeypatch):
    """Breaks when a --set that the user gives now cannot name a variable, or one name has two values in silence."""
    stored = kept(load_config(config))
    monkeypatch.setenv("WB_NEW", "5")
    change = ["stages.cam={input_size: '${WB_NEW}'}"]
    again = parse_remembered(stored, change)
    assert params_of(again, "cam").input_size == 5
    assert kept(again)["variables"] == {"WB_EPOCHS": "4", "WB_NEW": "5"}
    monkeypatch.setenv("WB_EPOCHS", "6")
    with pytest.raises(UsageError, match="WB_EPOCHS is '6' here and was '4'"):
        parse_remembered(stored, ["stages.classify.epochs=${WB_EPOCHS}"])
    assert params_of(parse_remembered(stored, ["stages.classify.epochs=6"]), "classify").epochs == 6


def test_a_variable_that_set_replaces_need_not_be_there(config, monkeypatch):
    """Breaks when a config whose ${WB_RUNS} nobody needs is refused."""
    monkeypatch.delenv("WB_RUNS")
    with pytest.raises(UsageError, match="run_root: the environment has no variable WB_RUNS"):
        load_config(config)
    assert load_config(config, ["run_root=y"]).run_root == os.path.abspath("y")


@pytest.mark.parametrize(
    "name", ["TOKEN", "MY_SECRET", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "hf_token", "CREDENTIALS"]
)
@pytest.mark.parametrize(
    "key", ["run_root", "dataset.root", "dataset.boxes", "stages.report.title", "resources.labels.a"]
)
def test_a_secret_is_not_expanded(config, monkeypatch, name, key):
    """Breaks when what must not be written anywhere gets into a config that a run root keeps."""
    monkeypatch.setenv(name, "s3cr3t")
    with pytest.raises(UsageError, match=f"{key}: {name} looks like a secret") as caught:
        load_config(config, [f"{key}=a/${{{name}}}"])
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://id:s3cr3t@bucket/x", "https://user:s3cr3t@host:80/x", "s3://id:s3/cr3t+s3cr3t@bucket/x"),
        *("https://h/w.pth?X-Amz-Signature=s3cr3t", "https://h/w?a=1&sig=s3cr3t", "https://h/w?token=s3cr3t"),
        *(
            "simplecache::s3://:s3cr3t@bucket/x",
            "https://h/w?X-Amz-Credential=s3cr3t&b=2",
            "https://h/w?api_key=s3cr3t",
        ),
    ],
)
@pytest.mark.parametrize("key", ["run_root", "dataset.root", "stages.classify.weights"])
def test_credentials_in_a_uri_are_refused_and_not_shown(config, monkeypatch, uri, key):
    """Breaks when a password or a signature in a URI is remembered, hashed into a recipe, or printed."""
    monkeypatch.setenv("WB_URI", uri)
    for text in (uri, "${WB_URI}"):
        with pytest.raises(UsageError, match=rf"{key}: .*\*\*\*.* holds credentials") as caught:
            load_config(config, [f"{key}={text}"])
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["s3://bucket/a@b", "https://host:80/a@b", "sftp://user@host/x", "abfs://c@account.net/x", "https://h/w?v=2"]
)
def test_what_is_no_credential_is_left_alone(config, uri):
    """Breaks when a port, an at sign or a version in a URI is taken for a password."""
    assert load_config(config, [f"run_root={uri}"]).run_root == uri


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASS", True), ("MYSQL_PWD", True), ("HF_PAT", True), ("BASIC_AUTH", True), ("S3_ACCESS_KEY", True),
        ("APIKEY", True), ("MY_TOKEN_2", True), ("MONKEY_DIR", False), ("KEYPOINTS", False), ("PATH_TO_DATA", False),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(name, secret):
    """Breaks when a usual name of a secret is kept in a run root, or a harmless one is refused."""
    from pipeline.config.variables import _SECRET

    assert bool(_SECRET.search(name)) == secret
