"""How the layers of published networks are called, and what becomes of each here."""

import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Layout"]

_PROJECTIONS = ("head.", "fc.", "projector.", "projection_head.", "prototypes.")
"""Heads of published networks and of self-supervised training, which a network with another head leaves unread."""


@dataclass(frozen=True)
class Layout:
    """What the names in files of one network mean.

    renames: (pattern, replacement) pairs of names that differ from ours by more than a leading ``features.``.
    unused: beginnings of names, without ``features.``, of layers that the network has not.
    """

    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def own_name(self, name: str, own: Collection[str]) -> str | None:
        """The network's name (one of `own`) for a name in a file; None where it has no such tensor."""
        renamed = name
        for pattern, replacement in self.renames:
            renamed = re.sub(pattern, replacement, renamed)
        return next((one for one in (name, renamed, f"features.{renamed}") if one in own), None)

    def may_be_unused(self, name: str) -> bool:
        """Whether a name without a place in the network belongs to a head or to layers that it does without."""
        return name.removeprefix("features.").startswith((*_PROJECTIONS, *self.unused))
