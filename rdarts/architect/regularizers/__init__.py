"""Regularisers: what is added to L_val, one file a method."""

from rdarts.architect.regularizers.adaptive_entropy import AdaptiveEntropy
from rdarts.architect.regularizers.base import Regularizer
from rdarts.architect.regularizers.batch_entropy_decay import BatchEntropyDecay
from rdarts.architect.regularizers.beta_decay import BetaDecay
from rdarts.architect.regularizers.cost_factor import CostFactor
from rdarts.architect.regularizers.dirichlet_kl import DirichletKL
from rdarts.architect.regularizers.expected_cost import ExpectedCost
from rdarts.architect.regularizers.sampled_cost import SampledCost
from rdarts.architect.regularizers.zero_one import ZeroOne

__all__ = [
    'AdaptiveEntropy',
    'BatchEntropyDecay',
    'BetaDecay',
    'CostFactor',
    'DirichletKL',
    'ExpectedCost',
    'Regularizer',
    'SampledCost',
    'ZeroOne',
]
