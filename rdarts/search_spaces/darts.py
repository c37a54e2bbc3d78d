"""The DARTS space (Liu et al., ICLR 2019, https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces.base import SearchSpace, dense_cell
from rdarts.search_spaces.costs import CostsSpec, with_costs

CANDIDATES = (
    'none',
    'max_pool_3x3',
    'avg_pool_3x3',
    'skip_connect',
    'sep_conv_3x3',
    'sep_conv_5x5',
    'dil_conv_3x3',
    'dil_conv_5x5',
)

BELONGS = dict(
    supernet='rdarts.DARTSSupernet',
    network='rdarts.DARTSNet',
    stems=('cifar', 'imagenet'),
    config_name='darts',
    retraining=dict(
        CIFAR10='darts_c10',
        CIFAR100='darts_c100',
        ImageNetFolder='darts_imagenet',
        ImageFolder='darts_image_folder',
    ),
    detection=tuple(
        f'{detector}_darts_fpn_1x_{data}'
        for detector in ('faster-rcnn', 'retinanet')
        for data in ('coco', 'voc0712')
    ),
)
"""What belongs to every space of normal and reduce cells."""


@SEARCH_SPACES.register_module(name='darts')
def darts(costs: CostsSpec = None) -> SearchSpace:
    """Normal and reduce cells of two inputs and four nodes, 14 edges, eight candidates each.

    Args:
        costs (str | PathLike | dict, optional): A cost table: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Raises:
        UserError: The cost table does not fit.
    """
    cells = {kind: dense_cell(2, 6, CANDIDATES, 'concat') for kind in ('normal', 'reduce')}
    return with_costs(SearchSpace(name='darts', cells=cells, **BELONGS), costs)
