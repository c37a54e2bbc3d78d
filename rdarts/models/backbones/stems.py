"""What comes before the cells, in supernets and derived networks alike."""

from __future__ import annotations

from torch import nn

from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import inverted_bottleneck


def cifar_stem(in_channels: int, channels: int) -> nn.Sequential:
    """A 3x3 convolution and batch norm at the image's resolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), BatchNorm2d(channels)
    )


def imagenet_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2, the first of half the channels: stride 4."""
    half = max(1, channels // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
        BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
        BatchNorm2d(channels),
    )


def second_imagenet_stem(channels: int) -> nn.Sequential:
    """DARTS's third convolution of stride 2: stride 8."""
    return nn.Sequential(
        nn.ReLU(inplace=False),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
        BatchNorm2d(channels),
    )


def conv_bn_relu6(
    in_channels: int, channels: int, kernel: int = 3, stride: int = 1, eps: float = 1e-5
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6: the two ends of a MobileNet."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, BatchNorm2d(channels, eps=eps), nn.ReLU6(inplace=True))


def mobilenet_stem(
    in_channels: int, channels: int, out_channels: int, stride: int, eps: float
) -> nn.Sequential:
    """MobileNetV2's: a 3x3 convolution, and an inverted bottleneck without expansion."""
    block = inverted_bottleneck(PlainLayers(), channels, out_channels, 1, 3, 1, eps)
    return nn.Sequential(conv_bn_relu6(in_channels, channels, 3, stride, eps), *block)
