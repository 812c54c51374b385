"""The notebooks are executed from their first cell to their last, each in an empty folder."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_what_it_printed(name):
    """Breaks when outputs, which hold paths and times of one machine, are committed."""
    cells = json.loads((FOLDER / name).read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.docs
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_works_as_it_stands(name, tmp_path):
    """Breaks when a function, a column or a parameter that a cell names has changed."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=1700, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [cell for cell in notebook.cells if cell.get("outputs")]
    assert len(printed) >= 5
