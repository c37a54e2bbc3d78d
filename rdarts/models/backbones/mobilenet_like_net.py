"""The network of the MobileNet-like space (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import AboveZero, Among, Count, Index, Positive
from rdarts.genotypes import GenotypeSpec, load_genotype
from rdarts.models.backbones.base_supernet import EXECUTIONS, check_sizes
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.backbones.fused_cells import FusedLayer
from rdarts.models.backbones.mobilenet_like_skeleton import (
    FIRST_CHANNELS,
    LAST_CHANNELS,
    STEM_CHANNELS,
    STEMS,
    check_layerwise,
    layers,
    stage_strides,
)
from rdarts.models.backbones.stems import conv_bn_relu6, mobilenet_stem
from rdarts.models.backbones.twins import Declined
from rdarts.models.layers import PlainLayers
from rdarts.models.operations import build_operation
from rdarts.registry import MODELS
from rdarts.search_spaces import SpaceSpec, build_space

QUICKER_FROM = 128
"""Pixels of a batch's last feature map from which an evaluation without gradients is quicker in
fused execution."""


@MODELS.register_module()
class MobileNetLikeNet(DerivedNet):
    """Convolution, first block, stages of inverted bottlenecks, last convolution.

    A skipped layer is left out. Outputs, by index, for the space's defaults and
    ``stem='imagenet'``:

    - 0, 1, 2: the last layer before each stride after the first (stride 4, 24 channels; 8, 40;
      16, 96);
    - 3: the last layer (32, 320);
    - 4: the last convolution (32, 1280), for a classifier.

    ``stem='cifar'`` leaves out two strides of 2, before the first output: the same layers, of
    strides 1, 2, 4, 8 and 8. An output of stride s has ceil(H / s) x ceil(W / s) pixels.

    Args:
        genotype (str | PathLike | dict | Genotype): A JSON file, the work directory of a search,
            JSON data, or ``op - op - ...``.
        space (str | dict | SearchSpace): Its space. Defaults to ``'mobilenet_like'``.
        in_channels (int): Channels of the image. Defaults to 3.
        stem_channels, first_channels, last_channels (int): After the first convolution, the first
            block and the last convolution. Default to 32, 16 and 1280.
        stem (str): ``'imagenet'`` or ``'cifar'``. Defaults to ``'imagenet'``.
        norm_eps (float): Added to the variances of batch norms. Defaults to 1e-3, ProxylessNAS's.
        out_indices (Sequence[int], optional): Outputs to return. Defaults to the last one. Where it
            is not among them, the last convolution is kept and does not learn.
        frozen_stages (int): The stem (0) and the stages up to this one do not learn; -1 freezes
            nothing. Defaults to -1.
        norm_eval (bool): Whether batch norms stay in evaluation mode. Defaults to False.
        execution (str): See :class:`DerivedNet`. Defaults to ``'plain'``.
        init_cfg (dict, optional): See mmengine's ``BaseModule``.

    Raises:
        UserError: The genotype cannot be read or does not fit its space, the space has no
            stages of layers, or an argument is out of its range.
    """

    def __init__(
        self,
        genotype: GenotypeSpec,
        space: SpaceSpec = 'mobilenet_like',
        in_channels: Positive = 3,
        stem_channels: Positive = STEM_CHANNELS,
        first_channels: Positive = FIRST_CHANNELS,
        last_channels: Positive = LAST_CHANNELS,
        stem: Annotated[str, Among(STEMS)] = 'imagenet',
        norm_eps: AboveZero = 1e-3,
        out_indices: Sequence[Count] | None = None,
        frozen_stages: Index = -1,
        norm_eval: bool = False,
        execution: Annotated[str, Among(EXECUTIONS)] = 'plain',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(execution, init_cfg)
        sizes = dict(stem_channels=stem_channels, first_channels=first_channels)
        check_sizes(in_channels=in_channels, **sizes, last_channels=last_channels)
        space = build_space(space)
        check_layerwise('MobileNetLikeNet', space, stem)
        self.genotype = load_genotype(genotype, space)
        self.stem_type, self.channels = stem, stem_channels
        stages = space.stages
        first, *strides = stage_strides(stages, stem)
        self.stem = mobilenet_stem(in_channels, stem_channels, first_channels, first, norm_eps)
        make = PlainLayers()
        self.norm_eps = norm_eps
        self._layers: list[tuple[str, tuple[int, int], int]] = []  # name, channels, stride
        kept: list[list[nn.Module]] = [[] for _ in stages]
        planned = layers(stages, stem, first_channels)
        for name, layer in zip(self.genotype.layers, planned, strict=True):
            number, width, out_width, stride = layer
            if name != 'skip_connect':
                self._layers.append((name, (width, out_width), stride))
                kept[number].append(
                    build_operation(name, make, width, out_width, stride, eps=norm_eps)
                )
        self.stages = nn.ModuleList(nn.Sequential(*operations) for operations in kept)
        total = first
        out_strides, out_widths = [], []
        self._ends = []  # the stage after which each output but the last is ready
        for number, stride in enumerate(strides):
            if stride == 2 and number:
                self._ends.append(number - 1)
                out_strides.append(total)
                out_widths.append(stages[number - 1].width)
            total *= stride
        self._ends.append(len(stages) - 1)
        width = stages[-1].width
        self.last = conv_bn_relu6(width, last_channels, 1, eps=norm_eps)
        self._set_outputs(
            [*out_strides, total, total],
            [*out_widths, width, last_channels],
            [*map(self._end_layer, self._ends), 'last'],
            [[self.stem], *([stage] for stage in self.stages)],
            out_indices,
            frozen_stages,
            norm_eval,
        )
        if len(self._ends) not in self.out_indices:
            self.last.requires_grad_(False)

    def _end_layer(self, stage: int) -> str:
        """The name of the last layer of the stages up to this one; all may be skipped."""
        kept = [index for index in range(stage + 1) if len(self.stages[index])]
        return f'stages.{kept[-1]}.{len(self.stages[kept[-1]]) - 1}' if kept else 'stem'

    def _make_fused(self) -> list[list[FusedLayer]]:
        if sum(map(len, self.stages)) != len(self._layers):
            raise Declined('its stages have not the layers of its genotype')
        kinds = iter(self._layers)
        args = {name: dict(eps=self.norm_eps) for name, *_ in self._layers}
        found = []
        for stage in self.stages:
            found.append([])
            for layer, (name, channels, stride) in zip(stage, kinds, strict=False):
                found[-1].append(FusedLayer(name, layer, channels, stride, args))
        return found

    def _evaluates_quicker(self, x: Tensor) -> bool:
        pixels = x.shape[0] * x.shape[2] * x.shape[3] / self.strides[-1] ** 2
        return torch.is_grad_enabled() or pixels >= QUICKER_FROM

    def feature_layers(self) -> list[nn.Module]:
        """See :meth:`DerivedNet.feature_layers`; a layer that is not skipped is a cell."""
        return [self.stem, *(layer for stage in self.stages for layer in stage)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W].

        Returns:
            tuple[Tensor, ...]: The outputs of ``out_indices``.

        Raises:
            UserError: The images are smaller than the stride.
        """
        x = self._take_image(x)
        stages = self._fused(x) or self.stages
        x = self.stem(x)
        outputs = []
        for index, stage in enumerate(stages):
            for layer in stage:
                x = layer(x)
            if index in self._ends:
                outputs.append(x)
        if len(self._ends) in self.out_indices:
            outputs.append(self.last(x))
        return tuple(outputs[index] for index in self.out_indices)
