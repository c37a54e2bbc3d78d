"""Relaxations: alpha -> mixing weights, one file a method."""

from rdarts.architect.relaxations.base import Relaxation
from rdarts.architect.relaxations.binary_gates import BinaryGates
from rdarts.architect.relaxations.dirichlet import Dirichlet
from rdarts.architect.relaxations.edge_pairs import EdgePairs
from rdarts.architect.relaxations.edge_weights import EdgeWeights
from rdarts.architect.relaxations.equal_weights import EqualWeights
from rdarts.architect.relaxations.fair_paths import FairPaths
from rdarts.architect.relaxations.grouped_softmax import GroupedSoftmax
from rdarts.architect.relaxations.gumbel_softmax import GumbelSoftmax
from rdarts.architect.relaxations.path_gates import PathGates
from rdarts.architect.relaxations.perturbed import PerturbedSoftmax
from rdarts.architect.relaxations.reinmax import ReinMax
from rdarts.architect.relaxations.score_function import ScoreFunction
from rdarts.architect.relaxations.sigmoid import Sigmoid
from rdarts.architect.relaxations.single_path import SinglePath
from rdarts.architect.relaxations.softmax import Softmax

__all__ = [
    'BinaryGates',
    'Dirichlet',
    'EdgePairs',
    'EdgeWeights',
    'EqualWeights',
    'FairPaths',
    'GroupedSoftmax',
    'GumbelSoftmax',
    'PathGates',
    'PerturbedSoftmax',
    'ReinMax',
    'Relaxation',
    'ScoreFunction',
    'Sigmoid',
    'SinglePath',
    'Softmax',
]
