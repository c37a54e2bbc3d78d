"""What is done to images between the nodes, as one function: ReLU, convolution, batch norm.

1x1 convolutions are what a cell does to its inputs first: they take the nodes of the cell before as
they are, without their concatenation. 3x3 ones are in residual blocks. What is kept is the inputs
and y (before the batch norm) alone. Where there are no C++ kernels, the layers run as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.batch_norm import BatchNorm2d, gradient
from rdarts.models.kernels import Backend, choose_backend, precision, to_nchw, to_nhwc
from rdarts.models.layers import FactorizedReduce, factorized_reduce, is_relu


@dataclass(frozen=True)
class Pointwise:
    """ReLU, 1x1 convolutions and batch norm.

    Args:
        convs (tuple[nn.Conv2d, ...]): One of stride 1, or the two of a factorised reduction.
        norm (BatchNorm2d): The batch norm.
    """

    convs: tuple[nn.Conv2d, ...]
    norm: BatchNorm2d
    padding: ClassVar[int] = 0

    @property
    def stride(self) -> int:
        """1, or 2 of a factorised reduction."""
        return len(self.convs)

    @property
    def outputs(self) -> int:
        """Channels of the result."""
        return sum(conv.out_channels for conv in self.convs)

    def pixels(self, x: Tensor) -> int:
        """Number of pixels of the result for an image [N, C, H, W]."""
        return x[:, 0, :: self.stride, :: self.stride].numel()

    def takes(self, nodes: Sequence[Tensor]) -> bool:
        """Whether kernels read these nodes without their concatenation."""
        return True

    def run(
        self, backend: Backend, images: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """y [N, h, w, O], before the batch norm, and its moments, [2, O] in float64."""
        return backend.pointwise_forward(images, weights)

    def back(
        self,
        backend: Backend,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        images: Sequence[Tensor],
        weights: Sequence[Tensor],
        want_images: bool,
        want_weights: bool,
    ) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
        """Its backward and the batch norm's: see ``Backend.pointwise_backward``."""
        args = (g, y, coefficients, images, weights, want_images, want_weights)
        return backend.pointwise_backward(*args)


