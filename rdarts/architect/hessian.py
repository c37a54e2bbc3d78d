"""The largest eigenvalue of the Hessian of L_val in alpha, which grows before a collapse.

RobustDARTS (Zela et al., ICLR 2020, https://arxiv.org/abs/1909.09656), which computes the whole
Hessian; here its products with vectors, which are exact, suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def largest_eigenvalue(
    loss: Tensor,
    alphas: Sequence[Tensor],
    iterations: int = 100,
    tolerance: float = 1e-4,
    seed: int = 0,
    reduce: Callable[[list[Tensor]], list[Tensor]] = lambda grads: grads,
) -> float:
    """The largest eigenvalue of d^2 loss / d alpha^2, by power iteration.

    Where the eigenvalue of largest magnitude is negative, a second iteration with the spectrum
    shifted by it finds the largest.

    Args:
        loss (Tensor): A scalar with a graph to alpha.
        alphas (Sequence[Tensor]): Alpha, all groups together one vector.
        iterations (int): At most so many products with the Hessian a search. Defaults to 100.
        tolerance (float): Relative change of the estimate that ends it. Defaults to 1e-4.
        seed (int): Of the start, which comes from a generator of its own. Defaults to 0.
        reduce (Callable): Averages over ranks. Defaults to doing nothing.
    """
    grads = torch.autograd.grad(loss, alphas, create_graph=True, allow_unused=True)
    pairs = [(g, a) for g, a in zip(grads, alphas, strict=True) if g is not None and g.grad_fn]
    sizes = [alpha.numel() for alpha in alphas]

    def product(vector: Tensor) -> Tensor:
        parts = dict(zip(map(id, alphas), vector.split(sizes), strict=True))
        total = sum((g.double() * parts[id(a)].view_as(a)).sum() for g, a in pairs)
        found = [None] * len(alphas)
        if pairs:
            found = torch.autograd.grad(total, alphas, retain_graph=True, allow_unused=True)
        found = [
            torch.zeros_like(a) if f is None else f for f, a in zip(found, alphas, strict=True)
        ]
        return torch.cat([f.detach().double().flatten() for f in reduce(found)])

    def dominant(shift: float) -> float:
        generator = torch.Generator().manual_seed(seed)
        vector = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
        vector = (vector / vector.norm()).to(alphas[0].device)
        estimate = 0.0
        for _ in range(iterations):
            image = product(vector) - shift * vector
            before, estimate = estimate, float(vector @ image)
            norm = image.norm()
            if norm == 0 or abs(estimate - before) <= tolerance * abs(estimate):
                break
            vector = image / norm
        return estimate + shift

    found = dominant(0.0)
    return max(found, dominant(found)) if found < 0 else found
