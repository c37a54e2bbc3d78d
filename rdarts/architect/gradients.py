"""Gradients of alpha and of weights: of whom they are taken, and their mean over ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor, nn

LossFunction = Callable[[], Tensor]


@contextmanager
def only_training(trainable: Sequence[Tensor], frozen: Sequence[Tensor]) -> Iterator[None]:
    """Within, gradients are taken of ``trainable`` and not of ``frozen``."""
    before = [(tensor, tensor.requires_grad) for tensor in (*trainable, *frozen)]
    for tensor in trainable:
        tensor.requires_grad_(True)
    for tensor in frozen:
        tensor.requires_grad_(False)
    try:
        yield
    finally:
        for tensor, flag in before:
            tensor.requires_grad_(flag)


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    """The loss of what a data loader gives, by a model without a wrapper."""
    data = model.data_preprocessor(batch, True)
    return model.parse_losses(model._run_forward(data, mode='loss'))[0]


def gradient_of(
    output: Tensor, inputs: Sequence[Tensor], create_graph: bool = False
) -> list[Tensor]:
    """d output / d input for each input; zeros for one that takes no part."""
    grads = torch.autograd.grad(output, inputs, create_graph=create_graph, allow_unused=True)
    return [
        torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, grads, strict=True)
    ]


Move = Callable[..., None]
"""Moves weights from where they began to where they began plus a factor times deltas."""


@contextmanager
def displaced(weights: Sequence[Tensor], buffers: Sequence[Tensor] = ()) -> Iterator[Move]:
    """Within, weights can be moved; afterwards these and buffers are as they were, bit by bit.

    Args:
        weights (Sequence[Tensor]): What is moved, by ``move(deltas, factor=1)``; ``move(None)``
            puts them back.
        buffers (Sequence[Tensor]): What forward passes change meanwhile. Defaults to none.
    """
    start = [tensor.detach().clone() for tensor in weights]
    before = [tensor.detach().clone() for tensor in buffers]

    @torch.no_grad()
    def move(deltas: Sequence[Tensor] | None, factor: float | Tensor = 1.0) -> None:
        for i, (weight, origin) in enumerate(zip(weights, start, strict=True)):
            weight.copy_(origin if deltas is None else origin + factor * deltas[i])

    try:
        yield move
    finally:
        move(None)
        with torch.no_grad():
            for tensor, origin in zip(buffers, before, strict=True):
                tensor.copy_(origin)


def average(grads: list[Tensor]) -> list[Tensor]:
    """The mean over ranks of a list of gradients."""
    if get_dist_info()[1] == 1:
        return grads
    flat = torch.cat([grad.flatten() for grad in grads])
    all_reduce(flat, 'mean')
    parts = flat.split([grad.numel() for grad in grads])
    return [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)]
