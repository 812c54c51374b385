"""What a table is: named, versioned, documented columns; and the check that an Arrow table is one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TABLE_KEY = b"weakbox.table"
VERSION_KEY = b"weakbox.schema_version"


class SchemaError(ValueError):
    """A table does not follow its schema; the message names table, column and first bad row."""


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, meaning, and an optional check of its values.

    `check` takes the column as one array and returns a boolean numpy array ``(rows,)``, true for *bad* rows. `also`:
    another type that the column may have, the same in all parts of a stage.
    """

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False
    check: Callable[[pa.Array], np.ndarray] | None = None
    also: pa.DataType | None = None


@dataclass(frozen=True)
class TableSpec:
    """A table of the run: `key` columns identify a row, `version` grows when a column changes its meaning."""

    name: str
    version: int
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema, column documentation and the schema version in its metadata."""
        fields = [pa.field(c.name, c.type, c.nullable, metadata={"doc": c.doc}) for c in self.columns]
        return pa.schema(fields, metadata={TABLE_KEY: self.name.encode(), VERSION_KEY: str(self.version).encode()})

    def empty(self) -> pa.Table:
        """A table of this schema without rows."""
        return self.schema.empty_table()

    def from_rows(
        self, rows: Sequence[Mapping[str, object]], types: Mapping[str, pa.DataType] | None = None
    ) -> pa.Table:
        """A table of this schema, one dictionary a row; a missing key is null. types: of columns with another type."""
        return pa.Table.from_pylist(list(rows), schema=self.schema_with(types or {}))

    def schema_with(self, types: Mapping[str, pa.DataType]) -> pa.Schema:
        """The schema where some columns have another type."""
        fields = [field.with_type(types.get(field.name, field.type)) for field in self.schema]
        return pa.schema(fields, metadata=self.schema.metadata)

    def arranged(self, table: pa.Table) -> pa.Table:
        """A table that `validate` accepts, in the order and with the documentation of this schema."""
        types = {column.name: table.schema.field(column.name).type for column in self.columns if column.also}
        return table.select(self.schema.names).cast(self.schema_with(types))

    def from_columns(self, columns: Mapping[str, pa.ChunkedArray | Sequence[object]], rows: int) -> pa.Table:
        """A table of this schema from its columns, each of `rows` rows; a missing column is null."""
        arrays = [
            found if isinstance(found := columns.get(field.name), pa.ChunkedArray) else _array(found, field.type, rows)
            for field in self.schema
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _array(values: Sequence[object] | None, kind: pa.DataType, rows: int) -> pa.Array:
    return pa.nulls(rows, kind) if values is None else pa.array(values, kind)


def check_version(schema: pa.Schema, spec: TableSpec) -> None:
    """Refuse a file whose schema version is unknown or newer than this program's.

    Raises:
        SchemaError: the file holds another table, has no version, or one that this program does not know.
    """
    metadata = schema.metadata or {}
    name = metadata.get(TABLE_KEY, b"?").decode()
    if name != spec.name:
        raise SchemaError(f"table {spec.name}: the file holds table {name!r}")
    version = metadata.get(VERSION_KEY, b"").decode()
    if not version.isdigit() or not 1 <= int(version) <= spec.version:
        raise SchemaError(
            f"table {spec.name}: schema version {version or 'missing'} is not known here"
            f" (newest known: {spec.version}); a newer weakbox wrote this file"
        )


def validate(table: pa.Table, spec: TableSpec) -> None:
    """Check columns, types, nulls, values and key uniqueness of `table`.

    Raises:
        SchemaError: names the table, the column and the first bad row.
    """
    for column in spec.columns:
        if column.name not in table.column_names:
            raise SchemaError(f"table {spec.name}: column {column.name} is missing")
        _validate_column(table.column(column.name), column, spec.name)
    extra = set(table.column_names) - {c.name for c in spec.columns}
    if extra:
        raise SchemaError(f"table {spec.name}: unknown column {sorted(extra)[0]}")
    _validate_key(table, spec)


def _validate_column(values: pa.ChunkedArray, column: Column, table: str) -> None:
    where = f"table {table}: column {column.name}"
    if values.type not in (column.type, column.also):
        raise SchemaError(f"{where}: type {values.type}, expected {column.type}")
    if not column.nullable and values.null_count:
        raise SchemaError(f"{where}: null in row {_first(pc.is_null(values))}")
    if column.check is not None and len(values):
        bad = column.check(values.combine_chunks())
        if bad.any():
            row = int(np.argmax(bad))
            raise SchemaError(f"{where}: bad value {values[row].as_py()!r} in row {row}")


def _validate_key(table: pa.Table, spec: TableSpec) -> None:
    if not spec.key or table.num_rows < 2:
        return
    keys = table.select(list(spec.key))
    if keys.group_by(list(spec.key)).aggregate([]).num_rows == table.num_rows:
        return
    seen: set[tuple[object, ...]] = set()
    for row, values in enumerate(zip(*(c.to_pylist() for c in keys.columns), strict=True)):
        if values in seen:
            raise SchemaError(f"table {spec.name}: column {'+'.join(spec.key)}: {values} is repeated in row {row}")
        seen.add(values)


def _first(mask: pa.ChunkedArray) -> int:
    return int(np.argmax(mask.to_numpy()))
