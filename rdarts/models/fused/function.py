"""All edges leaving one node, run together: ``execution='fused'``.

The edges that leave a node read the same tensor. So ReLU and pooling run once a node, dense
convolutions of m edges are one convolution C -> m C, separable ones read one padded image, and
batch norm and mixing weight are one scale and shift for each channel:

    out_j = sum_k beta_jk (gamma_k (y_k - mean_k) / std_k + bias_k) = sum_k scale_jk y_k + shift_j.

What y_k is, and how its gradient reaches x, is said by the files of ``candidates/``; a candidate
that folds gives a matrix instead of y. One :class:`torch.autograd.Function` does the rest: it keeps
x and each y (before the batch norm, normalised copies are made on the way), and computes no
gradient of weights where none is asked.

This is an execution, not a mixed operation: parameters, their names and the numbers are those of
:class:`~rdarts.models.mixed_ops.mixed_op.MixedOp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from rdarts.models.fused.candidates.base import Grad, Saved
from rdarts.models.fused.node import FACTS, Node, cast
from rdarts.models.fused.plan import Plan
from rdarts.models.fused.second_order import plain_gradients
from rdarts.models.fused.sink import Sink
from rdarts.models.kernels import (
    Backend,
    choose_backend,
    precision,
    to_nchw,
    to_nhwc,
)
from rdarts.models.layers import safe_format
from rdarts.utils import host
from rdarts.utils.logging import tell_once

if TYPE_CHECKING:
    from rdarts.models.mixed_ops.mixed_op import MixedOp
    from rdarts.models.mixed_ops.mixing import Mixing


class _Fused(torch.autograd.Function):
    """outputs_j (+)= sum_k beta_jk o_k(x).

    Of x [N, C, H, W], the mixing weights of all edges [T], for each edge what its result is added
    to, [N, O, h, w] or None, and the parameters of the edges that run, [E, ...] each, as
    :meth:`Plan.parameters` lists them. It returns the result of each edge, [N, O, h, w].
    """

    @staticmethod
    def forward(
        ctx, plan: Plan, mixed: MixedOp, x: Tensor, betas: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        into, parameters = tensors[: plan.num_edges], tensors[plan.num_edges :]
        channels, tables = plan.channels, plan.tables(x.device)
        kind = (x.device, x.dtype, x.shape[1], channels)
        backend = choose_backend(*kind, told=True, asked=mixed.backend)
        node = Node(plan, backend, to_nhwc(x))
        image = node.image
        outputs = [
            backend.empty_images(image, channels, *node.size) if one is None else one
            for one in into
        ]
        for need in plan.needs:
            node.facts[need] = FACTS[need](node, plan)
        saved: list[Tensor] = []
        spans, images, folded, rows = [], [], [], []
        for part in plan.parts:
            start = len(saved)
            terms = part.candidate.forward(node, part, parameters[part.own], saved.append)
            spans.append(slice(start, len(saved)))
            images += terms.images
            if terms.matrices is not None:
                folded.append(terms.matrices)
            rows.append(node.rows(part, terms.moments, parameters[part.affine]))
        of_rows = (betas, tables.places, tables.edges, plan.num_edges, channels, image)
        norm, beta, scale, shift = backend.mixture(rows, node.count, *of_rows)
        matrices = None
        end = plan.num_images
        if folded:  # their rows are the last
            matrices = norm.new_zeros(plan.num_edges, channels, channels)
            each = (beta[end:, None] * norm[2, end:])[..., None] * torch.cat(folded)
            matrices = matrices.index_add_(0, tables.edges[end:], each).to(node.dtype)
        backend.mix(
            [to_nhwc(out) for out in outputs],
            [one is not None for one in into],
            images,
            plan.edge_of[:end],
            scale[:end],
            shift if plan.has_shift else None,
            image if folded else None,
            matrices,
        )
        ctx.plan, ctx.mixed, ctx.backend, ctx.spans = plan, mixed, backend, spans
        # Taken now: the modules' modes may change before the backward
        ctx.batch = [[one.takes_batch for one in part.candidate.norms] for part in plan.parts]
        ctx.norm, ctx.beta, ctx.num_parameters = norm, beta, len(parameters)
        ctx.mark_dirty(*[one for one in into if one is not None])
        ctx.save_for_backward(x, betas, *parameters, *saved)
        return tuple(outputs)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        backend: Backend = ctx.backend
        x, betas, *rest = ctx.saved_tensors
        parameters, saved = rest[: ctx.num_parameters], rest[ctx.num_parameters :]
        edges_end = 4 + plan.num_edges
        wanted = ctx.needs_input_grad
        learns, into_wanted, wanted = wanted[3], wanted[4:edges_end], wanted[edges_end:]
        into_grads = [grad if need else None for grad, need in zip(grads, into_wanted, strict=True)]
        node = Node(plan, backend, to_nhwc(x))
        parts = [
            (part, parameters[part.own], Saved(saved[span], batch))
            for part, span, batch in zip(plan.parts, ctx.spans, ctx.batch, strict=True)
        ]
        if torch.is_grad_enabled():
            constants = _constants(node, parts)
            args = (ctx.mixed, plan, constants, x, betas, parameters, grads)
            found = plain_gradients(*args)
            return (None, None, *found[:2], *into_grads, *found[2:])
        image = node.image
        # candidates are given it as it is, so that none may change it
        g = tuple(backend.gradient_to_nhwc(cast(grad, image.dtype)) for grad in grads)
        places, edges, with_norm = plan.tables(x.device)

        # Sums over pixels, and the small algebra that follows from them

        terms = [
            part.candidate.recall(node, part, *given)
            for part, *given in parts
            if learns or not part.serves_beta
        ]
        images = [one for term in terms for one in term.images]
        end, count = plan.num_images, plan.num_images if learns else plan.num_kept
        product, totals, cross = backend.mix_sums(
            g, images, plan.edge_of[:count], image if plan.folds else None
        )
        if count < end:
            product = F.pad(product, (0, 0, 0, end - count))
        if plan.folds:
            cross = cross[edges[end:]]
            folded = torch.cat([term.matrices for term in terms if term.matrices is not None])
            product = torch.cat([product, (cross * folded).sum(-1)])
        del terms, images  # noise may have been drawn again, for these sums alone
        batch = _batch_by_row(plan, ctx.batch, with_norm)
        sums = (node.count, totals, product)
        exact, gamma, total, betas_grad = backend.mixture_backward(
            ctx.norm, batch, *sums, ctx.beta, edges, places, betas
        )
        coefficients = cast(exact, node.dtype)

        # Gradients of images

        sink = Sink(node, edges, plan.num_edges)
        trains = any(wanted)
        found: list[Tensor | None] = []
        for part, own, kept in parts:
            images = g if part.takes_all else [g[edge] for edge in part.edges]
            weights = trains and any(wanted[part.tensors])
            grad = Grad(images, part.rows, coefficients, exact, weights)
            if part.candidate.folds:
                grad.cross = cross[part.rows.start - end : part.rows.stop - end]
            found += part.candidate.backward(node, part, own, kept, grad, sink)
            if part.is_affine:
                found += [gamma[part.rows], total[part.rows]]
        dx = sink.collect(g)
        inputs = (None, None, to_nchw(dx), betas_grad, *into_grads)
        if not trains:  # a step of alpha
            return *inputs, *[None] * len(parameters)
        pairs = zip(found, parameters, wanted, strict=True)
        return (
            *inputs,
            *[
                _as_gradient(grad, p) if need and grad is not None else None
                for grad, p, need in pairs
            ],
        )


def _as_gradient(grad: Tensor, parameter: Tensor) -> Tensor:
    """A gradient in the type and the shape of its parameter; as it is where it has them."""
    grad = cast(grad, parameter.dtype)
    # shapes are dear to compare: one of as many dimensions is the parameter's
    return grad if grad.dim() == parameter.dim() else grad.view_as(parameter)


def _constants(node: Node, parts: Sequence[tuple]) -> dict[int, Tensor]:
    """What candidates that depend on nothing gave, [N, O, h, w] by place."""
    return {
        place: to_nchw(node.drawn(image))
        for part, own, kept in parts
        if part.candidate.is_constant
        for place, image in zip(
            part.places, part.candidate.recall(node, part, own, kept).images, strict=True
        )
    }


def _batch_by_row(plan: Plan, flags: Sequence[Sequence[bool]], with_norm: Tensor) -> Tensor | bool:
    """Whether the last batch norm of each row took the statistics of the batch, [rows]."""
    last = [norms[-1] for norms in flags if norms]
    if len(set(last)) <= 1:
        return with_norm if last and last[0] else False
    each = [
        bool(norms and norms[-1])
        for norms, part in zip(flags, plan.parts, strict=True)
        for _ in part.edges
    ]
    return host.send(each, with_norm.device, with_norm.dtype)


def fused(
    mixed: MixedOp,
    x: Tensor,
    mixing: Mixing,
    into: Sequence[Tensor | None] | None = None,
    given: Mapping[str, Sequence[Tensor]] | None = None,
) -> list[Tensor]:
    """Mix the candidates of all edges that leave one node.

    Args:
        mixed (MixedOp): The edges' operations.
        x (Tensor): [N, C, H, W]. Taken to channels_last memory format where it is not.
        mixing (Mixing): Of all edges.
        into (Sequence[Tensor | None], optional): What each edge's result is added to, in place
            where memory allows it.
        given (dict[str, Sequence[Tensor]], optional): See :meth:`MixedOp.forward_edges`.

    Returns:
        list[Tensor]: One [N, out_channels, ceil(H / stride), ceil(W / stride)] for each edge.
    """
    betas, plan = mixing.weights, mixed.plan_of(mixing.active)
    if plan.unfused:
        tell_once(f'fused runs these edge by edge, as plain does: {", ".join(plan.unfused)}')
    into = [None] * plan.num_edges if into is None else list(into)
    dtype = precision.compute_dtype(x)
    inside = [one if _takes(one, dtype) else None for one in into]
    with precision.no_autocast(x.device.type):
        outputs = _Fused.apply(plan, mixed, cast(x, dtype), betas, *inside, *plan.parameters(given))
    outputs = list(outputs)
    bound = {name: mixed.bind(name, given) for name in plan.unfused}
    for edge, place, name, row in plan.rest:
        outputs[edge] = outputs[edge] + betas[place] * bound[name][row](safe_format(x))
    return [
        out if one is None or inner is not None else one + out
        for one, inner, out in zip(into, inside, outputs, strict=True)
    ]


def _takes(into: Tensor | None, dtype: torch.dtype) -> bool:
    return (
        into is not None
        and into.dtype == dtype
        and into.is_contiguous(memory_format=torch.channels_last)
        and not (into.is_leaf and into.requires_grad)
    )
