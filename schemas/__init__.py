"""The tables that stages exchange: pyarrow schemas with every column documented, and their validator."""

from schemas.table import Column, SchemaError, TableSpec, check_version, validate
from schemas.tables import TABLES

__all__ = ["TABLES", "Column", "SchemaError", "TableSpec", "check_version", "validate"]
