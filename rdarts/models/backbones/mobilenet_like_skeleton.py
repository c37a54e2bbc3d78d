"""What supernet and network of the MobileNet-like space share: stems, strides and widths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rdarts.errors import UserError
from rdarts.search_spaces import SearchSpace, Stage

STEMS = ('imagenet', 'cifar')
STEM_CHANNELS, FIRST_CHANNELS, LAST_CHANNELS = 32, 16, 1280
"""ProxylessNAS's: after the first convolution, the first block, and the last convolution."""


class Layer(NamedTuple):
    """Where a layer of the space stands.

    Args:
        stage (int): The number of its stage.
        in_channels, out_channels (int): Channels.
        stride (int): 1 or 2.
    """

    stage: int
    in_channels: int
    out_channels: int
    stride: int


def check_layerwise(name: str, space: SearchSpace, stem: str) -> None:
    """Stages of layers and a known stem.

    Raises:
        UserError: They are not.
    """
    if not space.stages or set(space.cells) != {'layerwise'}:
        raise UserError(
            f"space '{space.name}' does not fit {name}: it needs stages of layers "
            "('mobilenet_like', or a table with stages)"
        )
    if stem not in STEMS:
        raise UserError(f"stem must be 'imagenet' or 'cifar', but is {stem!r}")


def stage_strides(stages: tuple[Stage, ...], stem: str) -> tuple[int, ...]:
    """Strides of the first convolution and of every stage.

    With ``stem='cifar'`` the first convolution and the first stage of stride 2 have stride 1: a
    quarter of the whole stride.
    """
    strides = [2, *(stage.stride for stage in stages)]
    if stem == 'cifar':
        strides[0] = 1
        if 2 in strides:
            strides[strides.index(2)] = 1
    return tuple(strides)


def layers(stages: tuple[Stage, ...], stem: str, first_channels: int) -> Iterator[Layer]:
    """Every layer of the space, in its order.

    Args:
        stages (tuple[Stage, ...]): The space's.
        stem (str): ``'imagenet'`` or ``'cifar'``.
        first_channels (int): Channels after the first block.
    """
    width = first_channels
    for number, (stage, stride) in enumerate(
        zip(stages, stage_strides(stages, stem)[1:], strict=True)
    ):
        for index in range(stage.depth):
            yield Layer(number, width, stage.width, 1 if index else stride)
            width = stage.width
