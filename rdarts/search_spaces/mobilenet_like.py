"""The MobileNet-like space: stages of ProxylessNAS's layers (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces.base import SearchSpace
from rdarts.search_spaces.costs import CostsSpec
from rdarts.search_spaces.tables import layerwise_space

WIDTHS = (24, 40, 80, 96, 192, 320)
DEPTHS = (4, 4, 4, 4, 4, 1)
STRIDES = (2, 2, 2, 1, 2, 1)
MBCONVS = tuple(f'mbconv_k{kernel}_e{expansion}' for kernel in (3, 5, 7) for expansion in (3, 6))

BELONGS = dict(
    supernet='rdarts.MobileNetLikeSupernet',
    network='rdarts.MobileNetLikeNet',
    stems=('imagenet', 'cifar'),
    config_name='mobilenet_like',
    detection=tuple(
        f'{detector}_mobilenet_like_fpn_1x_{data}'
        for detector in ('faster-rcnn', 'retinanet')
        for data in ('coco', 'voc0712')
    ),
)
"""What belongs to these layers, whatever their sizes."""
RETRAINING = dict(
    ImageNetFolder='mobilenet_like_imagenet', ImageFolder='mobilenet_like_image_folder'
)


@SEARCH_SPACES.register_module(name='mobilenet_like')
def mobilenet_like(
    widths: Sequence[Positive] = WIDTHS,
    depths: Sequence[Positive] = DEPTHS,
    strides: Sequence[Literal[1, 2]] = STRIDES,
    costs: CostsSpec = None,
) -> SearchSpace:
    """Stages of inverted bottlenecks: kernel 3, 5 or 7, expansion 3 or 6, or a skip.

    A layer that keeps width and resolution may be skipped: all of a stage but its first, and that
    too where its stride is 1 and the stage before is as wide. What the first stage reads is no part
    of the space, so its first layer must be there. Defaults: 21 layers, 15 of which may be skipped.

    Args:
        widths (Sequence[int]): Channels of each stage. Defaults to ProxylessNAS's.
        depths (Sequence[int]): Layers of each stage. Defaults to ProxylessNAS's.
        strides (Sequence[int]): Of each stage's first layer, 1 or 2. Defaults to ProxylessNAS's.
        costs (str | PathLike | dict, optional): A cost table, for
            :class:`~rdarts.architect.regularizers.ExpectedCost`: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Returns:
        SearchSpace: ``mobilenet_like``, or of other sizes a name that says them.

    Raises:
        UserError: The sizes do not fit together, or the cost table does not fit them.
    """
    sizes = dict(widths=widths, depths=depths, strides=strides)
    for name, values in sizes.items():
        listed = isinstance(values, (list, tuple)) and values
        if not listed or not all(type(value) is int and value > 0 for value in values):
            raise UserError(f'mobilenet_like: {name} must be positive integers, not {values!r}')
    if len({len(values) for values in sizes.values()}) != 1:
        counts = ', '.join(f'{len(values)} {name}' for name, values in sizes.items())
        raise UserError(f'mobilenet_like: each stage needs one of each, but there are {counts}')
    if not set(strides) <= {1, 2}:
        raise UserError(f'mobilenet_like: strides must be 1 or 2, but are {tuple(strides)}')
    layers, before = [], None
    for width, depth, stride in zip(widths, depths, strides, strict=True):
        keeps = [stride == 1 and width == before] + [True] * (depth - 1)
        layers += [[*MBCONVS, 'skip_connect'] if kept else MBCONVS for kept in keeps]
        before = width
    name = 'mobilenet_like'
    for values, default, letter in (
        (widths, WIDTHS, 'w'), (depths, DEPTHS, 'd'), (strides, STRIDES, 's')
    ):  # fmt: skip
        if tuple(values) != default:
            name += f'_{letter}' + '_'.join(map(str, values))
    usual = name == 'mobilenet_like'  # the configs have these sizes
    belongs = dict(BELONGS, retraining=RETRAINING) if usual else BELONGS
    stages = tuple(zip(widths, depths, strides, strict=True))
    return layerwise_space(name, layers, belongs=belongs, stages=stages, costs=costs)
