"""A backbone and its classifier as a plain PyTorch module."""

from __future__ import annotations

from torch import Tensor, nn

from rdarts.models.heads.auxiliary_head import AuxiliaryHead


class _Head(nn.Module):
    """Parameters under the names that retraining gives them."""

    def __init__(self, in_channels: int, num_classes: int, auxiliary: AuxiliaryHead | None) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)
        self.auxiliary = auxiliary


class Classifier(nn.Module):
    """Global average pooling and a linear layer over the last features of a backbone.

    Its state dict has the keys of a retraining checkpoint's ``state_dict``.

    Args:
        backbone (nn.Module): Gives a tuple of features; the last has ``out_channels`` channels.
        num_classes (int): Number of classes.
        auxiliary (AuxiliaryHead, optional): Classifies the first features, in training only.
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, auxiliary: AuxiliaryHead | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = _Head(backbone.out_channels, num_classes, auxiliary)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores of a batch.

        Args:
            x (Tensor): [N, in_channels, H, W].

        Returns:
            Tensor | tuple[Tensor, Tensor]: [N, num_classes]; with an auxiliary head, in training,
            also its scores.
        """
        features = self.backbone(x)
        scores = self.head.fc(features[-1].mean((2, 3)))
        if self.head.auxiliary is None or not self.training:
            return scores
        return scores, self.head.auxiliary(features[0])
