"""The algebra of a batch norm's gradient, the same on every back end."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_norm_backward(
    norm: Tensor, batch: Tensor | bool, count: int, total: Tensor, product: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of batch norms.

    Args:
        norm (Tensor): What :meth:`Backend.batch_norm` returned, [4, E, C].
        batch (Tensor | bool): Whether each took the batch's statistics, [E, 1] or one for all.
        count (int): Number of pixels of y.
        total, product (Tensor): Sums over pixels of G and of G y, [E, C] in float64, where G is
            the gradient of the output.

    Returns:
        tuple[Tensor, Tensor]: [3, E, C] of a, b, c with the input's gradient a G + b y + c; the
        weight's gradient, [E, C]. (The bias's is ``total``.)
    """
    mean, inverse, scale, _ = norm.unbind(0)
    weight = inverse * torch.addcmul(product, mean, total, value=-1)
    factor = scale * batch / count
    slope = factor * inverse * weight
    return torch.stack([scale, -slope, mean * slope - factor * total]), weight
