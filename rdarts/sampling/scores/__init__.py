"""Training-free scores, one file each."""

from rdarts.sampling.scores.base import Batch, Candidate, Score

__all__ = ['Batch', 'Candidate', 'Score']
