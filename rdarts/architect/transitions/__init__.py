"""Transitions: what one phase of a search hands to the next, one file each."""

from rdarts.architect.transitions.base import Beginning, Ended, Transition
from rdarts.architect.transitions.keep_by_group import KeepByGroup
from rdarts.architect.transitions.keep_top_ops import KeepTopOps
from rdarts.architect.transitions.split_by_gradient import SplitByGradientMatching
from rdarts.architect.transitions.widen import Widen

__all__ = [
    'Beginning',
    'Ended',
    'KeepByGroup',
    'KeepTopOps',
    'SplitByGradientMatching',
    'Transition',
    'Widen',
]
