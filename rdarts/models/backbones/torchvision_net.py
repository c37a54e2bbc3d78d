"""Networks of torchvision as backbones, to compare with: ResNet-18 and MobileNetV2."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from rdarts.configuration.declarations import Among
from rdarts.errors import UserError, nearest
from rdarts.registry import MODELS

NAMES = ('resnet18', 'mobilenet_v2')


@MODELS.register_module()
class TorchvisionNet(BaseModule):
    """The layers of a torchvision classifier before its average pooling, not trained.

    Args:
        name (str): ``'resnet18'`` or ``'mobilenet_v2'``.
        stem (str): ``'imagenet'``, the published network of stride 32; or ``'cifar'`` for images
            of some ten pixels a side, of stride 8: ResNet-18's first convolution is 3x3 of stride 1
            without the pooling behind it, and MobileNetV2's first two strides of 2 are 1, as both
            are usual on CIFAR. Defaults to ``'imagenet'``.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Attributes:
        out_channels (int): Channels of the features.

    Raises:
        UserError: The name or the stem is not known.
    """

    def __init__(
        self,
        name: Annotated[str, Among(NAMES)],
        stem: Literal['cifar', 'imagenet'] = 'imagenet',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if name not in NAMES:
            raise UserError(f"unknown network '{name}' of torchvision: {nearest(str(name), NAMES)}")
        if stem not in ('cifar', 'imagenet'):
            raise UserError(f"stem must be 'cifar' or 'imagenet', but is {stem!r}")
        from torchvision import models  # slow to import

        net = getattr(models, name)(weights=None)
        small = stem == 'cifar'
        if name == 'resnet18':
            first = nn.Conv2d(3, 64, 3, padding=1, bias=False) if small else net.conv1
            pooling = [] if small else [net.maxpool]
            stages = [net.layer1, net.layer2, net.layer3, net.layer4]
            self.layers = nn.Sequential(first, net.bn1, net.relu, *pooling, *stages)
            self.out_channels = 512
        else:
            self.layers, self.out_channels = net.features, net.last_channel
            if small:
                self.layers[0][0].stride = (1, 1)
                self.layers[2].conv[1][0].stride = (1, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features of a batch.

        Args:
            x (Tensor): [N, 3, H, W].

        Returns:
            tuple[Tensor]: [N, out_channels, ceil(H / s), ceil(W / s)] for the stride s.
        """
        return (self.layers(x.contiguous(memory_format=torch.channels_last)),)
