"""Documents that are made from the code say what the code says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.make_reference import PAGES
from stages.catalog import STAGES

FOLDER = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_reference_is_up_to_date(name):
    """A parameter, column, key or function changed: run `python -m docs.make_reference`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == "\n".join(PAGES[name]()) + "\n"


def test_every_method_has_a_page_with_a_picture():
    """Breaks when a method is added without its page, or a page without a part that readers look for."""
    kinds = {path.stem for path in (FOLDER / "methods").glob("*.md")}
    methods = {stage.kind for stage in STAGES if {"score_maps", "models"} & set(getattr(stage, "outputs", ()))}
    assert methods - {"classify", "import", "model"} <= kinds
    for kind in kinds:
        text = (FOLDER / "methods" / f"{kind}.md").read_text()
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Idea", "Equations", "Use", "Cost", "When, and when not", "Picture"], kind
        (picture,) = re.findall(r"^!\[[^\]]{20,}\]\(\.\./(images/methods/[^)]+)\)", text, re.MULTILINE)
        assert (FOLDER / picture).stat().st_size > 1000


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """A broken link, a page that the contents do not name, or a font or script from another host breaks it."""
    shutil.copytree(FOLDER, tmp_path / "docs")
    shutil.copy(FOLDER.parent / "zensical.toml", tmp_path)
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "build" / "site"
    pages = {str(path.relative_to(site).with_suffix("")): path.read_text() for path in site.rglob("*.html")}
    named = set(re.findall(r'= "([\w/-]+)\.md"', (FOLDER.parent / "zensical.toml").read_text()))
    assert {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.md")} == named
    assert named - {"README"} <= set(pages)
    for page in pages.values():
        assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', page) == []
        assert re.findall(r'<link[^>]+rel="(?:stylesheet|preload|preconnect)"[^>]+href="(?:https?:)?//', page) == []
