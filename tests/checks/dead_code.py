"""Functions, classes and methods that nothing in the product uses: `python -m tests.checks.dead_code`.

vulture finds them. Variables are left out: fields of records are read by the columns of their tables. What tests alone
use counts as unused, and belongs into the tests.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from vulture import Vulture

from stages.vision.backbones.registry import BACKBONES

ROOT = Path(__file__).parents[2]
PRODUCT = ("benchmarks", "docs", "jobs", "pipeline", "schemas", "stages", "weakbox")
_KINDS = {"class", "function", "method", "property", "unreachable_code"}

FROM_OUTSIDE = {
    "_should_skip_dynamo": "torch calls it",
    "armed": "tests/cluster waits for it",
    "backend_cls": "Ray Train calls it",
    "joint_loss": "tests derive the gradient of it that stage sgrm computes",
    "has_qualities": "the report's templates read it",
    "on_start": "Ray Train calls it",
    "readable": "pyarrow calls it",
    "seekable": "pyarrow calls it",
    "shown_layers": "the report's templates read it",
    "shows_truth": "the report's templates read it",
}
"""Name -> who uses it, where that is not Python code of ours."""


class _Finder(Vulture):
    """A name does not count as used because `__all__` of its module lists it."""

    def visit_Assign(self, node: ast.Assign) -> None:
        """Pass over it; vulture would take the names of `__all__` for used."""


def unused(paths: Iterable[Path]) -> Iterator[tuple[str, int, str]]:
    """(file, line, name) of each function, class or method below these paths that none of them uses."""
    finder = _Finder()
    finder.scavenge([str(path) for path in paths])
    for item in finder.get_unused_code():
        if item.typ in _KINDS:
            yield str(item.filename), item.first_lineno, item.name


def main() -> int:
    """Name them, and names that are allowed in vain; 1 where there is one."""
    found = list(unused(ROOT / package for package in PRODUCT))
    builders = {backbone.builder.rpartition(".")[2] for backbone in BACKBONES.values()}
    dead = [(path, line, name) for path, line, name in found if name not in FROM_OUTSIDE.keys() | builders]
    for path, line, name in dead:
        print(f"{Path(path).relative_to(ROOT)}:{line}: nothing uses {name}")
    idle = sorted(set(FROM_OUTSIDE) - {name for *_, name in found})
    for name in idle:
        print(f"tests/checks/dead_code.py: {name} is used, or gone: take it off the list")
    return 1 if dead or idle else 0


if __name__ == "__main__":
    sys.exit(main())
