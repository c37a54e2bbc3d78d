"""mmpretrain's linear head, with an auxiliary one in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from mmpretrain.models.heads import LinearClsHead
from torch import Tensor

from rdarts.configuration.declarations import Among, NotNegative, Positive
from rdarts.models.heads.auxiliary_head import POOLED, AuxiliaryHead
from rdarts.registry import MODELS


class AuxiliarySpec(TypedDict, total=False):
    """What a config says of an auxiliary head; its width follows from the network."""

    in_channels: Positive
    stem: Annotated[str, Among(POOLED)]
    weight: NotNegative


@MODELS.register_module()
class AuxiliaryClsHead(LinearClsHead):
    """Averages the last features over pixels and classifies them by a linear layer.

    It takes the place of neck and head. In training, the first features go to the auxiliary head,
    whose loss is added.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the last features.
        auxiliary (dict, optional): ``in_channels`` and ``stem`` of the
            :class:`~rdarts.models.heads.auxiliary_head.AuxiliaryHead`, and the ``weight`` of its
            loss (published: .4). Defaults to none.
        **kwargs: See mmpretrain's ``LinearClsHead``.
    """

    def __init__(
        self,
        num_classes: Positive,
        in_channels: Positive,
        auxiliary: AuxiliarySpec | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        self.auxiliary = None
        if auxiliary is not None:
            args = dict(auxiliary)
            self.auxiliary_weight = args.pop('weight', 0.4)
            self.auxiliary = AuxiliaryHead(num_classes=num_classes, **args)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """[N, in_channels]."""
        return feats[-1].mean((2, 3))

    def loss(self, feats: Sequence[Tensor], data_samples: list, **kwargs: Any) -> dict:
        """See mmpretrain; with ``auxiliary_loss``, already weighted."""
        losses = super().loss(feats, data_samples, **kwargs)
        if self.auxiliary is not None and self.training:
            found = self._get_loss(self.auxiliary(feats[0]), data_samples, **kwargs)
            losses['auxiliary_loss'] = self.auxiliary_weight * found['loss']
        return losses
