"""Batch norm of ordinary layers, as accurate in channels_last as it is in NCHW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.kernels import Backend, choose_backend, to_nhwc


class BatchNorm2d(nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``, with its arguments, parameters and buffers.

    On a CPU, PyTorch adds up float32 images in float32 where memory is in channels_last, and in
    float64 where it is not: the former is up to forty times further from the exact result. There
    the sums are taken in float64 here too; anything else is PyTorch's.
    """

    @property
    def takes_batch(self) -> bool:
        """Whether it takes the statistics of the batch, so that gradients go through them."""
        return self.training or self.running_mean is None

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.BatchNorm2d``."""
        if not self.takes_batch or self.momentum is None or not _is_summed_in_float32(x):
            return super().forward(x)
        return _Normalise.apply(self, x, self.weight, self.bias)

    def by(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same by another weight and bias, [C]; running statistics and momentum must be there.

        Args:
            x (Tensor): [N, C, H, W].
            weight, bias (Tensor): In place of its own.
        """
        if self.takes_batch and _is_summed_in_float32(x):
            return _Normalise.apply(self, x, weight, bias)
        statistics = (self.running_mean, self.running_var)
        return F.batch_norm(x, *statistics, weight, bias, self.takes_batch, self.momentum, self.eps)

    def normalise(
        self, backend: Backend, y: Tensor, moments: Tensor, affine: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The result for an image whose moments are known; running statistics move in training.

        Args:
            backend (Backend): Whose kernels run.
            y (Tensor): [N, H, W, C].
            moments (Tensor): Its mean and biased variance, [2, C] in float64.
            affine (Sequence[Tensor]): Weight and bias, or nothing.

        Returns:
            tuple[Tensor, Tensor]: The result, [N, C, H, W] in channels_last; and what
            ``backend.batch_norm`` returned.
        """
        running = None
        if self.running_mean is not None:
            running = (self.running_mean[None], self.running_var[None])
            if self.training:
                self.num_batches_tracked.add_(1)
        norm = backend.batch_norm(
            moments[None],
            y.numel() // y.shape[-1],
            running,
            [tensor[None] for tensor in affine],
            self.momentum,
            self.eps,
            self.takes_batch,
            range(1),
        )
        out = backend.empty_images(y, y.shape[-1], *y.shape[1:3])
        scale, shift = norm[2:].to(y.dtype)
        backend.mix([to_nhwc(out)], [False], [y], [0], scale, shift)
        return out, norm


def gradient(
    backend: Backend, norm: Tensor, batch: bool, g: Tensor, y: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Backward of :meth:`BatchNorm2d.normalise`.

    Args:
        backend (Backend): Whose kernels run.
        norm (Tensor): What it returned.
        batch (bool): Whether it took the statistics of the batch.
        g (Tensor): The gradient of the result, [N, H, W, C].
        y (Tensor): [N, H, W, C].

    Returns:
        tuple[Tensor, list[Tensor]]: [3, C] of a, b, c with the gradient a g + b y + c of y; the
        gradients of weight and bias. All are of y's type.
    """
    product, total, _ = backend.mix_sums([g], [y], [0], None)
    found, *affine, _ = backend.batch_norm_backward(
        norm, batch, y.numel() // y.shape[-1], total, product
    )
    return found[:, 0].to(y.dtype), [one[0].to(y.dtype) for one in affine]


class _Normalise(torch.autograd.Function):
    """Batch norm by the statistics of the batch, which are summed in float64."""

    @staticmethod
    def forward(
        ctx: Any, module: BatchNorm2d, x: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """x [N, C, H, W] normalised; weight and bias are [C]."""
        image = to_nhwc(x)
        affine = () if weight is None else (weight, bias)
        ctx.backend = backend = choose_backend(x.device, x.dtype, x.shape[1])
        out, ctx.norm = module.normalise(backend, image, backend.moments(image), affine)
        ctx.eps = module.eps
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[1:])
        if torch.is_grad_enabled():  # this one has gradients itself
            mean, inverse = ctx.norm[:2, 0].to(x.dtype)
            found = torch.ops.aten.native_batch_norm_backward(
                grad, x, weight, None, None, mean, inverse, True, ctx.eps, wanted
            )
            return (None, *found)
        backend: Backend = ctx.backend
        image, g = to_nhwc(x), backend.gradient_to_nhwc(grad)
        (a, slope, constant), affine = gradient(backend, ctx.norm, True, g, image)
        dx = backend.empty_images(image, image.shape[-1], *image.shape[1:3])
        backend.mix(
            [to_nhwc(dx)], [False], [g, image], [0, 0], torch.stack([a, slope]), constant[None]
        )
        return (
            None,
            dx,
            *(g if need else None for g, need in zip(affine, wanted[1:], strict=True)),
        )


def _is_summed_in_float32(x: Tensor) -> bool:
    return (
        x.dim() == 4
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )
