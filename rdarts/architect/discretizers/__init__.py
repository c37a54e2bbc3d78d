"""Discretisations: alpha -> genotype, one file a method."""

from rdarts.architect.discretizers.argmax import Argmax
from rdarts.architect.discretizers.base import Discretizer
from rdarts.architect.discretizers.best_pairs import BestPairs
from rdarts.architect.discretizers.limited_skips import LimitedSkips
from rdarts.architect.discretizers.threshold import Threshold
from rdarts.architect.discretizers.top_edges import TopEdges
from rdarts.architect.discretizers.top_operations import TopOperations

__all__ = [
    'Argmax',
    'BestPairs',
    'Discretizer',
    'LimitedSkips',
    'Threshold',
    'TopEdges',
    'TopOperations',
]
