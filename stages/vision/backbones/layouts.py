"""Translates tensor names of published weights to the names of our networks."""

import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Layout"]

_PROJECTIONS = ("head.", "fc.", "projector.", "projection_head.", "prototypes.")
"""Heads of published networks and of self-supervised training; they are ignored by a network with another head."""


@dataclass(frozen=True)
class Layout:
    """Rules that translate the tensor names in files to those of one network.

    renames: (pattern, replacement) pairs of names that differ from ours by more than a leading ``features.``.
    unused: prefixes of names, without ``features.``, of layers that the network does not have.
    """

    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def own_name(self, name: str, own: Collection[str]) -> str | None:
        """The network's name (one of `own`) for a name in a file; None if the network has no such tensor."""
        renamed = name
        for pattern, replacement in self.renames:
            renamed = re.sub(pattern, replacement, renamed)
        return next((one for one in (name, renamed, f"features.{renamed}") if one in own), None)

    def may_be_unused(self, name: str) -> bool:
        """Whether a tensor that the network lacks belongs to a head, or to layers listed in `unused`."""
        return name.removeprefix("features.").startswith((*_PROJECTIONS, *self.unused))
