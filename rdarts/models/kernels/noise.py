"""Noise that is the same numbers on every back end and with any number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

from rdarts.models.kernels.backends import choose_backend


def noise_seed(device: torch.device) -> Tensor | None:
    """A seed of :func:`standard_normal`, [] in int64, by which noise can be drawn again.

    It moves the state of torch's generator as a call without a seed does. None where the device's
    own generator draws, as on a GPU: its numbers are the next ones, and come once.
    """
    return torch.randint(1 << 62, ()) if device.type == 'cpu' else None


def standard_normal(out: Tensor, seed: Tensor | None = None) -> Tensor:
    """Fill with N(0, 1), a function of the state of torch's generator, and move that.

    On a CPU the numbers follow from one seed of torch's generator, in the order of memory, with a
    counter-based generator: neither the number of threads nor the kind of CPU or of back end
    changes a bit. Numbers in float32 are those in float64 up to rounding, and shorter types have
    those in float32, rounded.

    Args:
        out (Tensor): Contiguous, of any shape.
        seed (Tensor, optional): On a CPU, a seed that :func:`noise_seed` gave; no generator is
            moved then.
    """
    if out.device.type != 'cpu':
        return out.normal_()
    seed = noise_seed(out.device) if seed is None else seed
    if out.dtype not in (torch.float32, torch.float64):
        return out.copy_(standard_normal(torch.empty(out.shape), seed))
    choose_backend(out.device, out.dtype).fill_normal(out, int(seed))
    return out
