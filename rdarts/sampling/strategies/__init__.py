"""Strategies: what proposes genotypes, one file each."""

from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.evolution import Evolution
from rdarts.sampling.strategies.local_search import LocalSearch
from rdarts.sampling.strategies.random_search import RandomSearch
from rdarts.sampling.strategies.regularized_evolution import RegularizedEvolution
from rdarts.sampling.strategies.reinforce import Reinforce
from rdarts.sampling.strategies.weak_nas import WeakNAS

__all__ = [
    'Evolution',
    'LocalSearch',
    'RandomSearch',
    'RegularizedEvolution',
    'Reinforce',
    'Strategy',
    'WeakNAS',
]
