"""All edges that leave a node, run together."""
