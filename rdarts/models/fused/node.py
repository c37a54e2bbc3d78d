"""A node as the candidates of its edges see it: what they read, and facts computed once for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rdarts.errors import UserError
from rdarts.models.kernels import Backend, Rows, noise_seed, standard_normal, to_nhwc
from rdarts.models.kernels.precision import wide_type
from rdarts.models.layers import StackedBatchNorm2d

if TYPE_CHECKING:
    from rdarts.models.fused.plan import Part, Plan


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``, at no cost where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


class Node:
    """One forward or backward of the edges that leave a node.

    Args:
        plan (Plan): What runs.
        backend (Backend): Whose kernels run.
        image (Tensor): What the edges read, [N, H, W, C].

    Attributes:
        dtype (torch.dtype): Of scales, shifts and coefficients.
        channels (int): Channels O of what the edges give.
        size (list[int]): Height h and width w of what the edges give.
        count (int): The number of its pixels, N h w.
        facts (dict): What the candidates' ``needs`` name, in the forward.
        again (dict): What a candidate computed once more in the backward, by the part's name.
    """

    def __init__(self, plan: Plan, backend: Backend, image: Tensor) -> None:
        self.backend, self.image = backend, image
        self.dtype, self.channels = wide_type(image.dtype), plan.channels
        number, height, width, _ = image.shape
        self.size = [-(-height // plan.stride), -(-width // plan.stride)]
        self.count = number * self.size[0] * self.size[1]
        self.facts = {}
        self.again: dict[str, Tensor] = {}

    def empty(self, channels: int, size: Sequence[int]) -> Tensor:
        """An uninitialised [N, h, w, channels] of the image's type."""
        return to_nhwc(self.backend.empty_images(self.image, channels, *size))

    def like(self, image: Tensor) -> Tensor:
        """An uninitialised tensor of the shape of ``image``, [N, h, w, C]."""
        return self.empty(image.shape[-1], image.shape[1:3])

    def noise(self, seed: Tensor | None = None) -> Tensor:
        """N(0, 1) of the shape that the edges give, [N, h, w, O]: see :func:`standard_normal`."""
        return standard_normal(self.empty(self.channels, self.size), seed)

    def drawn(self, term: Tensor) -> Tensor:
        """A term of the mixture as an image, [N, h, w, O]: noise where it is a seed, []."""
        return self.noise(term) if term.dim() == 0 else term

    def normalise(
        self,
        part: Part,
        norm: StackedBatchNorm2d,
        moments: Tensor,
        affine: Sequence[Tensor],
        count: int,
    ) -> Tensor:
        """What a stacked batch norm does to y, with its running statistics moved in training.

        Args:
            part (Part): The edges that run.
            norm (StackedBatchNorm2d): The batch norm.
            moments (Tensor): Mean and biased variance of y, [E, 2, C] or, where the edges share
                y, [2, C], in float64.
            affine (Sequence[Tensor]): Weight and bias, [E, C], or nothing.
            count (int): The number of pixels of y.

        Returns:
            Tensor: [4, E, C] in float64: mean, 1 / sqrt(var + eps), scale and shift.

        Raises:
            ValueError: A channel of a batch has one value, which has no variance.
            UserError: The moments are of another shape or type.
        """
        rows = _rows(part, norm, moments, affine, count)
        return self.backend.batch_norm(
            *(rows.moments, count, rows.running, affine),
            *(rows.momentum, rows.eps, rows.batch, rows.chosen),
        )

    def rows(self, part: Part, moments: Tensor | None, affine: Sequence[Tensor]) -> Rows:
        """The rows of a part in the mixture; see :meth:`normalise`.

        Args:
            part (Part): The edges that run.
            moments (Tensor | None): Of y, where a batch norm follows it.
            affine (Sequence[Tensor]): Weight and bias of that, [E, C], or nothing.
        """
        if part.norm is None:
            return Rows(len(part.edges))
        return _rows(part, part.norm, moments, affine, self.count)


def _rows(
    part: Part, norm: StackedBatchNorm2d, moments: Tensor, affine: Sequence[Tensor], count: int
) -> Rows:
    running = norm.running
    batch = norm.takes_batch
    if batch and count == 1:
        raise ValueError('Expected more than 1 value per channel when training')
    edges = len(part.edges)
    chosen = range(edges) if part.chosen is None else part.chosen
    if norm not in part.checked:
        _check(part, norm, moments, edges)
    moments = moments if moments.dim() == 3 else moments[None]
    return Rows(edges, moments, running, affine, norm.momentum, norm.eps, batch, chosen)


def _check(part: Part, norm: StackedBatchNorm2d, moments: Tensor, edges: int) -> None:
    """The moments that a candidate gave are [E or 1, 2, C] or [2, C]: kernels take them as such."""
    known = norm.weight if norm.running is None else norm.running[0]
    fits = isinstance(moments, Tensor) and moments.dtype == torch.float64
    if fits and moments.dim() == 2:
        moments = moments[None]
    if fits:
        fits = moments.dim() == 3 and moments.shape[0] in (1, edges) and moments.shape[1] == 2
        fits = fits and (known is None or moments.shape[2] == known.shape[1])
    if not fits:
        found = type(moments).__name__
        if isinstance(moments, Tensor):
            found = f'{list(moments.shape)} in {str(moments.dtype).removeprefix("torch.")}'
        raise UserError(
            f'fused candidate {type(part.candidate).__name__}: the moments of {edges} edges must '
            f'be [{edges}, 2, channels] in float64, but are {found}'
        )
    if not torch.compiler.is_compiling():  # what is traced keeps nothing
        part.checked.add(norm)


def _draw_noise(node: Node, plan: Plan) -> dict[int, Tensor]:
    """Noise by place, drawn in edge order as the plain execution draws it.

    A seed each, [], or where a device's generator gives none the images, [N, h, w, O].
    """
    places = sorted(
        place for part in plan.parts if 'noise' in part.candidate.needs for place in part.places
    )
    found: dict[int, Tensor] = {}
    for place in places:
        seed = noise_seed(node.image.device)
        found[place] = node.noise() if seed is None else seed
    return found


def _relu_covariance(node: Node, plan: Plan) -> tuple[Tensor, Tensor]:
    """Mean [C] and covariance [C, C] of relu(x) over pixels, in float64."""
    return node.backend.covariance(node.image, True)


# What `needs` of a candidate may name
FACTS: dict[str, Callable[[Node, Plan], object]] = {
    'noise': _draw_noise,
    'relu_covariance': _relu_covariance,
}
