"""The candidates that run on all edges of a node at once, one a file: ``FUSED_CANDIDATES``."""
