"""Name and colour of each method, the same wherever it appears on the page."""

from collections.abc import Iterable

from schemas.types import TRIVIAL

__all__ = ["NO_COLOUR", "Names"]

COLOURS = 6
NO_COLOUR = -1


class Names:
    """Names and colour numbers of (method, stage) pairs.

    A method is shown by its own name if one stage gives its boxes and one its maps; otherwise the stage is named, too.
    Every name has one colour; trivial predictors have none.

    boxed, mapped: pairs that give boxes, and pairs that give score maps or curves.
    """

    def __init__(self, boxed: Iterable[tuple[str, str]], mapped: Iterable[tuple[str, str]]) -> None:
        groups = [sorted(set(boxed)), sorted(set(mapped))]
        counts = [[method for method, _ in pairs] for pairs in groups]
        self._ambiguous = {method for methods in counts for method in methods if methods.count(method) > 1}
        names = dict.fromkeys(self(*pair) for pairs in groups for pair in pairs if pair[0] not in TRIVIAL)
        self._colours = {name: number % COLOURS for number, name in enumerate(names)}

    def __call__(self, method: str, stage: str) -> str:
        """The name of a method's results from a stage."""
        return f"{method} · {stage}" if method in self._ambiguous and stage != method else method

    def colour(self, method: str, stage: str) -> int:
        """The colour number of that name, from 0; `NO_COLOUR` for a trivial predictor."""
        return self._colours.get(self(method, stage), NO_COLOUR)
