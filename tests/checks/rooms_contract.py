"""A contract for import-linter: only named modules may import the rooms (subpackages) of a package."""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class RoomsContract(Contract):
    """Every child of `house` except `ground` is a room, also children that are added later.

    house: a package. ground: its children that all rooms may import. allowed_importers: modules (not packages) that may
    import rooms. Only a room itself and these may import a room.
    """

    type_name = "rooms"

    house = fields.StringField()
    ground = fields.ListField(subfield=fields.StringField())
    allowed_importers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find the imports of rooms by other modules."""
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
