"""Activation checkpointing of a part of a supernet: the same numbers in less memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Result = TypeVar('Result')


def recomputed(modules: Sequence[nn.Module], run: Callable[..., Result], *args: Any) -> Result:
    """``run(*args)``, the inside of which the backward pass computes once more, not keeping it.

    Random numbers are the same in both passes, and running statistics move in the first alone.

    Args:
        modules (Sequence[nn.Module]): All that ``run`` calls.
        run (Callable): A part of a network, whose results are tensors.
        *args: What it takes: tensors, or anything that has them.
    """
    if not torch.is_grad_enabled():
        return run(*args)
    contexts = partial(_contexts, modules)
    return checkpoint(run, *args, use_reentrant=False, context_fn=contexts)


def _contexts(
    modules: Sequence[nn.Module],
) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Of the forward, and of the same again in the backward."""
    return nullcontext(), _BuffersAsBefore(modules)


class _BuffersAsBefore(AbstractContextManager):
    """Within, buffers are copies of what they were: the forward moves none of the modules' own.

    It is entered once a backward pass; a graph may have several.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.before = [
            (module, name, buffer.clone())
            for whole in modules
            for module in whole.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]

    def __enter__(self) -> None:
        self.own = [getattr(module, name) for module, name, _ in self.before]
        for module, name, buffer in self.before:
            setattr(module, name, buffer.clone())

    def __exit__(self, *exception: Any) -> None:
        for (module, name, _), buffer in zip(self.before, self.own, strict=True):
            setattr(module, name, buffer)
