"""Regularisers: what is added to L_val, one file a method."""

from rdarts.architect.regularizers.base import Regularizer
from rdarts.architect.regularizers.batch_entropy_decay import BatchEntropyDecay
from rdarts.architect.regularizers.expected_cost import ExpectedCost

__all__ = ['BatchEntropyDecay', 'ExpectedCost', 'Regularizer']
