"""Relaxations: alpha -> mixing weights, one file a method."""

from rdarts.architect.relaxations.base import Relaxation
from rdarts.architect.relaxations.softmax import Softmax

__all__ = ['Relaxation', 'Softmax']
