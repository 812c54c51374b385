"""Networks by name: the table, building them, their weights, and capturing a layer's output."""
