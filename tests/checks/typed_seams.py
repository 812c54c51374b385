"""Counts what the types of the product's code leave open; `make check` fails above the bars below.

A parameter annotated `Any`, and a result annotated `Any` or `dict[str, Any]`, tell a caller nothing; a `type: ignore`
tells the checker to look away.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("jobs", "pipeline", "schemas", "stages", "weakbox")
BARS = {"type: ignore": 8, "parameters Any": 15, "results Any or dict[str, Any]": 15}


def found(source: str) -> Iterator[tuple[str, int]]:
    """(kind, line) of everything in a module that `BARS` counts."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and "type: ignore" in token.string:
            yield "type: ignore", token.start[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((kind, node.lineno) for kind in _open_ends(node))


def _open_ends(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    named = function.args
    for parameter in (*named.posonlyargs, *named.args, *named.kwonlyargs, named.vararg, named.kwarg):
        if parameter is not None and parameter.annotation and ast.unparse(parameter.annotation) == "Any":
            yield "parameters Any"
    if function.returns and ast.unparse(function.returns) in ("Any", "dict[str, Any]"):
        yield "results Any or dict[str, Any]"


def main() -> int:
    """Print the counts, and the places of each kind above its bar; returns 1 if there is one."""
    places = [
        (kind, f"{path.relative_to(ROOT)}:{line}")
        for top in PRODUCT
        for path in sorted((ROOT / top).rglob("*.py"))
        for kind, line in found(path.read_text())
    ]
    counts = Counter(kind for kind, _ in places)
    print("; ".join(f"{kind}: {counts[kind]} of at most {bar}" for kind, bar in BARS.items()))
    over = {kind for kind, bar in BARS.items() if counts[kind] > bar}
    for kind, place in places:
        if kind in over:
            print(f"{place}: {kind}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
