"""docs/troubleshooting.md quotes messages that the product has."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_GAP = "\N{HORIZONTAL ELLIPSIS}"
_ROWS = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@cache
def texts() -> list[str]:
    """Every text of the product's code, with a gap where a value stands."""
    files = [path for name in ("pipeline", "stages", "jobs") for path in (ROOT / name).rglob("*.py")]
    return [text for path in files for text in texts_of(ast.parse(path.read_text()))]


def texts_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_there_are_messages():
    """Breaks when the table has another form and nothing is compared."""
    assert len(_ROWS) > 25


@pytest.mark.parametrize("message", _ROWS)
def test_a_message_of_the_page_is_a_message_of_the_product(message):
    """Breaks when a message changes and the page keeps the old words, which nobody will find by searching."""
    pieces = [piece.strip() for piece in message.split(_GAP) if piece.strip(" :")]
    assert any(all(piece in text for piece in pieces) for text in texts())
