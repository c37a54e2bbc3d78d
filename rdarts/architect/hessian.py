"""The largest eigenvalue of the Hessian of L_val in alpha, which grows before a collapse.

RobustDARTS (Zela et al., ICLR 2020, https://arxiv.org/abs/1909.09656) computes the whole Hessian,
with alpha's weight decay, which adds a constant; here products of L_val's Hessian with vectors,
which are exact, suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Eigenvalue(float):
    """An eigenvalue of H that knows how good it is.

    Args:
        value (float): The estimate.
        residual (float): |H v - value v| of its unit vector v: H has an eigenvalue no further off.
        products (int): Products with H that it took.
        converged (bool): Whether it is as good as was asked.
    """

    residual: float
    products: int
    converged: bool

    def __new__(
        cls, value: float, residual: float = 0.0, products: int = 0, converged: bool = True
    ) -> Eigenvalue:
        self = super().__new__(cls, value)
        self.residual, self.products, self.converged = residual, products, converged
        return self


def largest_eigenvalue(
    loss: Tensor,
    alphas: Sequence[Tensor],
    iterations: int = 100,
    tolerance: float = 1e-4,
    seed: int = 0,
    reduce: Callable[[list[Tensor]], list[Tensor]] = lambda grads: grads,
    scale: float = 1.0,
) -> Eigenvalue:
    """The largest eigenvalue of d^2 loss / d alpha^2, by power iteration that keeps its vectors.

    The estimate is the largest eigenvalue of the Hessian within the span of all iterates
    (Lanczos), not in the last one alone. So it is the largest whatever the signs, and eigenvalues
    of like magnitude do not hold it up. It is exact after as many products as alpha has entries.

    Args:
        loss (Tensor): A scalar with a graph to alpha.
        alphas (Sequence[Tensor]): Alpha, all groups together one vector.
        iterations (int): Products with the Hessian at most. Defaults to 100.
        tolerance (float): It has converged when its residual is at most ``tolerance`` of it, or of
            a hundredth of the largest magnitude where it is less than that. Defaults to 1e-4.
        seed (int): Of the start, which comes from a generator of its own. Defaults to 0.
        reduce (Callable): Averages over ranks. Defaults to doing nothing.
        scale (float): The loss scale of float16, by which every backward pass is multiplied and
            every product divided. Defaults to 1.

    Returns:
        Eigenvalue: The estimate; NaN, and not converged, where a product is not finite.
    """
    product, size = _hessian_product(loss, alphas, reduce, scale)
    limit = min(iterations, size)
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(size, generator=generator, dtype=torch.float64)
    basis, images = vector.new_empty(0, size), vector.new_empty(0, size)
    while True:
        vector = _orthonormal(vector, basis)
        image = product(vector)
        basis, images = torch.vstack([basis, vector]), torch.vstack([images, image])
        count = len(basis)
        if not image.isfinite().all():
            return Eigenvalue(float('nan'), float('nan'), count, False)
        inner = basis @ images.T
        values, weights = torch.linalg.eigh((inner + inner.T) / 2)
        value = float(values[-1])
        residual = float((weights[:, -1] @ (images - value * basis)).norm())
        least = 0.01 * float(values.abs().max())
        converged = residual <= tolerance * max(abs(value), least) or count == size
        if converged or count == limit:
            return Eigenvalue(value, residual, count, converged)
        vector = image


def _hessian_product(
    loss: Tensor,
    alphas: Sequence[Tensor],
    reduce: Callable[[list[Tensor]], list[Tensor]],
    scale: float,
) -> tuple[Callable[[Tensor], Tensor], int]:
    """The product of d^2 loss / d alpha^2 with a vector, and the vector's length.

    The loss is a scalar, each alpha [edges, candidates]; a vector is [length] in float64, on the
    CPU.
    """
    grads = torch.autograd.grad(scale * loss, alphas, create_graph=True, allow_unused=True)
    pairs = [(g, a) for g, a in zip(grads, alphas, strict=True) if g is not None and g.grad_fn]
    sizes = [alpha.numel() for alpha in alphas]

    def product(vector: Tensor) -> Tensor:
        split = vector.to(alphas[0].device).split(sizes)
        parts = dict(zip(map(id, alphas), split, strict=True))
        total = sum((g.double() * parts[id(a)].view_as(a)).sum() for g, a in pairs)
        found = [None] * len(alphas)
        if pairs:
            found = torch.autograd.grad(total, alphas, retain_graph=True, allow_unused=True)
        found = [
            torch.zeros_like(a) if f is None else f for f, a in zip(found, alphas, strict=True)
        ]
        flat = torch.cat([f.detach().double().flatten() for f in reduce(found)])
        return flat.cpu() / scale

    return product, sum(sizes)


def _orthonormal(vector: Tensor, basis: Tensor) -> Tensor:
    # once is not enough where little is left of the vector
    for _ in range(3):
        vector = vector - (basis @ vector) @ basis
        vector = vector / vector.norm()
    return vector
