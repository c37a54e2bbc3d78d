"""A derived network with the interface of timm's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.genotypes import GenotypeSpec
from rdarts.models.classifier import Classifier
from rdarts.models.declared import build_derived
from rdarts.models.features import describe_outputs, take_outputs
from rdarts.search_spaces import SpaceSpec

POOLS = ('avg', '')


class TimmClassifier(Classifier):
    """A derived network and a linear layer; the keys of its weights are those of a retraining.

    Args:
        genotype (str | PathLike | dict | Genotype): See :func:`rdarts.apis.build_net`.
        num_classes (int): Number of classes; with 0, features are what it gives. Defaults to 1000.
        in_chans (int): Channels of the image. Defaults to 3.
        global_pool (str): ``'avg'``, or ``''`` for none. Defaults to ``'avg'``.
        drop_rate (float): Dropout before the linear layer, below 1. Defaults to 0.
        drop_path_rate (float): ``drop_path`` of :class:`DARTSNet`. Defaults to 0.
        space (str | dict | SearchSpace, optional): The genotype's space.
        stem (str): ``'cifar'`` or ``'imagenet'``. Defaults to ``'imagenet'``.
        **kwargs: Of the network (``channels``, ``num_cells``, ...).

    Attributes:
        feature_info (list[dict]): What each output is; see :func:`describe_outputs`.

    Raises:
        UserError: The genotype cannot be read, or an argument does not fit.
    """

    def __init__(
        self,
        genotype: GenotypeSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = 'avg',
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        space: SpaceSpec | None = None,
        stem: str = 'imagenet',
        **kwargs: Any,
    ) -> None:
        if drop_path_rate:
            kwargs.update(drop_path=drop_path_rate)
        kwargs.update(in_channels=in_chans)
        backbone = build_derived(genotype, space, stem, **kwargs)
        backbone.out_indices = tuple(range(len(backbone.strides)))
        backbone.requires_grad_(True)  # what the last output alone did not need
        super().__init__(backbone, max(1, num_classes))
        self.feature_info = describe_outputs(backbone)
        self.num_features = self.head_hidden_size = backbone.out_widths[-1]
        self.drop_rate = drop_rate
        self.num_classes, self.global_pool = num_classes, global_pool
        self._set_head(num_classes, global_pool)

    def _set_head(self, num_classes: int, global_pool: str) -> None:
        if global_pool not in POOLS:
            raise UserError(f"global_pool must be 'avg' or '', but is {global_pool!r}")
        if num_classes and not global_pool:
            raise UserError("global_pool='' goes with num_classes=0: a head classifies the average")
        self.num_classes, self.global_pool = num_classes, global_pool
        if not num_classes:
            self.head.fc = nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The linear layer."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give it a new linear layer for other classes, or none for 0.

        Raises:
            UserError: The pooling is not known.
        """
        if num_classes:
            weight = next(self.backbone.parameters())
            self.head.fc = nn.Linear(
                self.num_features, num_classes, device=weight.device, dtype=weight.dtype
            )
        self._set_head(num_classes, self.global_pool if global_pool is None else global_pool)

    def forward_features(self, x: Tensor) -> Tensor:
        """The last features [N, num_features, h, w] of images [N, in_chans, H, W]."""
        return self.backbone(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Scores [N, num_classes] of the last features; before the linear layer, if asked for."""
        if self.global_pool:
            x = x.mean((2, 3))
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.head.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, num_classes] of images [N, in_chans, H, W].

        Raises:
            UserError: The images are smaller than the stride.
        """
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = 'NCHW',
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The features that timm's ``features_only`` gives.

        Args:
            x (Tensor): [N, in_chans, H, W].
            indices (int | Sequence[int], optional): See :func:`take_outputs`.
            norm, stop_early (bool): Without effect: there is no last norm, and all is computed.
            output_fmt (str): ``'NCHW'``.
            intermediates_only (bool): Whether the last features are not given before them.

        Raises:
            UserError: There are no such outputs, or the format is another.
        """
        if output_fmt != 'NCHW':
            raise UserError(f"output_fmt must be 'NCHW', but is {output_fmt!r}")
        features = self.backbone(x)
        taken = [features[index] for index in take_outputs(len(features), indices)]
        return taken if intermediates_only else (features[-1], taken)

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] | None = None,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Leave out the linear layer; the outputs that ``indices`` means.

        Raises:
            UserError: There are no such outputs.
        """
        taken = take_outputs(len(self.feature_info), indices)
        if prune_head:
            self.reset_classifier(0)
        return list(taken)
