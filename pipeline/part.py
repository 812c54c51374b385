"""A context through which a worker sees only some images of its shard."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.context import LocalContext
from pipeline.stage import Done
from schemas import TABLES

_IMAGE = "image_id"


class ImagesOnly:
    """The Context of a part of a shard: tables that list images are cut down to those of the part."""

    def __init__(self, context: LocalContext, image_ids: Sequence[str]) -> None:
        self._context = context
        self._wanted = pc.field(_IMAGE).isin(pa.array(image_ids, pa.string()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def table(self, done: Done, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
        """As the context's own, without the rows of other images."""
        if _IMAGE in TABLES[table].schema.names:
            filters = self._wanted if filters is None else filters & self._wanted
        return self._context.table(done, table, columns, filters)
