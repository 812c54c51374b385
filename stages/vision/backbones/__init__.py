"""Networks by name: the table, building them, their weights, and reading a layer in passing."""
