"""The supernet of the MobileNet-like space (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, MutableMapping
from typing import Annotated, Any

from torch import Tensor, nn

from rdarts.configuration.declarations import Among, Positive
from rdarts.models.backbones.base_supernet import BaseSupernet, check_sizes
from rdarts.models.backbones.mobilenet_like_skeleton import (
    FIRST_CHANNELS,
    LAST_CHANNELS,
    STEM_CHANNELS,
    STEMS,
    check_layerwise,
    layers,
    stage_strides,
)
from rdarts.models.backbones.recompute import recomputed
from rdarts.models.backbones.stems import conv_bn_relu6, mobilenet_stem
from rdarts.registry import MODELS
from rdarts.search_spaces import SpaceSpec, build_space
from rdarts.search_spaces.mobilenet_like import WIDTHS


@MODELS.register_module()
class MobileNetLikeSupernet(BaseSupernet):
    """Convolution, first block, stages of mixed layers, last convolution.

    Args:
        space (str | dict | SearchSpace): ``'mobilenet_like'``, or
            ``dict(type='mobilenet_like', widths=..., depths=..., strides=...)``. Defaults to
            ``'mobilenet_like'``.
        in_channels (int): Channels of the image. Defaults to 3.
        stem_channels, first_channels, last_channels (int): After the first convolution, the first
            block and the last convolution. Default to 32, 16 and 1280.
        stem (str): ``'imagenet'``, or ``'cifar'``, which leaves out two strides of 2. Defaults to
            ``'imagenet'``.
        affine (bool): Of the mixed layers' batch norms. Defaults to True.
        track_running_stats (bool): Of the mixed layers' batch norms. Defaults to True.
        checkpoint (bool): Whether the backward pass computes the inside of each layer anew, which
            takes less memory and more time. Same numbers. Defaults to False.
        **kwargs: See :class:`BaseSupernet`.

    Raises:
        UserError: The space has no stages of layers, its cost table was measured for another
            network, or an argument is out of its range.
    """

    DEPTH, DEPTH_READS = 'space', '{} layers a stage'

    @classmethod
    def depth_of(cls, config: Mapping[str, Any]) -> int:
        """Layers of the first stage, and of each other but the last."""
        return build_space(config.get('space', 'mobilenet_like')).stages[0].depth

    @classmethod
    def resize(cls, config: MutableMapping[str, Any], width: int, depth: int) -> None:
        """See the base class; all widths are in proportion to the first block's.

        Args:
            config (MutableMapping): Its arguments, changed in place.
            width (int): Channels of the first block.
            depth (int): Layers of each stage but the last, which has one.
        """
        widths = [max(1, channels * width // FIRST_CHANNELS) for channels in WIDTHS]
        depths = [depth] * (len(WIDTHS) - 1) + [1]
        config['space'] = dict(type='mobilenet_like', widths=widths, depths=depths)
        for name in ('stem_channels', 'first_channels', 'last_channels'):
            default = inspect.signature(cls).parameters[name].default
            config[name] = max(1, config.get(name, default) * width // FIRST_CHANNELS)

    def __init__(
        self,
        space: SpaceSpec = 'mobilenet_like',
        in_channels: Positive = 3,
        stem_channels: Positive = STEM_CHANNELS,
        first_channels: Positive = FIRST_CHANNELS,
        last_channels: Positive = LAST_CHANNELS,
        stem: Annotated[str, Among(STEMS)] = 'imagenet',
        affine: bool = True,
        track_running_stats: bool = True,
        checkpoint: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, **kwargs)
        sizes = dict(stem_channels=stem_channels, first_channels=first_channels)
        check_sizes(in_channels=in_channels, **sizes, last_channels=last_channels)
        check_layerwise('MobileNetLikeSupernet', self.space, stem)
        self.checkpoint, self.stem_type, self.first_channels = checkpoint, stem, first_channels
        self.check_costs(**self.conditions())
        self.channels, self.out_channels = stem_channels, last_channels
        stages = self.space.stages
        first = stage_strides(stages, stem)[0]
        self.stem = mobilenet_stem(in_channels, stem_channels, first_channels, first, 1e-5)
        self.cell_types = ['layerwise']
        edges = self.space.cells['layerwise'].edges
        self.layers = nn.ModuleList()
        for edge, layer in zip(edges, layers(stages, stem, first_channels), strict=True):
            mixed = self.build_mixed_op(
                edge.candidates,
                layer.in_channels,
                layer.out_channels,
                stride=layer.stride,
                affine=affine,
                track_running_stats=track_running_stats,
                labels=[f'{edge.source}_{edge.target}'],
            )
            self.layers.append(mixed)
        self.last = conv_bn_relu6(stages[-1].width, last_channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W], of any size.

        Returns:
            tuple[Tensor]: One [N, last_channels, h, w]: a thirty-second of the input's resolution
            with the ImageNet stem, an eighth with the CIFAR stem.

        Raises:
            UserError: In training, the space's cost table was measured for images of another shape.
        """
        (mixing,) = self.cell_mixings()
        x = self.stem(self.image_format(x))
        for layer, own in zip(self.layers, mixing.values(), strict=True):
            x = recomputed([layer], layer, x, own) if self.checkpoint else layer(x, own)
        return (self.last(x),)

    def conditions(self) -> dict[str, Any]:
        """See the base class."""
        return dict(stem=self.stem_type, first_channels=self.first_channels)
