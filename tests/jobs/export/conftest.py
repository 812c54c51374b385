"""A finished run of awkward pictures, and the command on it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from jobs.cli import cli
from tests.jobs.export import odd_run


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Any:
    """The finished run, opened. Read only."""
    folder = tmp_path_factory.mktemp("odd")
    target = odd_run.make(folder)
    (folder / "run.yaml").write_text(yaml.safe_dump(odd_run.config(folder)))
    return target


@pytest.fixture(scope="session")
def want(odd) -> dict[str, dict[str, Any]]:
    """What an export of all splits must hold."""
    return odd_run.expected(odd)


@pytest.fixture
def export(odd, tmp_path):
    """export("yolo", "--images", "copy") -> the folder that it made."""

    def call(form: str, *options: str, out: Path | str | None = None) -> Path:
        place = out or tmp_path / "out"
        config = Path(odd.config.run_root).parent / "run.yaml"
        arguments = ["export", str(config), "--format", form, "--out", str(place), *options]
        result = CliRunner().invoke(cli, arguments)
        if result.exception is not None:
            raise result.exception
        return Path(place)

    return call
