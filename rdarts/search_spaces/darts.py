"""The DARTS space (Liu et al., ICLR 2019, https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import MinLen

from rdarts.configuration.declarations import Among
from rdarts.errors import UserError, nearest
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
def darts(
    leave_out: Annotated[Sequence[Annotated[str, Among(CANDIDATES)]], MinLen(0)] = (),
    costs: CostsSpec = None,
) -> SearchSpace:
    """Normal and reduce cells of two inputs and four nodes, 14 edges, eight candidates each.

    Args:
        leave_out (Sequence[str]): Candidates that no edge has: ``['none']`` in the published codes
            of beta-DARTS, DrNAS and FairDARTS. What is found is a genotype of the same space.
            Defaults to none of them.
        costs (str | PathLike | dict, optional): A cost table: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Raises:
        UserError: One is no candidate, no candidate is left, or the cost table does not fit.
    """
    if not isinstance(leave_out, (list, tuple)):
        raise UserError(f'darts: leave_out must be a list of candidates, but is {leave_out!r}')
    for name in leave_out:
        if name not in CANDIDATES:
            hint = nearest(str(name), CANDIDATES)
            raise UserError(f'darts: leave_out names {name!r}, which is no candidate: {hint}')
    names = tuple(name for name in CANDIDATES if name not in leave_out)
    if not names:
        raise UserError('darts: leave_out leaves no candidate')
    cells = {kind: dense_cell(2, 6, names, 'concat') for kind in ('normal', 'reduce')}
    return with_costs(SearchSpace(name='darts', cells=cells, **BELONGS), costs)
