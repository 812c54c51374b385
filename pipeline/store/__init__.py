"""The artifact store of a run root: records, where each of them lies, reading and committing them."""
