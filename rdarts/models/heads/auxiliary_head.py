"""The auxiliary classifier of DARTS, at two thirds of the depth (Szegedy et al. 2015)."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.configuration.declarations import Among, Positive
from rdarts.errors import UserError

POOLED = {'cifar': (5, 3), 'imagenet': (5, 2)}  # window and stride of the pooling
WIDTHS = (128, 768)
SMALLEST = 2  # pixels a side: its last convolution takes as many


class AuxiliaryHead(nn.Module):
    """ReLU, average pooling, a 1x1 and a 2x2 convolution, and a linear layer.

    The published one ends in 1 x 1 pixel (from 8 x 8 on CIFAR, from 7 x 7 on ImageNet); from
    larger features what is left is averaged, and from smaller ones, down to 2 x 2, it pools over
    smaller windows, so that it ends in 1 x 1 as well. The ImageNet one has no batch norm after its
    2x2 convolution, as published.

    Args:
        in_channels (int): Channels of the features.
        num_classes (int): Number of classes.
        stem (str): ``'cifar'`` or ``'imagenet'``. Defaults to ``'cifar'``.

    Raises:
        UserError: The stem is not known.
    """

    def __init__(
        self, in_channels: Positive, num_classes: int, stem: Annotated[str, Among(POOLED)] = 'cifar'
    ) -> None:
        super().__init__()
        if stem not in POOLED:
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        size, stride = POOLED[stem]
        self.stride, self.published = stride, size + stride
        narrow, wide = WIDTHS
        layers = [
            nn.ReLU(inplace=False),
            nn.AvgPool2d(size, stride=stride, padding=0, count_include_pad=False),
            nn.Conv2d(in_channels, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, 2, bias=False),
        ]
        if stem == 'cifar':
            layers.append(nn.BatchNorm2d(wide))
        self.features = nn.Sequential(*layers, nn.ReLU(inplace=True))
        self.classifier = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, num_classes] of features [N, in_channels, h, w].

        Raises:
            UserError: The features have too few pixels.
        """
        side = min(x.shape[2:])
        if side < SMALLEST:
            raise UserError(
                f'the auxiliary head needs features of {SMALLEST} x {SMALLEST} pixels or more, but '
                f'got {x.shape[2]} x {x.shape[3]}: larger images, or model.head.auxiliary=None'
            )
        if side >= self.published:
            return self.classifier(self.features(x).mean((2, 3)))
        # two windows on the shorter side, as the published head has on its smallest features
        stride = max(1, round(self.stride * side / self.published))
        relu, _, *rest = self.features
        x = F.avg_pool2d(relu(x), side - stride, stride=stride)
        for layer in rest:
            x = layer(x)
        return self.classifier(x.mean((2, 3)))
