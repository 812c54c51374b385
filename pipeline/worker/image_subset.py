"""A context through which a worker sees only some images of its shard."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract.context import Context, ImagePlace
from pipeline.store.records import Done
from schemas import TABLES

_IMAGE = "image_id"


class ImageSubset:
    """The Context of a part of a shard: tables that list images are cut down to those of the part."""

    def __init__(self, context: Context, image_ids: Sequence[str]) -> None:
        self._context = context
        self._wanted = pc.field(_IMAGE).isin(pa.array(image_ids, pa.string()))

    @property
    def device(self) -> str:
        """As the whole shard's."""
        return self._context.device

    @property
    def threads(self) -> int:
        """As the whole shard's."""
        return self._context.threads

    @property
    def scratch(self) -> str:
        """As the whole shard's."""
        return self._context.scratch

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Count the time inside the block as this phase."""
        return self._context.timed(phase)

    def table(
        self, done: Done, table: str, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """One table, without the rows of other images."""
        if _IMAGE in TABLES[table].schema.names:
            filters = self._wanted if filters is None else filters & self._wanted
        return self._context.table(done, table, columns, filters)

    def blob(self, done: Done, name: str) -> bytes:
        """One blob."""
        return self._context.blob(done, name)

    def read(self, uri: str, content_hash: str | None = None) -> bytes:
        """The bytes of a file."""
        return self._context.read(uri, content_hash)

    def read_image(self, place: ImagePlace, content_hash: str | None = None) -> bytes:
        """The bytes of an image."""
        return self._context.read_image(place, content_hash)
