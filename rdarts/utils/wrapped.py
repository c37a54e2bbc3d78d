"""Models within wrappers, such as DistributedDataParallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.model import is_model_wrapper

if TYPE_CHECKING:
    from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, wrapped or not."""
    return model.module if is_model_wrapper(model) else model
