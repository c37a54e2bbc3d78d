"""Noise that is the same numbers on every back end and with any number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

from rdarts.models.kernels.backends import choose_backend

PIECE = 1 << 15


def standard_normal(out: Tensor) -> Tensor:
    """Fill with N(0, 1), a function of the state of torch's generator, and move that.

    On a CPU each piece of 2^15 numbers has a generator of its own, seeded with a number from
    torch's and its place, so that cores share the work and their number changes nothing.

    Args:
        out (Tensor): Contiguous, of any shape.
    """
    if out.device.type != 'cpu':
        return out.normal_()
    seed = int(torch.randint(1 << 62, ()))
    choose_backend(out.device, out.dtype).fill_normal(out, seed, PIECE)
    return out
