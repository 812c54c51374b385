"""What the papers' configs and networks are, against tables typed from the papers (`values/*.yaml`).

A table says what is in force once presets, backbones and the config have had their say, and where it stands.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from pipeline.config.run_config import load_config
from stages import catalog
from stages.vision.backbones.meta import meta_images, meta_network
from stages.vision.backbones.registry import backbone, input_size

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "jobs" / "configs" / "papers"
TABLES = sorted((HERE / "values").glob("*.yaml"))
ENTRIES = [
    pytest.param(entry, id=f"{path.stem}-{number}-{entry.get('stage') or entry['backbone']}")
    for path in TABLES
    for number, entry in enumerate(yaml.safe_load(path.read_text()))
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_the_paper_says_is_in_force(entry):
    """Breaks when a preset, a default or a config drifts from what the paper or its released code has."""
    assert entry["from"], "every value says where it stands"
    found = in_force(entry)
    for name, value in entry["is"].items():
        assert found[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float | int) else value) or (
            isinstance(value, list) and list(found[name]) == pytest.approx(value, rel=1e-6)
        ), f"{name}: {found[name]!r}, {entry['from']} has {value!r}"


def test_every_paper_has_a_table():
    """Breaks when a paper's table goes."""
    assert [path.stem for path in TABLES] == ["i2c", "lcar", "minmax", "psol", "spa"]


def in_force(entry: dict[str, Any]) -> dict[str, Any]:
    """The values of a config's stage, or of a network."""
    if "config" not in entry:
        return of_network(entry["backbone"], entry["size"])
    stages = load_config(str(CONFIGS / f"{entry['config']}.yaml"), entry.get("set", ())).stage_objects(catalog)
    params = stages["ingest" if entry["stage"] == "dataset" else entry["stage"]].params
    return vars(params) | derived(params, entry.get("backbone", ""))


def derived(params: Any, network: str) -> dict[str, Any]:
    """What presets and the backbone make of a stage's parameters."""
    match type(params).__name__:
        case "PsolParams":
            filled = params.filled()
            return vars(filled) | vars(filled.chosen)
        case "SpaParams":
            filled = params.filled()
            return vars(filled) | vars(filled.ram)
        case "ScgStageParams":
            return vars(params.settings(network)) | {"taps": list(backbone(network).tap_names.scg)}
        case "MinmaxParams":
            filled = params.training(network)
            return vars(filled) | {"images": filled.classes * params.set_size}
        case "I2cParams":
            return {"images": params.classes * params.set_size}
        case "SgrmStageParams":
            return vars(params.settings())
        case "SdcamParams":
            return vars(params.filled())
    return {}


def of_network(name: str, size: int) -> dict[str, Any]:
    """Grid and channels of a network's features, widths of the convolutions behind them, and its own input size."""
    network = meta_network(name, 2, size)
    features = network.features(meta_images(size))
    layers = [] if network.head is None else [layer for layer in network.head.modules() if isinstance(layer, nn.Conv2d)]
    return {
        "grid": features.shape[2],
        "channels": features.shape[1],
        "head": [layer.out_channels for layer in layers],
        "input_size": input_size(name),
    }
