"""Counting what a reader leaves out, by reason."""

from collections import Counter

__all__ = ["Tally"]


class Tally:
    """How many items were left out for each reason, with the name of the first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count items of which `name` is the first. reason: in the plural, "images without an annotation"."""
        self._counts[reason] += count
        self._first.setdefault(reason, name)

    def lines(self) -> list[str]:
        """One line per reason, in order of first occurrence: "3 images without an annotation (a.jpg, ...)"."""
        return [
            f"{count} {reason} ({self._first[reason]}{', ...' if count > 1 else ''})"
            for reason, count in self._counts.items()
        ]
