"""NAS-Bench-201 (Dong and Yang, ICLR 2020, https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

from rdarts.benchmarks.nas_bench_201_file import OPERATIONS
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces.base import SearchSpace, dense_cell
from rdarts.search_spaces.costs import CostsSpec, with_costs

BELONGS = dict(
    supernet='rdarts.NASBench201Supernet',
    network='rdarts.NASBench201Net',
    stems=('cifar', 'imagenet'),
    config_name='nb201',
)
"""What belongs to every space of one cell type of one input."""
OF_THE_BENCHMARK = dict(
    table='nas_bench_201',
    retraining=dict(
        CIFAR10='nb201_c10',
        CIFAR100='nb201_c100',
        ImageNet16120='nb201_in16',
        Digits='nb201_digits',
        ImageFolder='nb201_image_folder',
    ),
    detection=tuple(
        f'{detector}_nb201_fpn_1x_{data}'
        for detector in ('faster-rcnn', 'retinanet')
        for data in ('coco', 'voc0712')
    ),
)


@SEARCH_SPACES.register_module(name='nas_bench_201')
def nas_bench_201(costs: CostsSpec = None) -> SearchSpace:
    """Four nodes, six edges, five candidates each; 15,625 cells. Pooling has no batch norm.

    Args:
        costs (str | PathLike | dict, optional): A cost table: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Raises:
        UserError: The cost table does not fit.
    """
    space = SearchSpace(
        name='nas_bench_201',
        cells={'cell': dense_cell(1, 4, OPERATIONS, output='last')},
        genotype='dense_cell',
        discretizer='Argmax',
        operation_args={'avg_pool_3x3': dict(norm=False)},
        **BELONGS,
        **OF_THE_BENCHMARK,
    )
    return with_costs(space, costs)
