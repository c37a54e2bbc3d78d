"""Networks that mix candidates by alpha, and are no supernets of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from rdarts.models.alpha import AlphaOwner
from rdarts.registry import MODELS

SPACE = dict(type='LayerwiseSpace', name='one', layers=[['nor_conv_1x1', 'nor_conv_3x3']])


def convolutions() -> nn.ModuleList:
    return nn.ModuleList([nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 3, padding=1)])


def mixed(owner: AlphaOwner, convs: nn.ModuleList, x: Tensor) -> tuple[Tensor]:
    (weights,) = owner.mixing_weights()['layerwise']
    return (sum(weight * conv(x) for weight, conv in zip(weights, convs, strict=True)),)


class OwnsAlpha(AlphaOwner, BaseModule):
    """The backbone owns alpha itself."""

    def __init__(self) -> None:
        super().__init__(SPACE)
        self.convs = convolutions()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return mixed(self, self.convs, x)


class HoldsOwner(BaseModule):
    """A module of the backbone owns alpha."""

    def __init__(self) -> None:
        super().__init__()
        self.choice, self.convs = AlphaOwner(SPACE), convolutions()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return mixed(self.choice, self.convs, x)


KINDS = (OwnsAlpha, HoldsOwner)


@contextmanager
def model_with(kind: type) -> Iterator[dict[str, Any]]:
    """The config of a classifier with one of these backbones, which is known within."""
    MODELS.register_module(name=kind.__name__, module=kind)
    try:
        yield dict(
            type='ImageClassifier',
            backbone=dict(type=f'rdarts.{kind.__name__}'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', in_channels=8, num_classes=10),
        )
    finally:
        MODELS.module_dict.pop(kind.__name__)
