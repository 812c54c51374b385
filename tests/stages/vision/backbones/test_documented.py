"""docs/backbones.md says what the table of backbones says."""

from pathlib import Path

from stages.vision.backbones.registry import BACKBONES
from tests.stages.vision.backbones.made import feature_shape, meta_network

PAGE = Path(__file__).resolve().parents[4] / "docs" / "backbones.md"


def documented():
    """Name -> the other cells of its row."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_every_backbone_is_documented_as_it_is():
    """Breaks when an entry is added or changed and its row is not: size, features, taps, CAM, parameters."""
    rows = documented()
    assert list(rows) == list(BACKBONES)
    for name, (size, features, taps, head, parameters) in rows.items():
        entry, network = BACKBONES[name], meta_network(name)
        channels, height, width = feature_shape(name)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert (size, features) == (str(entry.input_size), f"{height}x{width}x{channels}")
        assert taps.split(", ") == list(entry.taps)
        assert head.endswith("no CAM") is not network.has_cam
        assert entry.cam == ("exact" if network.has_cam else "gradient")
        assert ("conv3x3" in head) is (network.head is not None)
        assert parameters == f"{count / 1e6:.2f}"
