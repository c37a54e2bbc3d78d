"""Learning rates over epochs that mmengine lacks."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim import CosineAnnealingLR

from rdarts.configuration.declarations import Positive
from rdarts.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmUpCosineLR(CosineAnnealingLR):
    """A cosine whose first epochs warm up, in one scheduler that overlays can change.

    In epoch e the learning rate is min(1, (e + 1) / warmup) times that of
    ``CosineAnnealingLR`` in this epoch: PC-DARTS's on ImageNet.

    Args:
        optimizer (OptimWrapper): What it is of.
        warmup (int): Number of epochs, or iterations where ``by_epoch`` is False.
        **kwargs: See mmengine's ``CosineAnnealingLR``.
    """

    def __init__(self, optimizer: Any, warmup: Positive, **kwargs: Any) -> None:
        self.warmup = warmup
        super().__init__(optimizer, **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, warmup: int, epoch_length: int, **kwargs: Any
    ) -> WarmUpCosineLR:
        """See mmengine."""
        warmup = warmup * epoch_length
        return super().build_iter_from_epoch(
            *args, warmup=warmup, epoch_length=epoch_length, **kwargs
        )

    def _get_value(self) -> list[float]:
        # from the epoch alone: mmengine's is a factor on the last value, which warmed up here
        share = (1 + math.cos(math.pi * self.last_step / self.T_max)) / 2
        factor = min(1, (self.last_step + 1) / self.warmup)
        values = []
        for base in self.base_values:
            least = self.eta_min if self.eta_min_ratio is None else base * self.eta_min_ratio
            values.append(factor * (least + (base - least) * share))
        return values
