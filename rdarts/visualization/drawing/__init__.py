"""Drawings of cells and layers."""
