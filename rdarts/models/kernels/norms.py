"""The algebra of batch norms in a mixture, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rdarts.models.kernels.precision import wide_type
from rdarts.utils import host

if TYPE_CHECKING:
    from rdarts.models.kernels.backends.base import Rows


def batch_norm(
    moments: Tensor,
    count: int,
    running: tuple[Tensor, Tensor] | None,
    affine: Sequence[Tensor],
    momentum: float,
    eps: float,
    batch: bool,
    chosen: Sequence[int],
) -> Tensor:
    """See :meth:`~rdarts.models.kernels.backends.base.Backend.batch_norm`."""
    # an index that is made here is a transfer to the device
    whole = isinstance(chosen, range)
    index = slice(chosen.start, chosen.stop) if whole else host.send(chosen, moments.device)
    if batch:
        mean, var = moments.expand(len(chosen), -1, -1).unbind(1)
        if running is not None:
            for buffer, new in zip(running, (mean, var * (count / (count - 1))), strict=True):
                buffer[index] = torch.lerp(buffer[index].double(), new, momentum).to(buffer.dtype)
    else:
        mean, var = (buffer[index].double() for buffer in running)
    inverse = torch.rsqrt(var + eps)
    scale = inverse * affine[0] if affine else inverse
    shift = affine[1] - mean * scale if affine else -mean * scale
    return torch.stack([mean, inverse, scale, shift])


def batch_norm_backward(
    norm: Tensor,
    batch: Tensor | bool,
    count: int,
    total: Tensor,
    product: Tensor,
    beta: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """See :meth:`~rdarts.models.kernels.backends.base.Backend.batch_norm_backward`."""
    mean, inverse, scale, shift = norm.unbind(0)
    beta_grad, factor = None, 1
    if beta is not None:
        beta_grad, factor = (scale * product + shift * total).sum(-1), beta[:, None]
        total, product = factor * total, factor * product
    weight = inverse * torch.addcmul(product, mean, total, value=-1)
    if isinstance(batch, Tensor):
        batch = batch[:, None]
    share = scale * batch / count
    slope = share * inverse * weight
    found = torch.stack([scale * factor, -slope, mean * slope - share * total])
    return found, weight, total, beta_grad


def mixture(
    rows: Sequence[Rows],
    count: int,
    betas: Tensor,
    places: Tensor,
    edges: Tensor,
    num_edges: int,
    channels: int,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :meth:`~rdarts.models.kernels.backends.base.Backend.mixture`."""
    beta = betas.double()[places]
    parts = [beta.new_zeros(4, 0, channels)]
    for one in rows:
        if one.moments is None:
            parts.append(beta.new_zeros(4, one.edges, channels))
            parts[-1][1:3] = 1
        else:
            norm = (one.affine, one.momentum, one.eps, one.batch, one.chosen)
            parts.append(batch_norm(one.moments, count, one.running, *norm))
    norm = torch.cat(parts, 1)
    each = beta[:, None] * norm[2:]
    shift = norm.new_zeros(num_edges, channels).index_add_(0, edges, each[1])
    dtype = wide_type(like.dtype)
    return norm, beta, each[0].to(dtype), shift.to(dtype)


def mixture_backward(
    norm: Tensor,
    batch: Tensor | bool,
    count: int,
    totals: Tensor,
    product: Tensor,
    beta: Tensor,
    edges: Tensor,
    places: Tensor,
    betas: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :meth:`~rdarts.models.kernels.backends.base.Backend.mixture_backward`."""
    *found, each = batch_norm_backward(norm, batch, count, totals[edges], product, beta)
    sums = torch.zeros_like(betas, dtype=torch.float64).index_add_(0, places, each)
    return *found, sums.to(betas.dtype)
