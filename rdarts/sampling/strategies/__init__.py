"""Strategies: what proposes genotypes, one file each."""

from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.evolution import Evolution
from rdarts.sampling.strategies.local_search import LocalSearch
from rdarts.sampling.strategies.lstm_controller import LSTMController
from rdarts.sampling.strategies.nao import NAO
from rdarts.sampling.strategies.nsga2 import NSGA2
from rdarts.sampling.strategies.optuna import Optuna
from rdarts.sampling.strategies.parzc import ParZC
from rdarts.sampling.strategies.random_search import RandomSearch
from rdarts.sampling.strategies.regularized_evolution import RegularizedEvolution
from rdarts.sampling.strategies.reinforce import Reinforce
from rdarts.sampling.strategies.semi_nas import SemiNAS
from rdarts.sampling.strategies.weak_nas import WeakNAS

__all__ = [
    'NAO',
    'NSGA2',
    'Evolution',
    'LSTMController',
    'LocalSearch',
    'Optuna',
    'ParZC',
    'RandomSearch',
    'RegularizedEvolution',
    'Reinforce',
    'SemiNAS',
    'Strategy',
    'WeakNAS',
]
