"""All edges leaving one node, run together: ``execution='fused'``.

The edges that leave a node read the same tensor. So ReLU and pooling run once a node, dense
convolutions of m edges are one convolution C -> m C, separable ones read one padded image, and
batch norm and mixing weight are one scale and shift for each channel:

    out_j = sum_k beta_jk (gamma_k (y_k - mean_k) / std_k + bias_k) = sum_k scale_jk y_k + shift_j.

A 1x1 convolution of stride 1, y = W r of r = relu(x), is never computed: its mean is W m and its
variance diag(W S W') with mean m and covariance S of r, so that scale and shift fold into W.
One :class:`torch.autograd.Function` does all of it: it keeps x and each y (before the batch norm,
normalised copies are made on the way), and computes no gradient of weights where none is asked.

This is an execution, not a mixed operation: parameters, their names and the numbers are those of
:class:`~rdarts.models.mixed_ops.mixed_op.MixedOp`. The functions that do the work are in
``kernels/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.kernels import (
    Backend,
    batch_norm_backward,
    choose_backend,
    precision,
    standard_normal,
    to_nchw,
    to_nhwc,
)
from rdarts.models.kernels.backends import Conv
from rdarts.models.operations import (
    Parameterless,
    Pool3x3,
    StackedBatchNorm2d,
    StackedConv2d,
    StackedFactorizedReduce,
    StackedResidual,
    StackedSequence,
    identity,
    is_relu,
    noise,
    safe_format,
)
from rdarts.utils.logging import tell_once

if TYPE_CHECKING:
    from rdarts.models.mixed_ops.mixed_op import MixedOp

# --------------------------------------------------------------------------------------- groups


@dataclass
class Group:
    """One candidate operation on the edges of a node that run it.

    Args:
        name (str): Its name.
        kind (str): ``'identity'``, ``'noise'``, ``'pool'``, ``'matrix'``, ``'dense'``,
            ``'factorized'``, ``'separable'`` or ``'inverted'``.
        edges (list[int]): Edges of the node.
        places (list[int]): Place of each edge's mixing weight among those of all edges.
        chosen (list[int] | None): Rows of the stacked parameters, or None for all.
        convs (list): ``(conv, ...)`` of each unit.
        norms (list): The batch norm of each unit; one of a pool, or none.
        pool (Pool3x3, optional): The pool.
        residual (bool): Whether what it reads is added to its result.
        shortcut (bool): Whether it is the added part of another group: an identity whose mixing
            weights are that one's.
    """

    name: str
    kind: str
    edges: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    chosen: list[int] | None = None
    convs: list[tuple[StackedConv2d, ...]] = field(default_factory=list)
    norms: list[StackedBatchNorm2d] = field(default_factory=list)
    pool: Pool3x3 | None = None
    residual: bool = False
    shortcut: bool = False

    @property
    def is_affine(self) -> bool:
        """Whether the last batch norm has a weight and a bias."""
        return bool(self.norms) and self.norms[-1].weight is not None

    @property
    def num_parameters(self) -> int:
        """The number of stacked tensors that :meth:`parameters` gives."""
        count = sum(len(unit) for unit in self.convs)
        return count + sum(2 for norm in self.norms if norm.weight is not None)

    def parameters(self) -> list[Tensor]:
        """Its parameters, of the edges that run: convolutions and affine norms by unit."""
        found = []
        for unit in range(max(len(self.convs), len(self.norms))):
            if self.convs:
                found += [conv.weight for conv in self.convs[unit]]
            if self.norms and self.norms[unit].weight is not None:
                found += [self.norms[unit].weight, self.norms[unit].bias]
        return found if self.chosen is None else [tensor[self.chosen] for tensor in found]


def _square(conv: nn.Module, groups: int | None = None) -> bool:
    if not isinstance(conv, StackedConv2d):
        return False
    size = conv.weight.shape[-2:]
    plain = isinstance(conv.args['padding'], int) and isinstance(conv.args['stride'], int)
    return plain and size[0] == size[1] and (groups is None or conv.args['groups'] == groups)


def _unit(layers: Sequence[nn.Module]) -> tuple[StackedConv2d, ...] | None:
    """The convolutions of ReLU, convolutions, batch norm."""
    if len(layers) < 3 or not is_relu(layers[0]) or not isinstance(layers[-1], StackedBatchNorm2d):
        return None
    convs = tuple(layers[1:-1])
    if len(convs) == 1 and _square(convs[0], 1):
        return convs
    if len(convs) == 2 and _square(convs[0]) and _square(convs[1], 1):
        depthwise, pointwise = (conv.weight.shape for conv in convs)
        args = convs[1].args
        point = pointwise[-1] == 1 and args['stride'] == 1 and args['padding'] == 0
        single = depthwise[2] == 1 and convs[0].args['groups'] == depthwise[1]
        if point and single and depthwise[-1] in (3, 5, 7) and depthwise[1] == pointwise[2]:
            return convs
    return None


def _inverted(layers: Sequence[nn.Module]) -> bool:
    """Whether they are an inverted bottleneck with an expansion."""
    kinds = (StackedConv2d, StackedBatchNorm2d, Parameterless)
    if [type(layer) for layer in layers] != [*kinds, *kinds, *kinds[:2]]:
        return False
    expand, depthwise, project = layers[0], layers[3], layers[6]
    functions = {layers[2].function, layers[5].function}
    points = all(
        _square(conv, 1) and conv.weight.shape[-1] == 1 and conv.args['padding'] == 0
        and conv.args['stride'] == 1
        for conv in (expand, project)
    )  # fmt: skip
    return (
        functions == {F.relu6} and points and _square(depthwise, depthwise.weight.shape[1])
        and depthwise.weight.shape[2] == 1 and depthwise.args['dilation'] == 1
        and depthwise.weight.shape[-1] in (3, 5, 7)
    )  # fmt: skip


def recognise(name: str, operation: nn.Module) -> Group | None:
    """The group of an operation that has fused kernels; None for one that has not."""
    if isinstance(operation, Parameterless):
        function = operation.function
        if function is identity:
            return Group(name, 'identity')
        if isinstance(function, partial) and function.func is noise:
            return Group(name, 'noise')
        return Group(name, 'pool', pool=function) if isinstance(function, Pool3x3) else None
    if type(operation) is StackedFactorizedReduce:
        convs = (operation.conv_1, operation.conv_2)
        return Group(name, 'factorized', convs=[convs], norms=[operation.bn])
    if type(operation) not in (StackedSequence, StackedResidual):
        return None
    layers, residual = list(operation), type(operation) is StackedResidual
    if _inverted(layers):
        convs, norms = [(conv,) for conv in layers[::3]], layers[1::3]
        return Group(name, 'inverted', convs=convs, norms=norms, residual=residual)
    if residual:
        return None
    pool = getattr(layers[0], 'function', None)
    if isinstance(pool, Pool3x3):
        fits = len(layers) == 2 and isinstance(layers[1], StackedBatchNorm2d)
        return Group(name, 'pool', norms=[layers[1]], pool=pool) if fits else None
    units, start = [], 0
    for end, layer in enumerate(layers, 1):
        if isinstance(layer, StackedBatchNorm2d):
            units.append((_unit(layers[start:end]), layer))
            start = end
    if start != len(layers) or any(convs is None for convs, _ in units):
        return None
    convs, norms = [list(part) for part in zip(*units, strict=True)]
    if all(len(unit) == 2 for unit in convs):
        return Group(name, 'separable', convs=convs, norms=norms)
    if len(convs) != 1:
        return None
    conv = convs[0][0]
    square = conv.weight.shape[1] == conv.weight.shape[2]
    kind = 'dense'
    if conv.weight.shape[-1] == 1 and conv.args['padding'] == 0:
        if conv.args['stride'] == 1 and square:
            kind = 'matrix'
        elif conv.args['stride'] == 2:
            kind = 'factorized'
    return Group(name, kind, convs=convs, norms=norms)


class Plan:
    """How the edges of a mixed operation run together.

    Args:
        mixed (MixedOp): All edges that leave one node.
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run.
            Defaults to all.
    """

    def __init__(self, mixed: MixedOp, active: Sequence[Sequence[int]] | None = None) -> None:
        self.stride, self.channels = mixed.stride, mixed.out_channels
        self.num_edges = len(mixed.slots)
        groups: dict[str, Group] = {}
        self.rest: list[tuple[int, int, str, int]] = []  # edge, place, operation, row
        unfused, place = set(), 0
        for edge, slots in enumerate(mixed.slots):
            for index, (name, row) in enumerate(slots):
                runs = active is None or index in active[edge]
                if name != 'none' and runs and name not in unfused:
                    if name not in groups:
                        group = recognise(name, mixed.operations[name])
                        if group is None:
                            unfused.add(name)
                        else:
                            groups[name] = group
                            group.chosen = []
                    if name in groups:
                        groups[name].edges.append(edge)
                        groups[name].places.append(place)
                        groups[name].chosen.append(row)
                if name in unfused and runs:
                    self.rest.append((edge, place, name, row))
                place += 1
        for name, group in groups.items():
            if len(group.chosen) == sum(name == n for slots in mixed.slots for n, _ in slots):
                group.chosen = None
        shortcuts = [
            Group(name, 'identity', group.edges, group.places, shortcut=True)
            for name, group in groups.items()
            if group.residual
        ]
        # Matrices last: they have no image among the terms
        self.groups = sorted(
            [*groups.values(), *shortcuts], key=lambda group: group.kind == 'matrix'
        )
        self.kinds = {group.kind for group in self.groups}
        self.edge_of = [edge for group in self.groups for edge in group.edges]
        self.has_shift = any(group.norms for group in self.groups)
        self.unfused = sorted(unfused)
        self._tensors: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def parameters(self) -> list[Tensor]:
        """The parameters of all groups in order."""
        return [tensor for group in self.groups for tensor in group.parameters()]

    def matrix_weights(self, parameters: Sequence[Tensor]) -> Tensor:
        """Weights of all 1x1 convolutions that fold, [rows, C, C] in float64."""
        found = [
            parameters[at.parameters.start].flatten(2)
            for group, at in zip(self.groups, self.places(), strict=True)
            if group.kind == 'matrix'
        ]
        return torch.cat(found).double()

    def places(self) -> list[Place]:
        """Where each group is among the rows and the parameters."""
        found, row, parameter = [], 0, 0
        for group in self.groups:
            ends = row + len(group.edges), parameter + group.num_parameters
            found.append(Place(slice(row, ends[0]), slice(parameter, ends[1])))
            row, parameter = ends
        return found

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """For each row: place of its mixing weight, edge, and whether it has a batch norm."""
        if device not in self._tensors:
            order = [place for group in self.groups for place in group.places]
            normed = [[float(bool(group.norms))] for group in self.groups for _ in group.edges]
            self._tensors[device] = (
                torch.tensor(order, dtype=torch.long, device=device),
                torch.tensor(self.edge_of, dtype=torch.long, device=device),
                torch.tensor(normed, dtype=torch.float64, device=device).view(-1, 1),
            )
        return self._tensors[device]

    def unit(self, edges: int, device: torch.device) -> Tensor:
        """What stands for the batch norm of candidates without one, [4, edges, C]."""
        one = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64, device=device)
        return one[:, None, None].expand(-1, edges, self.channels)


@dataclass(frozen=True)
class Place:
    """Where a group is: its rows (one an edge), and its parameters."""

    rows: slice
    parameters: slice


# ----------------------------------------------------------------------------------- batch norms


def normalise(
    backend: Backend,
    module: StackedBatchNorm2d,
    group: Group,
    moments: Tensor,
    count: int,
    affine: Sequence[Tensor],
) -> Tensor:
    """What a stacked batch norm does to y, with its running statistics moved in training.

    Args:
        module (StackedBatchNorm2d): The batch norm.
        group (Group): The edges that run.
        moments (Tensor): Mean and biased variance of y, [E, 2, C] or, where the edges share y,
            [2, C], in float64.
        count (int): Number of pixels of y.
        affine (Sequence[Tensor]): Weight and bias [E, C], or nothing.

    Returns:
        Tensor: [4, E, C] in float64: mean, 1 / sqrt(var + eps), scale and shift.
    """
    batch = module.takes_batch
    if batch and count == 1:
        raise ValueError('Expected more than 1 value per channel when training')
    running = None
    if module.running_mean is not None:
        running = (module.running_mean, module.running_var)
    chosen = range(module.edges) if group.chosen is None else group.chosen
    moments = moments.reshape(-1, 2, moments.shape[-1])
    return backend.batch_norm(
        moments, count, running, affine, module.momentum, module.eps, batch, chosen
    )


# ------------------------------------------------------------------------------------- function


@dataclass
class Kept:
    """What the forward keeps of a group, but for tensors of images: places in the saved ones.

    Args:
        images (list[int]): The noise of each edge, or y of each unit.
        norms (list[Tensor]): What :func:`normalise` returned for each unit.
    """

    images: list[int] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)


def _conv_args(conv: StackedConv2d) -> Conv:
    return conv.args['stride'], conv.args['padding'], conv.args['dilation']


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``, at no cost where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of scales and shifts."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class _Fused(torch.autograd.Function):
    """outputs_j (+)= sum_k beta_jk o_k(x)."""

    @staticmethod
    def forward(ctx, plan: Plan, mixed: MixedOp, x: Tensor, betas: Tensor, *tensors):
        into, parameters = tensors[: plan.num_edges], tensors[plan.num_edges :]
        image = to_nhwc(x)
        dtype, channels = _wide(image.dtype), plan.channels
        backend = choose_backend(x.device, x.dtype, image.shape[3], channels, told=True)
        size = [-(-s // plan.stride) for s in image.shape[1:3]]
        count = image.shape[0] * size[0] * size[1]
        order, edge_of, _ = plan.tensors(x.device)
        beta = betas.double()[order]
        outputs = [
            backend.empty_images(image, channels, *size) if one is None else one for one in into
        ]
        drawn = _draw_noise(backend, plan, image, size)
        gram = backend.relu_covariance(image) if 'matrix' in plan.kinds else None
        saved: list[Tensor] = []
        records, terms, norms = [], [], []

        def keep(kept: Kept, tensor: Tensor) -> None:
            kept.images.append(len(saved))
            saved.append(tensor)

        start = 0
        for group in plan.groups:
            own = parameters[start : start + group.num_parameters]
            start += group.num_parameters
            kept = Kept()
            records.append(kept)
            edges = len(group.edges)
            if group.kind in ('identity', 'noise'):
                new = [image] * edges
                if group.kind == 'noise':
                    new = [drawn[place] for place in group.places]
                    for one in new:
                        keep(kept, one)
                norms.append(plan.unit(edges, x.device))
                terms += new
                continue
            if group.kind in ('separable', 'inverted'):
                run = _separable_forward if group.kind == 'separable' else _inverted_forward
                y, moments, affine = run(backend, group, kept, image, own, keep)
                terms += y
            elif group.kind == 'pool':
                y, moments = backend.pool_forward(image, group.pool.maximum, group.pool.stride)
                keep(kept, y)
                terms += [y] * edges
                affine = own
            else:
                convs = own[: len(group.convs[0])]
                affine = own[len(convs) :]
                if group.kind == 'matrix':
                    weight = convs[0].flatten(2).double()
                    var = ((weight @ gram[1]) * weight).sum(-1).clamp_(min=0)
                    moments = torch.stack([weight @ gram[0], var], 1)
                else:
                    convs = [_cast(conv, image.dtype) for conv in convs]
                    if group.kind == 'dense':
                        args = _conv_args(group.convs[0][0])
                        y, moments = backend.dense_forward(image, convs[0], args)
                    else:
                        y, moments = backend.factorized_forward(image, convs)
                    keep(kept, y)
                    terms += y.unbind(0)
            if group.norms:
                kept.norms.append(
                    normalise(backend, group.norms[-1], group, moments, count, affine)
                )
                norms.append(kept.norms[-1])
            else:
                norms.append(plan.unit(edges, x.device))
        norm = torch.cat(norms, 1) if norms else plan.unit(0, x.device)
        scale = beta[:, None] * norm[2]
        shift = matrices = None
        if plan.has_shift:
            shift = scale.new_zeros(plan.num_edges, channels)
            shift = shift.index_add_(0, edge_of, beta[:, None] * norm[3]).to(dtype)
        if 'matrix' in plan.kinds:  # its rows are the last
            matrices = scale.new_zeros(plan.num_edges, channels, channels)
            weight = plan.matrix_weights(parameters)
            matrices.index_add_(0, edge_of[len(terms) :], scale[len(terms) :, :, None] * weight)
            matrices = matrices.to(dtype)
        backend.mix(
            [to_nhwc(out) for out in outputs],
            [one is not None for one in into],
            terms,
            plan.edge_of[: len(terms)],
            scale[: len(terms)].to(dtype),
            shift,
            None if matrices is None else image,
            matrices,
        )
        ctx.plan, ctx.mixed, ctx.records, ctx.backend = plan, mixed, records, backend
        ctx.num_parameters, ctx.gram = len(parameters), gram
        # Taken now: the modules' modes may change before the backward
        ctx.batch = [[norm.takes_batch for norm in group.norms] for group in plan.groups]
        ctx.norm, ctx.count = norm, count
        ctx.mark_dirty(*[one for one in into if one is not None])
        ctx.save_for_backward(x, betas, *parameters, *saved)
        return tuple(outputs)

    @staticmethod
    def backward(ctx, *grads):
        plan: Plan = ctx.plan
        x, betas, *rest = ctx.saved_tensors
        parameters, saved = rest[: ctx.num_parameters], rest[ctx.num_parameters :]
        edges_end = 4 + plan.num_edges
        wanted = ctx.needs_input_grad
        into_grads = [
            grad if need else None for grad, need in zip(grads, wanted[4:edges_end], strict=True)
        ]
        if torch.is_grad_enabled():
            found = _plain_backward(ctx, x, betas, parameters, saved, grads)
            return (None, None, *found[:2], *into_grads, *found[2:])
        weights = any(wanted[edges_end:])
        image = to_nhwc(x)
        dtype, count, backend = _wide(image.dtype), ctx.count, ctx.backend
        g = [backend.gradient_to_nhwc(_cast(grad, image.dtype)) for grad in grads]
        order, edge_of, with_norm = plan.tensors(x.device)
        beta = betas.double()[order]

        # Sums over pixels, and the small algebra that follows from them

        terms = _terms(plan, ctx.records, saved, image)
        matrix = 'matrix' in plan.kinds
        product, totals, cross = backend.mix_sums(
            g, terms, plan.edge_of[: len(terms)], image if matrix else None
        )
        total = totals[edge_of]
        if matrix:
            weight = plan.matrix_weights(parameters)
            cross = cross[edge_of[len(terms) :]]
            product = torch.cat([product, (cross * weight).sum(-1)])
        beta_grad = (ctx.norm[2] * product + ctx.norm[3] * total).sum(-1)
        batch = _batch_by_row(plan, ctx.batch, with_norm)
        each = beta[:, None]
        total, product = each * total, each * product
        coefficients, gamma = batch_norm_backward(ctx.norm, batch, count, total, product)
        coefficients[0] *= each

        # Gradients of images

        parameter_grads: dict[int, list[Tensor | None]] = {}
        skips = left = right = row = None
        places = plan.places()
        scales = _cast(coefficients, dtype)
        like, size = image.shape[-1], image.shape[1:3]
        dr = None
        if plan.kinds & {'separable', 'dense', 'factorized'}:
            dr = to_nhwc(backend.empty_images(image, like, *size))
        accumulate, pools, added = False, [], None
        for group, kept, at, flags in zip(plan.groups, ctx.records, places, ctx.batch, strict=True):
            own = parameters[at.parameters]
            affine = [gamma[at.rows], total[at.rows]] if group.is_affine else []
            mine = [g[edge] for edge in group.edges]
            if group.kind == 'identity':
                skips = totals.new_zeros(plan.num_edges) if skips is None else skips
                skips = skips.index_add_(0, edge_of[at.rows], beta[at.rows])
            elif group.kind == 'pool':
                y = saved[kept.images[0]]
                pools.append((group.pool, _pool_gradient(backend, mine, y, scales[:, at.rows]), y))
                parameter_grads[at.rows.start] = affine
            elif group.kind == 'separable':
                parameter_grads[at.rows.start] = _separable_backward(
                    backend,
                    group,
                    kept,
                    image,
                    saved,
                    own,
                    mine,
                    scales[:, at.rows],
                    affine,
                    flags,
                    (dr, accumulate),
                    weights,
                )
                accumulate = True
            elif group.kind == 'inverted':
                if added is None:
                    added = to_nhwc(backend.empty_images(image, like, *size)).zero_()
                parameter_grads[at.rows.start] = _inverted_backward(backend,
                    group, kept, image, saved, own, mine, scales[:, at.rows], affine, flags, added,
                    weights,
                )  # fmt: skip
            elif group.kind in ('dense', 'factorized'):
                y, each = saved[kept.images[0]], scales[:, at.rows].transpose(0, 1)
                found = _convolution_backward(
                    backend, group, image, y, own, mine, each, (dr, accumulate), weights
                )
                accumulate = True
                parameter_grads[at.rows.start] = [*found, *affine]
        if matrix:
            left, right, row, matrix_grads = _matrix_backward(
                coefficients[:, len(terms) :], weight, cross, ctx.gram, count, weights
            )
            left = left.new_zeros(plan.num_edges, *weight.shape[1:]).index_add_(
                0, edge_of[len(terms) :], left
            )
            for group, at in zip(plan.groups, places, strict=True):
                if group.kind == 'matrix':
                    part = slice(at.rows.start - len(terms), at.rows.stop - len(terms))
                    grad = matrix_grads[part, :, :, None, None] if weights else None
                    affine = [gamma[at.rows], total[at.rows]] if group.is_affine else []
                    parameter_grads[at.rows.start] = [grad, *affine]
        small = [None if t is None else t.to(dtype) for t in (skips, left, right, row)]
        dx = backend.input_grad(image, g, small[0], dr, *small[1:])
        if added is not None:
            dx += added
        for pool, dp, y in pools:
            backend.pool_backward(dp, image, y, pool.maximum, pool.stride, dx)
        # a shortcut has the mixing weight of its group
        all_grads = torch.zeros_like(betas, dtype=torch.float64).index_add_(0, order, beta_grad)
        found = [
            grad
            for group, at in zip(plan.groups, places, strict=True)
            if group.num_parameters
            for grad in parameter_grads[at.rows.start]
        ]
        pairs = zip(found, parameters, wanted[edges_end:], strict=True)
        return (
            *(None, None),
            to_nchw(dx),
            all_grads.to(betas.dtype),
            *into_grads,
            *(
                grad.to(p.dtype).view_as(p) if need and grad is not None else None
                for grad, p, need in pairs
            ),
        )


def _terms(
    plan: Plan, records: Sequence[Kept], saved: Sequence[Tensor], image: Tensor
) -> list[Tensor]:
    """What the mixture was made of, but for matrices: one image for each row."""
    terms = []
    for group, kept in zip(plan.groups, records, strict=True):
        if group.kind == 'identity':
            terms += [image] * len(group.edges)
        elif group.kind == 'noise':
            terms += [saved[i] for i in kept.images]
        elif group.kind == 'pool':
            terms += [saved[kept.images[0]]] * len(group.edges)
        elif group.kind != 'matrix':
            terms += saved[kept.images[-1]].unbind(0)
    return terms


def _batch_by_row(plan: Plan, flags: Sequence[Sequence[bool]], with_norm: Tensor) -> Tensor | bool:
    """Whether the last batch norm of each row took the statistics of the batch, [rows, 1]."""
    last = [norms[-1] for norms in flags if norms]
    if len(set(last)) <= 1:
        return with_norm if last and last[0] else False
    each = [
        bool(norms and norms[-1])
        for norms, group in zip(flags, plan.groups, strict=True)
        for _ in group.edges
    ]
    return torch.tensor(each, device=with_norm.device)[:, None]


def _pool_gradient(
    backend: Backend, g: Sequence[Tensor], y: Tensor, coefficients: Tensor
) -> Tensor:
    """The gradient of a pool's y, which its edges share; ``coefficients`` is [3, E, C]."""
    a, slope, constant = coefficients.unbind(0)
    dp = to_nhwc(backend.empty_images(y, y.shape[-1], *y.shape[1:3]))
    scale = torch.cat([a, slope.sum(0, keepdim=True)])
    edge_of = [0] * (len(g) + 1)
    backend.mix([dp], [False], [*g, y], edge_of, scale, constant.sum(0, keepdim=True))
    return dp