class Dense3x3(Pointwise):
    """ReLU, a 3x3 convolution of stride 1 and padding 1, and batch norm."""

    padding = 1

    def takes(self, nodes: Sequence[Tensor]) -> bool:
        return len(nodes) == 1

    def run(
        self, backend: Backend, images: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        y, moments = backend.dense_forward(images[0], weights[0][None], (1, 1, 1))
        return y[0], moments[0]

    def back(
        self,
        backend: Backend,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        images: Sequence[Tensor],
        weights: Sequence[Tensor],
        want_images: bool,
        want_weights: bool,
    ) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
        (image,), (weight,) = images, weights
        # the kernel computes the gradient of relu(x) also where the weight's alone is wanted
        active = to_nhwc(backend.empty_images(image, image.shape[-1], *image.shape[1:3]))
        layer = (image, weight[None], (1, 1, 1))
        args = (*layer, active, False, want_weights)
        dw = backend.dense_backward([g], y[None], coefficients[None], *args)
        dx = backend.input_grad(image, [], None, active) if want_images else None
        return [dx], [None if dw is None else dw[0]]


def recognise(layers: nn.Module, kind: type[Pointwise] = Pointwise) -> Pointwise | None:
    """Layers of a kind, :class:`Pointwise` or :class:`Dense3x3`, as such; None of any others."""
    if type(layers) is FactorizedReduce:
        found = Pointwise((layers.conv_1, layers.conv_2), layers.bn)
    elif type(layers) is nn.Sequential and len(layers) == 3 and is_relu(layers[0]):
        found = kind((layers[1],), layers[2])
    else:
        return None
    if type(found.norm) is not BatchNorm2d:
        return None
    for conv in found.convs:
        fits = type(conv) is nn.Conv2d and conv.bias is None and conv.groups == 1
        size, padding = 1 + 2 * found.padding, (found.padding,) * 2
        if not fits or conv.kernel_size != (size, size) or conv.padding != padding:
            return None
        if conv.dilation != (1, 1) or conv.padding_mode != 'zeros':
            return None
        if conv.stride != (found.stride,) * 2:
            return None
    return found


def _backend(nodes: Sequence[Tensor], *channels: int) -> Backend:
    """What takes these nodes [N, C_i, H, W] and gives an image of ``channels``."""
    dtype = precision.compute_dtype(nodes[0])
    return choose_backend(nodes[0].device, dtype, *(node.shape[1] for node in nodes), *channels)


def takes_nodes(nodes: Sequence[Tensor]) -> bool:
    """Whether :func:`preprocess` needs no concatenation of these tensors."""
    return _backend(nodes).has_pointwise


def preprocess(layers: nn.Module, nodes: Sequence[Tensor]) -> Tensor:
    """``layers(torch.cat(nodes, 1))``.

    Args:
        layers (nn.Module): ReLU, 1x1 or (of one node) 3x3 convolution and batch norm, or a
            factorised reduction; anything else runs as it is.
        nodes (Sequence[Tensor]): Tensors [N, C_i, H, W].

    Returns:
        Tensor: [N, C, H, W], or of half the resolution.
    """
    found = recognise(layers) or recognise(layers, Dense3x3)
    backend = None if found is None else _backend(nodes, found.outputs)
    fits = backend is not None and backend.has_pointwise and found.norm.momentum is not None
    fits = fits and found.takes(nodes)
    if not fits or (found.norm.takes_batch and found.pixels(nodes[0]) == 1):
        return layers(nodes[0] if len(nodes) == 1 else torch.cat(list(nodes), dim=1))
    parameters = [conv.weight for conv in found.convs]
    if found.norm.weight is not None:
        parameters += [found.norm.weight, found.norm.bias]
    return run_pointwise(found, parameters, nodes)


def run_pointwise(
    pointwise: Pointwise, parameters: Sequence[Tensor], nodes: Sequence[Tensor]
) -> Tensor:
    """The layers in one function, where a back end has kernels of them.

    Args:
        pointwise (Pointwise): The layers.
        parameters (Sequence[Tensor]): What they run by in place of their own parameters: the weight
            of each convolution, [O_i, C, 1, 1], and the batch norm's weight and bias, [O], or none.
        nodes (Sequence[Tensor]): Tensors [N, C_i, H, W], whose channels are C together.

    Returns:
        Tensor: [N, O, H, W], or of half the resolution.
    """
    dtype = precision.compute_dtype(nodes[0])
    backend = _backend(nodes, sum(len(one) for one in parameters[: len(pointwise.convs)]))
    with precision.no_autocast(nodes[0].device.type):
        nodes = [node.to(dtype) for node in nodes]
        return _Preprocess.apply(backend, pointwise, *parameters, *nodes)


class _Preprocess(torch.autograd.Function):
    """:func:`preprocess` of recognised layers.

    Of the weight of each convolution, [O_i, C, 1, 1]; gamma and beta, [O], where the norm has them;
    and the nodes, [N, C_i, H, W], whose channels are C together. It returns [N, O, h, w].
    """

    @staticmethod
    def forward(ctx, backend: Backend, pointwise: Pointwise, *tensors: Tensor) -> Tensor:
        norm, branches = pointwise.norm, len(pointwise.convs)
        ctx.backend = backend
        ctx.pointwise, ctx.batch = pointwise, norm.takes_batch
        ctx.num_parameters = branches + (0 if norm.weight is None else 2)
        parameters, nodes = tensors[: ctx.num_parameters], tensors[ctx.num_parameters :]
        images = [to_nhwc(node) for node in nodes]
        y, moments = pointwise.run(backend, images, parameters[:branches])
        out, ctx.norm = norm.normalise(backend, y, moments, parameters[branches:])
        ctx.save_for_backward(y, *tensors)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, *tensors = ctx.saved_tensors
        count, branches = ctx.num_parameters, len(ctx.pointwise.convs)
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # this one has gradients itself
            # Views: one node may be computed from another, which is no gradient of this function
            tensors = [tensor.view_as(tensor) for tensor in tensors]
            with precision.autocast_of(y):
                out = _plain(ctx, tensors[:count], tensors[count:])
            leaves = [t for t, need in zip(tensors, wanted, strict=True) if need]
            found = iter(torch.autograd.grad(out, leaves, grad, create_graph=True))
            return (None, None, *(next(found) if need else None for need in wanted))
        backend: Backend = ctx.backend
        g = backend.gradient_to_nhwc(grad)
        coefficients, affine = gradient(backend, ctx.norm, ctx.batch, g, y)
        dxs, dws = ctx.pointwise.back(
            backend,
            g,
            y,
            coefficients,
            [to_nhwc(node) for node in tensors[count:]],
            tensors[:branches],
            any(wanted[count:]),
            any(wanted[:branches]),
        )
        found = [
            *dws,
            *affine[: count - branches],
            *(dx if dx is None else to_nchw(dx) for dx in dxs),
        ]
        pairs = zip(found, wanted, strict=True)
        return (None, None, *(one if need else None for one, need in pairs))


def _plain(ctx, parameters: Sequence[Tensor], nodes: Sequence[Tensor]) -> Tensor:
    """The same by PyTorch's functions. (Running statistics have moved in the forward.)"""
    norm, stride = ctx.pointwise.norm, ctx.pointwise.stride
    options = dict(stride=stride, padding=ctx.pointwise.padding)
    *weights, gamma, beta = parameters if norm.weight is not None else (*parameters, None, None)
    convs = [lambda x, w=weight: F.conv2d(x, w, **options) for weight in weights]
    running = (None, None) if ctx.batch else (norm.running_mean, norm.running_var)
    x = torch.cat(list(nodes), dim=1)

    def normalise(y: Tensor) -> Tensor:
        return F.batch_norm(y, *running, gamma, beta, ctx.batch, 0.0, norm.eps)

    if stride == 2:
        return factorized_reduce(x, *convs, normalise)
    return normalise(convs[0](F.relu(x)))
