"""Networks and batches of the golden cases of training-free scores."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from golden import FOLDER, uniform
from torch import Tensor, arange, nn

from rdarts.apis import build_net
from rdarts.sampling.scores import Batch


def expected(name: str) -> dict[str, Any]:
    """The numbers of a case; infinities and NaN are words there."""
    return json.loads((FOLDER / f'{name}.json').read_text())['expected']


def filled(stream: int, shape: Sequence[int], bound: float) -> Tensor:
    """Uniform in [-bound, bound)."""
    return (2 * uniform(stream, math.prod(shape)) - 1).reshape(*shape) * bound


def batches(count: int, side: int) -> list[Batch]:
    """The two batches of a case, of 10 classes."""
    images = [filled(1000 + k, (count, 3, side, side), math.sqrt(3)) for k in range(2)]
    index = arange(count)
    return [Batch(images[0], index % 10), Batch(images[1], (3 * index + 1) % 10)]


def fill_weights(network: nn.Module) -> nn.Module:
    """Weights of convolutions and linear layers in order, in float64; the network."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for k, layer in enumerate(layers):
        bound = 1 / math.sqrt(math.prod(layer.weight.shape[1:]))
        layer.weight.data = filled(k, layer.weight.shape, bound)
        if layer.bias is not None:
            layer.bias.data = filled(500 + k, layer.bias.shape, bound)
    return network.double()


class SmallNet(nn.Sequential):
    """Of ``scores_small_net``."""

    def __init__(self) -> None:
        widths, layers = (8, 12, 16), []
        convs = [
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.Conv2d(12, 16, 1, bias=False),
        ]
        for j, (conv, width) in enumerate(zip(convs, widths, strict=True)):
            norm = nn.BatchNorm2d(width)
            norm.weight.data = 1 + filled(700 + j, (width,), 0.5)
            norm.bias.data = filled(800 + j, (width,), 0.2)
            layers += [conv, norm, nn.ReLU()]
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(*layers, pool, nn.Flatten(), nn.Linear(16, 10))
        fill_weights(self)


def cell_net(arch_str: str, channels: int = 8, cells_per_stage: int = 1) -> nn.Module:
    """Of ``scores_nb201_reduced``, or, with 16 channels and 5 cells, the full network."""
    net = build_net(
        arch_str,
        10,
        space='nas_bench_201',
        channels=channels,
        cells_per_stage=cells_per_stage,
    )
    return fill_weights(net)