def _convolution_backward(
    backend: Backend, group, image, y, own, g, coefficients, into, weights
) -> list[Tensor | None]:
    """Dense or factorised: the gradient of relu(x) goes ``into``; the convolutions' in order."""
    convs = [_cast(t, image.dtype) for t in own[: len(group.convs[0])]]
    dr, accumulate = into
    if group.kind == 'factorized':
        dr = dr if accumulate else dr.zero_()
        return backend.factorized_backward(g, y, coefficients, image, convs, dr, weights)
    args = _conv_args(group.convs[0][0])
    return [
        backend.dense_backward(g, y, coefficients, image, convs[0], args, dr, accumulate, weights)
    ]


def _matrix_backward(
    coefficients: Tensor,
    weight: Tensor,
    cross: Tensor,
    gram: tuple[Tensor, Tensor],
    count: int,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of y = W r, which was never computed: dy = a G + b y + c by r alone.

    Args:
        coefficients (Tensor): a, b and c, [3, rows, C].
        weight (Tensor): W of each row, [rows, C, C].
        cross (Tensor): The sum over pixels of G r', [rows, C, C].
        gram (tuple[Tensor, Tensor]): Mean and covariance of r.
        count (int): Number of pixels.
        weights (bool): Whether W's gradient is wanted.

    Returns:
        tuple: What G, r and 1 are multiplied with for r's gradient, [rows, C, C], [C, C] and [C];
        and the gradient of W, [rows, C, C], or None.
    """
    a, slope, constant = coefficients.unbind(0)
    left = a[:, :, None] * weight
    right = torch.einsum('eok,eo,eol->kl', weight, slope, weight)
    row = (constant[:, :, None] * weight).sum((0, 1))
    if not weights:
        return left, right, row, None
    mean, covariance = gram
    found = a[:, :, None] * cross
    found += count * slope[:, :, None] * (weight @ (covariance + torch.outer(mean, mean)))
    found += count * constant[:, :, None] * mean
    return left, right, row, found


def _draw_noise(
    backend: Backend, plan: Plan, image: Tensor, size: Sequence[int]
) -> dict[int, Tensor]:
    """Noise [N, h, w, C] by place, drawn in edge order as the plain execution draws it."""
    places = sorted(p for group in plan.groups if group.kind == 'noise' for p in group.places)
    found: dict[int, Tensor] = {}
    if places:  # in NCHW, as plain draws it
        scratch = to_nhwc(backend.empty_images(image, plan.channels, *size))
        scratch = scratch.view(image.shape[0], plan.channels, *size)
    for place in places:
        found[place] = to_nhwc(backend.empty_images(image, plan.channels, *size))
        to_nchw(found[place]).copy_(standard_normal(scratch))
    return found


def _separable_forward(backend: Backend, group, kept, image, own, keep):
    """All units of separable convolutions: y of each edge, the moments, the affine parameters."""
    source, scale, shift = image, None, None
    dtype = _wide(image.dtype)
    start = 0
    for unit, (convs, module) in enumerate(zip(group.convs, group.norms, strict=True)):
        depthwise, pointwise = (_cast(t, image.dtype) for t in own[start : start + 2])
        affine = own[start + 2 : start + 4] if module.weight is not None else ()
        start += 2 + len(affine)
        source, moments = backend.separable_forward(
            source, scale, shift, depthwise, pointwise, _conv_args(convs[0])
        )
        keep(kept, source)
        if unit + 1 < len(group.convs):
            norm = normalise(backend, module, group, moments, source[0, ..., 0].numel(), affine)
            kept.norms.append(norm)
            scale, shift = norm[2:].to(dtype)
    return source.unbind(0), moments, affine


def _separable_backward(
    backend: Backend, group, kept, image, saved, own, g, coefficients, affine, batch, into, weights
) -> list[Tensor | None]:
    """Puts the gradient of relu(x) into ``into``; the parameters' gradients in order."""
    found: list[Tensor | None] = []
    dtype = _wide(image.dtype)
    end = len(own)
    for unit in reversed(range(len(group.convs))):
        end -= 2 if group.norms[unit].weight is not None else 0
        depthwise, pointwise = (_cast(t, image.dtype) for t in own[end - 2 : end])
        end -= 2
        source, before = image, None
        if unit:
            before = kept.norms[unit - 1]
            source = saved[kept.images[unit - 1]]
        dx, sums, depthwise_grad, pointwise_grad = backend.separable_backward(
            g,
            saved[kept.images[unit]],
            _cast(coefficients, dtype).transpose(0, 1),
            source,
            *((None, None) if before is None else before[2:].to(dtype)),
            depthwise,
            pointwise,
            _conv_args(group.convs[unit][0]),
            into[0] if before is None else None,
            into[1],
            weights,
        )
        found = [depthwise_grad, pointwise_grad, *affine, *found]
        if before is not None:
            total, product = sums.unbind(1)
            count = source[0, ..., 0].numel()
            coefficients, gamma = batch_norm_backward(
                before, batch[unit - 1], count, total, product
            )
            affine = [gamma, total] if group.norms[unit - 1].weight is not None else []
            g = dx.unbind(0)
    return found


def _inverted_units(group, own: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """Weight and, where the batch norm has them, its weight and bias: of each unit."""
    step = [1 + 2 * (norm.weight is not None) for norm in group.norms]
    return [own[sum(step[:unit]) : sum(step[: unit + 1])] for unit in range(3)]


def _inverted_forward(backend: Backend, group, kept, image, own, keep):
    """Inverted bottlenecks: y of each edge, the moments, the affine parameters.

    Kept are the images before each batch norm; those after it are made again in the backward.
    """
    edges, dtype = len(group.edges), _wide(image.dtype)
    stride, padding, _ = _conv_args(group.convs[1][0])
    sources, before = [image] * edges, None
    for unit, (weight, *affine) in enumerate(_inverted_units(group, own)):
        weight = _cast(weight, image.dtype)
        images, moments = [], []
        for edge, source in enumerate(sources):
            norm = None if before is None else before[2:, edge].to(dtype)
            if unit == 1:
                y, moment = backend.depthwise_forward(source, *norm, weight[edge], stride, padding)
            else:
                active = source if norm is None else backend.relu6(source, *norm)
                y = active @ weight[edge].flatten(1).t()
                moment = backend.moments(y)
            images.append(y)
            moments.append(moment)
        moments = torch.stack(moments)
        if unit == 2:
            keep(kept, torch.stack(images) if edges > 1 else images[0][None])
            return images, moments, affine
        for y in images:
            keep(kept, y)
        before = normalise(
            backend, group.norms[unit], group, moments, images[0][..., 0].numel(), affine
        )
        kept.norms.append(before)
        sources = images


def _inverted_backward(
    backend: Backend, group, kept, image, saved, own, g, coefficients, affine, batch, into, weights
) -> list[Tensor | None]:
    """Adds the gradient of x to ``into``; the parameters' gradients in order."""
    edges, dtype = len(group.edges), _wide(image.dtype)
    expand, depthwise, project = (
        _cast(unit[0], image.dtype) for unit in _inverted_units(group, own)
    )
    stride, padding, _ = _conv_args(group.convs[1][0])
    flat = into.view(-1, into.shape[-1])
    grads: list[list[list[Tensor | None]]] = [[], [], []]  # of each unit, of each edge
    for edge in range(edges):
        wide, deep = saved[kept.images[edge]], saved[kept.images[edges + edge]]
        norms = [norm[:, edge] for norm in kept.norms[:2]]
        first, second = (norm[2:].to(dtype) for norm in norms)
        d = _normalised_gradient(
            backend, g[edge], saved[kept.images[-1]][edge], coefficients[:, edge]
        )
        project_grad = _product(d, backend.relu6(deep, *second)) if weights else None
        d, sums = backend.relu6_backward(d @ project[edge].flatten(1), deep, *second)
        back, deep_affine = _through_norm(norms[1], batch[1], deep, sums)
        d, sums, depthwise_grad = backend.depthwise_backward(
            d, deep, back.to(dtype), wide, *first, depthwise[edge], stride, padding, weights
        )
        back, wide_affine = _through_norm(norms[0], batch[0], wide, sums)
        d = _normalised_gradient(backend, d, wide, back.to(dtype))
        expand_grad = _product(d, image) if weights else None
        flat.addmm_(d.reshape(-1, d.shape[-1]), expand[edge].flatten(1))
        grads[0].append([expand_grad, *wide_affine])
        grads[1].append([depthwise_grad, *deep_affine])
        grads[2].append([project_grad])
    result: list[Tensor | None] = []
    for unit, each in enumerate(grads):
        if unit < 2 and group.norms[unit].weight is None:
            each = [tensors[:1] for tensors in each]
        result += [
            None if tensors[0] is None else torch.stack(tensors)
            for tensors in zip(*each, strict=True)
        ]
    return [*result, *affine]


def _product(d: Tensor, x: Tensor) -> Tensor:
    """The gradient of a 1x1 convolution's weight: sum over pixels of d x'."""
    return d.reshape(-1, d.shape[-1]).t() @ x.reshape(-1, x.shape[-1])


def _normalised_gradient(backend: Backend, g: Tensor, y: Tensor, coefficients: Tensor) -> Tensor:
    """a g + b y + c, for ``coefficients`` [3, C]."""
    out = to_nhwc(backend.empty_images(y, y.shape[-1], *y.shape[1:3]))
    backend.mix([out], [False], [g, y], [0, 0], coefficients[:2], coefficients[2:])
    return out


def _through_norm(
    norm: Tensor, batch: bool, y: Tensor, sums: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Back through a batch norm of y: the coefficients [3, C]; its weight's and bias's gradient.

    ``norm`` [4, C] is of :func:`normalise`; ``sums`` [2, C] those of the gradient and of it times
    y.
    """
    total, product = sums[:, None]
    found, weight = batch_norm_backward(norm[:, None], batch, y[..., 0].numel(), total, product)
    return found[:, 0], [weight[0], total[0]]


# -------------------------------------------------------------------------- gradients of gradients


class _Plain(nn.Module):
    """What :class:`_Fused` computes, operation by operation, of tensors given to it.

    Args:
        mixed (MixedOp): The mixed operation; its parameters are replaced by functional_call.
        plan (Plan): What runs.
        drawn (dict[int, Tensor]): Noise by place, as it was drawn.
    """

    def __init__(self, mixed: MixedOp, plan: Plan, drawn: dict[int, Tensor]) -> None:
        super().__init__()
        self.mixed, self.plan, self.drawn = mixed, plan, drawn
        self.train(mixed.training)

    def forward(self, x: Tensor, betas: Tensor) -> list[Tensor]:
        size = [-(-s // self.plan.stride) for s in x.shape[2:]]
        outputs = [x.new_zeros(x.shape[0], self.plan.channels, *size)] * self.plan.num_edges
        for group in self.plan.groups:
            if group.shortcut:
                continue  # the operation itself adds it
            bound = self.mixed.operations[group.name].unbind()
            chosen = range(len(group.edges)) if group.chosen is None else group.chosen
            for edge, place, row in zip(group.edges, group.places, chosen, strict=True):
                term = self.drawn[place] if group.kind == 'noise' else bound[row](x)
                outputs[edge] = outputs[edge] + betas[place] * term
        return outputs


class _PlainGradient(torch.autograd.Function):
    """The gradients of :class:`_Plain` as a function that has gradients itself."""

    @staticmethod
    def forward(ctx, module: _Plain, count: int, *tensors):
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in tensors]
            x, betas, *rest = leaves
            given, grads = rest[:count], rest[count:]
            names = {id(p): f'mixed.{name}' for name, p in module.mixed.named_parameters()}
            state = {f'mixed.{k}': b.clone() for k, b in module.mixed.named_buffers()}
            place = 0
            for group in module.plan.groups:
                for parameter in _stacked(group):
                    value = given[place]
                    if group.chosen is not None:
                        index = (torch.tensor(group.chosen, device=value.device),)
                        value = parameter.detach().index_put(index, value)
                    state[names[id(parameter)]] = value
                    place += 1
            with precision.autocast_of(x):
                outputs = torch.func.functional_call(module, state, (x, betas))
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
    def backward(ctx, *grads):
        pairs = [(f, g) for f, g in zip(ctx.found, grads, strict=True) if f.requires_grad]
        if not pairs:
            return (None,) * (2 + len(ctx.leaves))
        outputs, given = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs, ctx.leaves, given, retain_graph=True, allow_unused=True
        )
        return (None, None, *found)


def _stacked(group: Group) -> list[Tensor]:
    """The whole stacked parameters of a group, in the order of :meth:`Group.parameters`."""
    return replace(group, chosen=None).parameters()


def _plain_backward(ctx, x, betas, parameters, kept, grads):
    """The backward as a graph: the plain execution, once more."""
    tell_once('gradients of gradients: plain runs for them, as fused has no second derivative')
    drawn = {
        place: to_nchw(kept[index])
        for group, record in zip(ctx.plan.groups, ctx.records, strict=True)
        if group.kind == 'noise'
        for place, index in zip(group.places, record.images, strict=True)
    }
    module = _Plain(ctx.mixed, ctx.plan, drawn)
    return _PlainGradient.apply(module, len(parameters), x, betas, *parameters, *grads)


# ------------------------------------------------------------------------------------------ entry


def fused(
    mixed: MixedOp,
    x: Tensor,
    weights: Sequence[Tensor],
    into: Sequence[Tensor | None] | None = None,
    active: Sequence[Sequence[int]] | None = None,
) -> list[Tensor]:
    """Mix the candidates of all edges that leave one node.

    Args:
        mixed (MixedOp): The edges' operations.
        x (Tensor): [N, C, H, W]. Taken to channels_last memory format where it is not.
        weights (Sequence[Tensor]): One [candidates] for each edge.
        into (Sequence[Tensor | None], optional): What each edge's result is added to, in place
            where memory allows it.
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run.
            Defaults to all.

    Returns:
        list[Tensor]: One [N, out_channels, ceil(H / stride), ceil(W / stride)] for each edge.
    """
    if active is None:
        if mixed.plan is None:
            mixed.plan = Plan(mixed)
        plan = mixed.plan
    else:
        plan = Plan(mixed, active)
    if plan.unfused:
        tell_once(f'fused runs these edge by edge, as plain does: {", ".join(plan.unfused)}')
    into = [None] * plan.num_edges if into is None else list(into)
    betas = torch.cat(list(weights))
    dtype = precision.compute_dtype(x)
    inside = [one if _takes(one, dtype) else None for one in into]
    with torch.autocast(x.device.type, enabled=False):
        outputs = _Fused.apply(plan, mixed, x.to(dtype), betas, *inside, *plan.parameters())
    outputs = list(outputs)
    bound = {name: mixed.operations[name].unbind() for name in plan.unfused}
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
