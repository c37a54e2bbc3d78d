"""What strategies with networks of their own have in common: weights as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rdarts.errors import UserError
from rdarts.sampling.strategies.base import Strategy


def tensors_data(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors by name as lists."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def load_tensors(into: Mapping[str, Tensor], data: Mapping[str, Any], strategy: Strategy) -> None:
    """Copy what :func:`tensors_data` gave into tensors of the same names and shapes.

    Args:
        into (Mapping[str, Tensor]): What is written.
        data (Mapping[str, Any]): The lists.
        strategy (Strategy): Whose they are.

    Raises:
        UserError: Names or shapes are others.
    """
    found = {name: torch.tensor(values) for name, values in data.items()}
    if {name: one.shape for name, one in found.items()} != {
        name: one.shape for name, one in into.items()
    }:
        raise UserError(
            f'{type(strategy).__name__}: the weights to go on from have other shapes than '
            f"'{strategy.space.name}' and the arguments need: they are of another search"
        )
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(found[name])
