"""The README and the tutorials are run as they stand: each block, in order, in one empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.target import open_config

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("tutorial-*.md"))]
_BLOCK = re.compile(r"^```(sh|python|yaml)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MOST_LEFT_OUT = 1


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, the rest of its first line, text) of each block."""
    return _BLOCK.findall((ROOT / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_blocks_that_are_not_run_say_why_and_are_few(page):
    """Breaks when a block is quietly left out, or has another language than those that are run."""
    found = blocks(page)
    left_out = [said for _, said, _ in found if said]
    assert all(re.fullmatch(r" not run: .{10,}", said) for said in left_out)
    assert len(left_out) <= _MOST_LEFT_OUT
    assert (ROOT / page).read_text().count("\n```") == 2 * len(found)


@pytest.mark.docs
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_works_as_it_stands(page, tmp_path):
    """Breaks when what a newcomer types does not do what the page says; of a config, when its stages do not fit."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, said, text in blocks(page):
        if said:
            continue
        if language == "yaml":
            open_config(yaml.safe_load(text))
            continue
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1700)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        print(f"$ {text}\n{done.stdout}")
