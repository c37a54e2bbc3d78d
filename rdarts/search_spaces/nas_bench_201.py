"""NAS-Bench-201 (Dong and Yang, ICLR 2020, https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces.base import SearchSpace, dense_cell

CANDIDATES = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')


@SEARCH_SPACES.register_module(name='nas_bench_201')
def nas_bench_201() -> SearchSpace:
    """Four nodes, six edges, five candidates each; 15,625 cells. Pooling has no batch norm."""
    return SearchSpace(
        name='nas_bench_201',
        cells={'cell': dense_cell(1, 4, CANDIDATES, output='last')},
        genotype='dense_cell',
        discretizer='Argmax',
        table='nas_bench_201',
        operation_args={'avg_pool_3x3': dict(norm=False)},
    )
