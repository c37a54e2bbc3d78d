"""The multiply-adds of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rdarts.models.backbones import BaseSupernet
from rdarts.utils.evaluating import evaluating


def count_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers for one image.

    Args:
        model (nn.Module): The model.
        image (Tensor): [3, H, W].
    """
    supernets = [module for module in model.modules() if isinstance(module, BaseSupernet)]
    executions = [supernet.execution for supernet in supernets]
    try:
        for supernet in supernets:
            # what fused saves by folding, and adds for it, is no work of the network
            supernet.execution = 'plain'
        with torch.no_grad(), evaluating(model), FlopCounterMode(display=False) as counter:
            model(image[None])
    finally:
        for supernet, execution in zip(supernets, executions, strict=True):
            supernet.execution = execution
    return counter.get_total_flops() // 2
