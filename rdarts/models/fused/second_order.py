"""Gradients of gradients: the fused function has none of its own, so plain runs once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rdarts.models.fused.plan import Part, Plan
from rdarts.models.kernels import precision
from rdarts.utils import host
from rdarts.utils.logging import tell_once

if TYPE_CHECKING:
    from rdarts.models.mixed_ops.mixed_op import MixedOp


class _Plain(nn.Module):
    """What the fused function computes, operation by operation, of tensors given to it.

    Args:
        mixed (MixedOp): The mixed operation.
        plan (Plan): What runs.
        constants (dict[int, Tensor]): What candidates that depend on nothing gave, by place.
    """

    def __init__(self, mixed: MixedOp, plan: Plan, constants: dict[int, Tensor]) -> None:
        super().__init__()
        self.mixed, self.plan, self.constants = mixed, plan, constants

    def forward(self, x: Tensor, betas: Tensor, *given: Tensor) -> list[Tensor]:
        """Of images, mixing weights, and the parameters of the plan's rows."""
        if x.device.type == 'cpu' and x.dtype == torch.bfloat16:
            # in channels_last PyTorch's batch norm is many times further from the exact result
            x = x.contiguous()
        size = [-(-s // self.plan.stride) for s in x.shape[2:]]
        outputs = [x.new_zeros(x.shape[0], self.plan.channels, *size)] * self.plan.num_edges
        for part in self.plan.parts:
            if part.is_extra:
                continue  # the operation itself adds it
            pairs = zip(part.stacked(), given[part.tensors], strict=True)
            tensors = [_on_rows(part, whole, value) for whole, value in pairs]
            bound = self.mixed.operations[part.name].unbind(iter(tensors))
            chosen = range(len(part.edges)) if part.chosen is None else part.chosen
            for edge, place, row in zip(part.edges, part.places, chosen, strict=True):
                constant = self.constants.get(place)
                term = bound[row](x) if constant is None else constant
                outputs[edge] = outputs[edge] + betas[place] * term
        return outputs


class _PlainGradient(torch.autograd.Function):
    """The gradients of :class:`_Plain` as a function that has gradients itself.

    Of x [N, C, H, W], the mixing weights of all edges [T], the ``count`` parameters of the edges
    that run, [E, ...] each, and the gradient of each edge's result, [N, O, h, w]. It returns the
    gradients of all but the last.
    """

    @staticmethod
    def forward(ctx, module: _Plain, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in tensors]
            x, betas, *rest = leaves
            given, grads = rest[:count], rest[count:]
            # the statistics of batch norms moved in the forward already
            buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
            with precision.autocast_of(x):
                outputs = torch.func.functional_call(module, buffers, (x, betas, *given))
            # The output of an edge on which nothing runs is a constant
            pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
            inputs = [x, betas, *given]
            found = [None] * len(inputs)
            if pairs:
                outputs, grads = zip(*pairs, strict=True)
                found = torch.autograd.grad(
                    outputs, inputs, grads, create_graph=True, allow_unused=True
                )
            found = [
                torch.zeros_like(tensor) if grad is None else grad
                for grad, tensor in zip(found, leaves, strict=False)
            ]
        ctx.leaves, ctx.found = leaves, found
        return tuple(grad.detach() for grad in found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        pairs = [(f, g) for f, g in zip(ctx.found, grads, strict=True) if f.requires_grad]
        if not pairs:
            return (None,) * (2 + len(ctx.leaves))
        outputs, given = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs, ctx.leaves, given, retain_graph=True, allow_unused=True
        )
        return (None, None, *found)


def _on_rows(part: Part, whole: Tensor, value: Tensor) -> Tensor:
    """``value`` on the rows of a part, the stacked parameter on the others."""
    if part.chosen is None:
        return value
    index = (host.send(part.chosen, value.device),)
    return whole.detach().index_put(index, value)


def plain_gradients(
    mixed: MixedOp,
    plan: Plan,
    constants: dict[int, Tensor],
    x: Tensor,
    betas: Tensor,
    parameters: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> Sequence[Tensor]:
    """The gradients of x, betas and parameters, as a graph: the plain execution, once more.

    Args:
        mixed (MixedOp): The mixed operation.
        plan (Plan): What ran.
        constants (dict[int, Tensor]): What candidates that depend on nothing gave, [N, O, h, w] by
            place.
        x (Tensor): [N, C, H, W].
        betas (Tensor): The mixing weights of all edges, [places].
        parameters (Sequence[Tensor]): As :meth:`Plan.parameters` gave them.
        grads (Sequence[Tensor]): The gradient of each edge's result, [N, O, h, w].
    """
    tell_once('gradients of gradients: plain runs for them, as fused has no second derivative')
    module = _Plain(mixed, plan, constants)
    return _PlainGradient.apply(module, len(parameters), x, betas, *parameters, *grads)
