"""Golden fixtures for parity tests: found by name prefix, any number a family, any sizes.

A test takes the argument ``golden`` and carries ``@pytest.mark.golden("prefix")``; it runs once for each fixture of
that family. Where there is none it skips with a reason, or fails when WEAKBOX_GOLDEN is set.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = "WEAKBOX_GOLDEN"


@dataclass(frozen=True)
class Golden:
    """One fixture: its sidecar and its arrays."""

    name: str
    sidecar: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def parameters(self) -> dict[str, Any]:
        """What the reference was run with."""
        return self.sidecar["parameters"]

    def tolerance(self, key: str) -> float:
        """The number in a tolerance such as ``1e-5 absolute`` or ``exact where |heatmap| > 1e-3``."""
        text = self.sidecar["tolerance"][key]
        return text if isinstance(text, float) else next(float(word) for word in text.split() if word[0].isdigit())


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(prefix): run for every golden fixture whose name starts with prefix")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("golden")
    assert marker is not None, f"{metafunc.definition.nodeid} names no family: @pytest.mark.golden(prefix)"
    prefix = marker.args[0]
    sidecars = sorted(_folder().glob(f"{prefix}*.json"))
    metafunc.parametrize("golden", sidecars or [None], indirect=True, ids=[path.stem for path in sidecars] or [prefix])


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    sidecar: Path | None = request.param
    if sidecar is None:
        message = f"no golden fixture of this family in {_folder()}"
        if _VARIABLE in os.environ:
            pytest.fail(message)
        pytest.skip(message)
    facts = json.loads(sidecar.read_text())
    archive = sidecar.with_suffix(".npz")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == facts["sha256"], f"{archive.name} is damaged"
    with np.load(archive, allow_pickle=False) as arrays:
        return Golden(sidecar.stem, facts, dict(arrays))


def _folder() -> Path:
    return _ROOT / os.environ.get(_VARIABLE, "../shared/golden")
