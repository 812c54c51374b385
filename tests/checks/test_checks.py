"""Our own checks in `make check`: each must find what it looks for."""

import grimp
import pytest

from tests.checks.dead_code import unused
from tests.checks.rooms_contract import RoomsContract
from tests.checks.shapes import without_shape
from tests.checks.typed_seams import found


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("house.one.stage", "house.one.mathematics", True),
        ("house.one.stage", "house.ground", True),
        ("house.catalog", "house.two.stage", True),
        ("house.one.stage", "house.two.mathematics", False),
        ("house.ground.deep", "house.one.stage", False),
        ("house.ground", "house.one", False),
        ("jobs", "house.one.stage", False),
    ],
)
def test_rooms_are_known_to_the_catalog_alone(importer, imported, kept):
    """Breaks when one room, the ground or a command imports a room and the contract is kept, or the other way round."""
    graph = grimp.ImportGraph()
    rooms = ("house.one", "house.one.stage", "house.one.mathematics", "house.two", "house.two.stage")
    for module in (
        "house",
        "house.catalog",
        "house.ground",
        "house.ground.deep",
        *rooms,
        "house.two.mathematics",
        "jobs",
    ):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    options = {"house": "house", "ground": ["house.ground"], "allowed_importers": ["house.catalog"]}
    check = RoomsContract("rooms", {}, options).check(graph, verbose=False)
    assert check.kept is kept
    assert check.metadata["wrong"] == ([] if kept else [f"{importer} -> {imported}"])


SOURCE = '''
def one(a: Any, *b: Any, c: int, **d: Any) -> dict[str, Any]:  # type: ignore[misc]
    """Any; type: ignore."""
    return {"text": "# type: ignore"}

class Two:
    async def three(self, x: "list[Any]") -> Any:
        return x
'''


def test_every_open_end_is_counted_once():
    """Breaks when a starred parameter, a method or a comment is not counted, or a string is."""
    assert sorted(found(SOURCE)) == [
        ("parameters Any", 2),
        ("parameters Any", 2),
        ("parameters Any", 2),
        ("results Any or dict[str, Any]", 2),
        ("results Any or dict[str, Any]", 7),
        ("type: ignore", 2),
    ]


def test_a_function_over_arrays_without_a_shape_is_named():
    """Breaks when a result, an array type of ours, or brackets without a shape escape the check."""
    source = '''
def known(boxes: np.ndarray) -> None:
    """Boxes ``(..., 4)`` of anything."""
def unknown(boxes: FloatArray) -> None:
    """Boxes (of anything)."""
def result() -> torch.Tensor:
    """A result."""
def weights(named: Mapping[str, torch.Tensor]) -> None:
    """Weights by name."""
def _private(boxes: np.ndarray) -> None: ...
'''
    assert list(without_shape(source)) == [(4, "unknown"), (6, "result")]


def test_dead_code_is_what_nothing_calls_even_where_it_is_exported(tmp_path):
    """Breaks when a function that stands only in its module's `__all__`, or only in tests, counts as used."""
    (tmp_path / "one.py").write_text(
        '__all__ = ["dead", "live"]\n\n\ndef dead():\n    pass\n\n\ndef live():\n    pass\n'
    )
    (tmp_path / "other.py").write_text("from one import live\n\nlive()\n")
    assert [name for _, _, name in unused([tmp_path])] == ["dead"]
