"""S1 to S4 of RobustDARTS (Zela et al., ICLR 2020, https://arxiv.org/abs/1909.09656).

Four sub-spaces of the DARTS space in which DARTS fails. Each takes a cost table: see
:func:`~rdarts.search_spaces.costs.read_costs`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import darts
from rdarts.search_spaces.base import SearchSpace, dense_cell
from rdarts.search_spaces.costs import CostsSpec, with_costs

_SHORT = dict(
    k='skip_connect',
    m='max_pool_3x3',
    a='avg_pool_3x3',
    s3='sep_conv_3x3',
    d3='dil_conv_3x3',
    d5='dil_conv_5x5',
)
_S1_NORMAL = 'k/d3 k/d5 k/d5 k/s3 k/d3 m/k k/s3 k/s3 k/d3 k/s3 m/k k/d3 d3/d5 d3/d5'
_S1_REDUCE = 'm/a m/d3 m/a m/a k/d5 m/a m/s3 k/d3 k/d5 m/a m/a k/d5 k/d5 k/d5'


def _space(name: str, normal: Sequence, reduce: Sequence, costs: CostsSpec) -> SearchSpace:
    cells = {
        'normal': dense_cell(2, 6, normal, 'concat'),
        'reduce': dense_cell(2, 6, reduce, 'concat'),
    }
    retraining = dict(darts.BELONGS['retraining'])
    retraining.update(CIFAR10='darts_c10_16x8', CIFAR100='darts_c100_16x8')
    belongs = dict(darts.BELONGS, config_name=name, retraining=retraining)
    return with_costs(SearchSpace(name=name, cells=cells, **belongs), costs)


def _pairs(text: str) -> list[tuple[str, ...]]:
    return [tuple(_SHORT[short] for short in pair.split('/')) for pair in text.split()]


@SEARCH_SPACES.register_module(name='s1')
def s1(costs: CostsSpec = None) -> SearchSpace:
    """Two candidates an edge, different from edge to edge."""
    return _space('s1', _pairs(_S1_NORMAL), _pairs(_S1_REDUCE), costs)


@SEARCH_SPACES.register_module(name='s2')
def s2(costs: CostsSpec = None) -> SearchSpace:
    """Skip connection and 3x3 separable convolution."""
    candidates = ('skip_connect', 'sep_conv_3x3')
    return _space('s2', candidates, candidates, costs)


@SEARCH_SPACES.register_module(name='s3')
def s3(costs: CostsSpec = None) -> SearchSpace:
    """S2 and ``none``."""
    candidates = ('none', 'skip_connect', 'sep_conv_3x3')
    return _space('s3', candidates, candidates, costs)


@SEARCH_SPACES.register_module(name='s4')
def s4(costs: CostsSpec = None) -> SearchSpace:
    """Noise N(0, 1), which ignores its input, and 3x3 separable convolution."""
    candidates = ('noise', 'sep_conv_3x3')
    return _space('s4', candidates, candidates, costs)
