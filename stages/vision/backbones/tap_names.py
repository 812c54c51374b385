"""The layers of one network that stages may read, by name, and which of them each kind of map reads by default."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

__all__ = ["TapNames", "unknown"]


@dataclass(frozen=True)
class TapNames:
    """Names of layers -> module paths inside the network; each puts out maps ``(B, d, h, w)``.

    main: the usual layers; the first is the default. others: layers that are read only if a config names them. off:
    names among both that the classes do not depend on: no gradient reaches them.
    ddt, gradient: what stages ddt and gradcam read by default; empty: the first of `main`.
    scg: what stage scg reads by default, layers of one grid; empty: the stage selects them itself.
    """

    main: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    off: Collection[str] = ()
    ddt: str = ""
    gradient: str = ""
    scg: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """The default tap."""
        return next(iter(self.main))

    @property
    def ddt_default(self) -> str:
        """The default tap of stage ddt."""
        return self.ddt or self.default

    @property
    def gradient_default(self) -> str:
        """The default tap for gradients."""
        return self.gradient or self.default

    @property
    def paths(self) -> Mapping[str, str]:
        """Module paths of all taps by name, the usual ones first."""
        return {**self.main, **self.others}

    def path(self, tap: str, of: str) -> str:
        """Module path of a tap of backbone `of`. Raises: ValueError for an unknown one, naming the nearest."""
        known = self.paths
        if tap not in known:
            raise ValueError(unknown(f"tap of {of}", tap, known))
        return known[tap]


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The message for an unknown name, with the nearest known one."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"unknown {kind} {name!r}: did you mean {nearest!r}? Known: {', '.join(known)}"
