"""Selection after the search: loops that decide by trying, one file each."""

from rdarts.engine.selection.perturbation import PerturbationSelection

__all__ = ['PerturbationSelection']
