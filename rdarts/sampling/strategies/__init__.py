"""Strategies: what proposes genotypes, one file each."""

from rdarts.sampling.strategies.base import Strategy

__all__ = ['Strategy']
