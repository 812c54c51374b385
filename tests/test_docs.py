"""Documents that are made from the code say what the code says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_reference import PAGES

FOLDER = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_reference_is_up_to_date(name):
    """A parameter, column, key or function changed: run `python -m docs.make_reference`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == "\n".join(PAGES[name]()) + "\n"


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """A broken link, a page that the contents do not name, or a font or script from another host breaks it."""
    shutil.copytree(FOLDER, tmp_path / "docs")
    shutil.copy(FOLDER.parent / "zensical.toml", tmp_path)
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.stem: path.read_text() for path in (tmp_path / "build" / "site").glob("*.html")}
    named = set(re.findall(r'= "([\w-]+)\.md"', (FOLDER.parent / "zensical.toml").read_text()))
    assert {path.stem for path in FOLDER.glob("*.md")} == named
    assert named - {"README"} <= set(pages)
    for page in pages.values():
        assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', page) == []
        assert re.findall(r'<link[^>]+rel="(?:stylesheet|preload|preconnect)"[^>]+href="(?:https?:)?//', page) == []
