"""Public functions over arrays and tensors say what shape these have: `python -m tests.checks.shapes`.

A shape is written (N, 4), (..., H, W), (N,), or in words: scalar, of any shape, the same shape.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("jobs", "pipeline", "schemas", "stages", "weakbox")
_ARRAYS = re.compile(r"ndarray|Tensor|ArrayLike|(?:Float|Int|Bool|Uint8)Array")
_NAMED = re.compile(r"(?:dict|Mapping)\[str, [^\]]*\]")
"""Tensors by name are weights: each has a shape of its own."""
_SHAPE = re.compile(r"\((?:\.\.\.|[\w+* /-]+),[^()]*\)|\(\.\.\.\)|scalar|any shape|same shape")


def without_shape(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of each public function of a module over arrays whose docstring says no shape."""
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    for function in functions:
        said = _SHAPE.search(ast.get_docstring(function) or "")
        if not said and not function.name.startswith("_") and _has_arrays(function):
            yield function.lineno, function.name


def _has_arrays(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotations = [argument.annotation for argument in arguments] + [function.returns]
    written = [_NAMED.sub("", ast.unparse(each)) for each in annotations if each is not None]
    return any(_ARRAYS.search(each) and not each.startswith("Callable") for each in written)


def main() -> int:
    """Print the functions without a shape; returns 1 if there are any."""
    found = 0
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, name in without_shape(path.read_text(encoding="utf-8")):
                print(f"{path.relative_to(ROOT)}:{line}: {name} says no shape of its arrays")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
