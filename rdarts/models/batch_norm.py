"""Batch norm of ordinary layers, as accurate in channels_last as it is in NCHW."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rdarts.models import kernels
from rdarts.models.kernels import gradient_rows, rows


class _Normalise(torch.autograd.Function):
    """Batch norm by the statistics of the batch, which are summed in float64."""

    @staticmethod
    def forward(ctx, x, weight, bias, running, momentum, eps):
        image = rows(x)
        ctx.count, ctx.eps = image[..., 0].numel(), eps
        affine = () if weight is None else (weight[None], bias[None])
        given = None if running is None else tuple(buffer[None] for buffer in running)
        moments = kernels.moments(image)[None]
        ctx.norm = kernels.batch_norm(moments, ctx.count, given, affine, momentum, eps, True, (0,))
        scale, shift = ctx.norm[2:].to(image.dtype)
        out = kernels.empty_images(image, image.shape[-1], *image.shape[1:3])
        kernels.mix([rows(out)], [False], [image], [0], scale, shift)
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # this one has gradients itself
            mean, inverse = ctx.norm[:2, 0].to(x.dtype)
            mask = [wanted[0], wanted[1], wanted[2]]
            found = torch.ops.aten.native_batch_norm_backward(
                grad, x, weight, None, None, mean, inverse, True, ctx.eps, mask
            )
            return (*found, None, None, None)
        image, g = rows(x), gradient_rows(grad)
        product, total, _ = kernels.mix_sums([g], [image], [0], None)
        coefficients, gamma = kernels.batch_norm_backward(ctx.norm, True, ctx.count, total, product)
        a, slope, constant = coefficients.to(image.dtype)
        dx = kernels.empty_images(image, image.shape[-1], *image.shape[1:3])
        kernels.mix([rows(dx)], [False], [g, image], [0, 0], torch.cat([a, slope]), constant)
        return (
            dx,
            gamma[0].to(weight.dtype) if wanted[1] else None,
            total[0].to(weight.dtype) if wanted[2] else None,
            *(None, None, None),
        )


class BatchNorm2d(nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``, with its arguments, parameters and buffers.

    On a CPU, PyTorch adds up float32 images in float32 where memory is in channels_last, and in
    float64 where it is not: the former is up to forty times further from the exact result. There
    the sums are taken in float64 here too; anything else is PyTorch's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.BatchNorm2d``."""
        batch = self.training or self.running_mean is None
        if not batch or self.momentum is None or not _is_summed_in_float32(x):
            return super().forward(x)
        running = None
        if self.training and self.track_running_stats:
            running = (self.running_mean, self.running_var)
            self.num_batches_tracked.add_(1)
        return _Normalise.apply(x, self.weight, self.bias, running, self.momentum, self.eps)


def _is_summed_in_float32(x: Tensor) -> bool:
    return (
        x.dim() == 4
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )
