"""A contract for import-linter: the rooms of a house are known to the packages that may know them, and to no other."""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class RoomsContract(Contract):
    """Every child of `house` is a room, but for `ground`; also a room that does not exist yet.

    house: a package. ground: its children that all rooms may import. allowed_importers: modules (not packages) that may
    import rooms. A room is imported by itself and by these alone.
    """

    type_name = "rooms"

    house = fields.StringField()
    ground = fields.ListField(subfield=fields.StringField())
    allowed_importers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """The imports of rooms from elsewhere."""
        ground, allowed = set(self.ground), set(self.allowed_importers)  # type: ignore[call-overload]
        if unknown := (ground | allowed) - graph.modules:
            raise ValueError(f"contract {self.name}: there is no {', '.join(sorted(unknown))}")
        wrong = []
        for room in graph.find_children(str(self.house)) - ground - allowed:
            own = {room, *graph.find_descendants(room)}
            importers = {(who, what) for what in own for who in graph.find_modules_that_directly_import(what)}
            wrong += [f"{who} -> {what}" for who, what in importers if who not in own | allowed]
        return ContractCheck(kept=not wrong, metadata={"wrong": sorted(wrong)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an import."""
        said: dict[str, Any] = check.metadata
        for line in said["wrong"]:
            output.print_error(f"- {line}")
