"""Evaluators: what answers how good a genotype is, one file each."""

from rdarts.sampling.evaluators.base import Evaluator

__all__ = ['Evaluator']
