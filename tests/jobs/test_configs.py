"""The ready configs."""

from pathlib import Path

import pytest

from pipeline.config.run_config import load_config
from pipeline.planning.foresight import rehearse
from pipeline.planning.graph import topological
from stages import catalog

CONFIGS = sorted((Path(__file__).parents[2] / "jobs" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_ready_config_can_be_planned(path):
    """Breaks when a stage's parameters change and a config that users start from is left behind."""
    stages = load_config(str(path)).stage_objects(catalog)
    for stage in stages.values():
        stage.check()
    assert topological(stages)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_networks_and_weights_of_every_ready_config_fit(path):
    """Breaks when a config names weights of another network, or when what would train is refused beforehand."""
    stages = load_config(str(path)).stage_objects(catalog)
    rehearse(stages, stages)
