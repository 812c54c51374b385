"""Reader `auto`: recognizes the layout of a root, logs it, and lists the root by that layout's reader."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

from pipeline.base.errors import UsageError
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Scan

__all__ = ["AutoReader"]

_LOG = logging.getLogger("weakbox.ingest")

AnyReader = Reader[ReaderParams]


class AutoReader(Reader[ReaderParams]):
    """Recognizes the layout of a root and uses its reader."""

    name = "auto"
    Params = ReaderParams

    def __init__(self, params: ReaderParams) -> None:
        super().__init__(params)
        self._readers: Sequence[type[AnyReader]] = ()

    def among(self, readers: Sequence[type[AnyReader]]) -> None:
        """Remember the readers to choose from; the last may be `folder`, which takes what no other does."""
        self._readers = [reader for reader in readers if reader.name != self.name]

    @property
    def displayed(self) -> bool:
        """That of the chosen reader."""
        return self._chosen.displayed

    def scan(self) -> Scan:
        """List the data set. Raises UsageError for an unknown layout, with the two nearest ones."""
        return self._chosen.scan()

    @cached_property
    def _chosen(self) -> AnyReader:
        tree = Tree(self.params.root)
        matches = {reader: match for reader in self._readers if (match := reader.recognise(tree)) is not None}
        sure = [reader for reader, match in matches.items() if not match.missing]
        particular = [reader for reader in sure if reader.name != "folder"]
        if not sure:
            raise UsageError(f"dataset: root {self.params.root}: no layout that is known here{_nearest(matches)}")
        if len(particular) > 1:
            both = " and ".join(f"reader {reader.name} ({matches[reader].why})" for reader in particular[:2])
            raise UsageError(f"dataset: root {self.params.root}: laid out for {both}: name one of them as reader")
        reader = (particular or sure)[0]
        _LOG.info("reader auto: %s takes %s: %s", reader.name, self.params.root, matches[reader].why)
        return self._made(reader, matches[reader])

    def _made(self, reader: type[AnyReader], match: Match) -> AnyReader:
        given: dict[str, Any] = {field.name: getattr(self.params, field.name) for field in fields(ReaderParams)}
        return reader(reader.Params(**{**given, **match.settings}))


def _nearest(matches: Mapping[type[AnyReader], Match]) -> str:
    near = [f"{reader.name} lacks {match.missing}" for reader, match in matches.items()]
    return f"; nearest: {', '.join(near[:2])}" if near else "; docs/datasets.md lists the known ones"
