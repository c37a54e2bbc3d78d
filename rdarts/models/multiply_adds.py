"""The multiply-adds of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rdarts.models.backbones import BaseSupernet
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.utils.evaluating import evaluating


@contextmanager
def plain_execution(model: nn.Module) -> Iterator[None]:
    """Within, supernets and derived networks run layer by layer.

    What fused saves by folding, and adds for it, is no work of the network; and hooks of layers
    run in plain alone.
    """
    nets = [one for one in model.modules() if isinstance(one, (BaseSupernet, DerivedNet))]
    executions = [net.execution for net in nets]
    try:
        for net in nets:
            net.execution = 'plain'
        yield
    finally:
        for net, execution in zip(nets, executions, strict=True):
            net.execution = execution


def count_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers for one image.

    Args:
        model (nn.Module): The model.
        image (Tensor): [3, H, W].
    """
    with (
        plain_execution(model),
        torch.no_grad(),
        evaluating(model),
        FlopCounterMode(display=False) as counter,
    ):
        model(image[None])
    return counter.get_total_flops() // 2


@contextmanager
def layer_macs(network: nn.Module) -> Iterator[list[int]]:
    """Within, what each convolution and linear layer that runs multiplies and adds is collected.

    Args:
        network (nn.Module): One whose convolutions and linear layers are modules, as those of the
            networks that genotypes derive are.

    Yields:
        list[int]: One number a layer, for all images that it is given.
    """
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel())

    layers = [one for one in network.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def count_layer_macs(network: nn.Module, image: Tensor) -> int:
    """As :func:`count_macs`, in an eighth of the time, of a network as :func:`layer_macs` takes it.

    Args:
        network (nn.Module): The network.
        image (Tensor): [3, H, W].
    """
    with torch.no_grad(), evaluating(network), layer_macs(network) as counts:
        network(image[None])
    return sum(counts)
