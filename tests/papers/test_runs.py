"""The papers' configs run through on replicas of their data sets, with small networks and few epochs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobs.cli import cli
from jobs.target import open_target, remember
from tests import runs
from tests.papers import replicas

FOLDER = Path(__file__).resolve().parents[2] / "jobs" / "configs" / "papers"
SMALL = "{stage: classify, backbone: smallnet, epochs: 1, batch_size: 16}"
UNTRAINED = "{stage: classify, backbone: smallnet, epochs: 0}"
TINY_SGRM = ("iterations=3", "size=64", "channels=8")
PSOL = (
    f"stages.vgg={UNTRAINED}",
    "stages.ddt.tap=layer3",
    "stages.psol.epochs=1",
    "stages.psol.batch_size=16",
)
SPA = (
    f"stages.classify={UNTRAINED}",
    "stages.plain.epochs=1",
    "stages.plain.batch_size=16",
    "stages.spa.epochs=1",
    "stages.spa.batch_size=16",
    "stages.spa.first_epoch=0",
)
MINMAX = (
    f"stages.classify={UNTRAINED}",
    "stages.plain.epochs=1",
    "stages.plain.batch_size=16",
    "stages.minmax={epochs: 1, classes: 2, set_size: 2}",
)
LCAR = (
    "stages.classify={backbone: vit_tiny_p8, epochs: 0}",
    "stages.sdcam.epochs=1",
    "stages.sdcam.batch_size=16",
    *(f"stages.{name}.size=64" for name in ("signed", "arm", "arm_alone")),
    *(
        f"stages.{name}.{change}"
        for name in ("lcar", "lcar_guarded", "sgrm_alone", "without_sdcam")
        for change in TINY_SGRM
    ),
    "stages.lcar_guarded.min_iterations=2",
)
SHRUNK = {
    "psol_cub": (*PSOL, f"stages.classify={SMALL}"),
    "psol_ilsvrc": (*PSOL, f"stages.classify={UNTRAINED}", f"stages.better={UNTRAINED}"),
    "i2c_ilsvrc": (
        f"stages.classify={SMALL}",
        "stages.i2c.epochs=1",
        "stages.i2c.classes=2",
        "dataset.dev_fraction=0.2",
    ),
    "spa_cub": (*SPA, "dataset.dev_fraction=0.2"),
    "spa_ilsvrc": (*SPA, "dataset.dev_fraction=0.2"),
    "minmax_cub": (*MINMAX, f"stages.classifier={SMALL}"),
    "minmax_openimages": MINMAX,
    "lcar_cub": (*LCAR, "dataset.dev_fraction=0.2"),
    "lcar_ilsvrc": (*LCAR, "dataset.dev_fraction=0.2"),
}
IN_EVERY_TEST = ("psol_cub", "spa_cub", "minmax_openimages")
"""A trained regressor, maps with union boxes, and masks; the others take their turn in `make test-long`."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return replicas.pictures(tmp_path_factory.mktemp("pictures") / "demo")


def data_set(name, folder, made):
    """A replica of the config's data set."""
    if name == "minmax_openimages":
        return replicas.wsol(folder, made, "OpenImages", masks=True)
    if name == "minmax_cub":
        return replicas.wsol(folder, made, "CUB")
    return (replicas.cub if name.endswith("cub") else replicas.ilsvrc)(folder, made)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_EVERY_TEST else pytest.mark.long) for name in SHRUNK]
)
def test_a_config_runs_through_and_fills_its_tables(name, tmp_path, made):
    """Breaks when a paper's config stops in the middle, or a number of its tables comes out of no stage."""
    root, run = data_set(name, tmp_path / "data", made), tmp_path / "run"
    where = (f"run_root={run}", f"dataset.root={root}", "dataset.shard_size=20", "resources={cpus: 1}")
    config, changes = str(FOLDER / f"{name}.yaml"), (*where, *SHRUNK[name])
    target = open_target(config, changes)
    runs.execute(target)
    remember(target)
    assert runs.missing(target) == {}
    said = [argument for change in changes for argument in ("--set", change)]
    result = CliRunner().invoke(cli, ["reproduce", config, *said, "--json", "-"])
    assert result.exit_code == 0, result.output
    own = [row for row in json.loads(result.stdout) if row["this row is made by"] == "the config as it is"]
    assert own
    assert [row for row in own if row["paper"] is None or row["ours"] is None] == []
    assert "not the paper's: " in result.stderr
