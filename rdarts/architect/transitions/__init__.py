"""Transitions: what one phase of a search hands to the next, one file each."""

from rdarts.architect.transitions.base import Beginning, Ended, Transition

__all__ = ['Beginning', 'Ended', 'Transition']
