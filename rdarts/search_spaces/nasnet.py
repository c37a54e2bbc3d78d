"""The space of NASNet and AmoebaNet in DARTS's notation (https://arxiv.org/abs/1707.07012)."""

from __future__ import annotations

from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import darts
from rdarts.search_spaces.base import SearchSpace, dense_cell

CANDIDATES = (*darts.CANDIDATES, 'sep_conv_7x7', 'conv_7x1_1x7')


@SEARCH_SPACES.register_module(name='nasnet')
def nasnet() -> SearchSpace:
    """Normal and reduce cells of two inputs and five nodes, which may read one node twice."""
    cells = {kind: dense_cell(2, 7, CANDIDATES, 'concat') for kind in ('normal', 'reduce')}
    return SearchSpace(name='nasnet', cells=cells, repeated_edges=True, **darts.BELONGS)
