"""The mixed operation (Eq. 1): the mutable of every space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rdarts.configuration.schedule import Scheduled
from rdarts.errors import UserError
from rdarts.models.fused.candidates.base import find_candidate
from rdarts.models.fused.function import fused
from rdarts.models.fused.plan import Plan
from rdarts.models.layers import EdgeCopies, EdgeFunction, StackedLayers
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import build_operation, zero
from rdarts.registry import MIXED_OPS
from rdarts.utils.logging import tell_once

MOST_PLANS = 128  # of one mixed operation: draws of a few edges come again

Way = TypeVar('Way')
Place = tuple[Any, ...]
"""An index of a tensor: nothing, a row, or a row and slices of it."""

Observer = Callable[[str, str, Tensor], None]
"""Is told the label of an edge, an operation, and what that gave, [N, out_channels, h, w]."""


@MIXED_OPS.register_module()
class MixedOp(Scheduled, nn.Module):
    """The candidates of one edge, mixed; or of all edges that leave one node.

    It owns no alpha: an :class:`~rdarts.models.alpha.AlphaOwner` does, such as a supernet.
    Parameters are stacked over the edges, [edges, ...] per operation. A method that mixes
    otherwise (partial channels, an auxiliary skip) overrides :meth:`forward_edges` and calls this
    one's on a part of the channels or with another :class:`~rdarts.models.mixed_ops.mixing.Mixing`;
    :meth:`mix` is for what cannot run fused, whose edges then run one by one in any execution.

    Args:
        candidates (Sequence[str] | Sequence[Sequence[str]]): Names from ``OPERATIONS``: one
            list (a lone edge), or one list for each edge.
        in_channels (int): Channels of the input.
        out_channels (int, optional): Channels of the output. Defaults to ``in_channels``.
        stride (int): 1, or 2 for half the resolution. Defaults to 1.
        affine (bool): Of the batch norms. Defaults to False.
        track_running_stats (bool): Of the batch norms. Defaults to True.
        operation_args (dict[str, dict], optional): Further arguments of single operations.
        labels (Sequence[str], optional): Names of the edges in an edge state dict. Defaults to
            ``'0'``, ``'1'``, ...

    Attributes:
        execution (str): ``'plain'`` runs edge by edge, ``'fused'`` all edges together. A
            supernet sets it.
        backend (str | None): The back end that fused execution asks for where it takes the images;
            None for none in particular. A supernet sets it.
        observer (Observer | None): Told of each candidate that runs, where edges run one by one:
            see :meth:`~rdarts.models.backbones.base_supernet.BaseSupernet.observe`.
        slots (list[list[tuple[str, int]]]): The operation that runs each candidate of each edge,
            and the row.
        homes (list[list[tuple[str, int]]]): Likewise the operation that has its parameters.
        ran (list | None): Where there is one, each forward adds the candidates of each edge that
            it runs, as ``Mixing.active`` has them.

    Raises:
        UserError: There is no candidate, one is not known, or an edge names one twice.
    """

    execution = 'plain'
    backend: str | None = None
    observer: Observer | None = None
    ran: list[Sequence[Sequence[int]] | None] | None = None

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        affine: bool = False,
        track_running_stats: bool = True,
        operation_args: Mapping[str, Mapping] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not candidates or not all(candidates):
            raise UserError('a MixedOp needs at least one candidate an edge')
        edges = [candidates] if isinstance(candidates[0], str) else candidates
        self.candidates = tuple(tuple(names) for names in edges)
        self.labels = tuple(labels or (str(i) for i in range(len(self.candidates))))
        self.in_channels, self.out_channels = in_channels, out_channels or in_channels
        self.stride = stride
        self._plans: dict[tuple[tuple[int, ...], ...] | None, Plan] = {}
        count: dict[str, int] = {}
        self.homes: list[list[tuple[str, int]]] = []
        for names in self.candidates:
            if len(set(names)) != len(names):  # they would share what an edge state dict calls one
                raise UserError(f'an edge of a MixedOp names a candidate twice: {", ".join(names)}')
            owners = self.owners(names)
            rows = {owner: count.get(owner, 0) for owner in owners}
            self.homes.append([(owner, rows[owner]) for owner in owners])
            count.update({owner: row + 1 for owner, row in rows.items()})
        self.slots = [list(homes) for homes in self.homes]
        self._operation_args = operation_args or {}
        self.operations = nn.ModuleDict(
            {
                name: self.build(name, StackedLayers(edges, affine, track_running_stats))
                for name, edges in count.items()
            }
        )
        self.fused_candidates = {
            name: find_candidate(operation) for name, operation in self.operations.items()
        }

    def owners(self, names: Sequence[str]) -> Sequence[str]:
        """Of an edge's candidates, the names of those that have the parameters of each."""
        return names

    def build(self, name: str, make: StackedLayers) -> nn.Module:
        """An operation of these edges, of layers that ``make`` makes."""
        args = self._operation_args.get(name, {})
        sizes = (self.in_channels, self.out_channels, self.stride)
        return build_operation(name, make, *sizes, **args)

    def forward(self, x: Tensor, mixing: Tensor | Mixing) -> Tensor:
        """Mix the candidates of a lone edge.

        Args:
            x (Tensor): [N, in_channels, H, W].
            mixing (Tensor | Mixing): Mixing weights beta, [candidates], of candidates that all
                run; or which of them run as well.

        Returns:
            Tensor: [N, out_channels, H / stride, W / stride].
        """
        if len(self.candidates) != 1:
            raise ValueError(f'{len(self.candidates)} edges: call forward_edges instead')
        mixing = mixing if isinstance(mixing, Mixing) else Mixing(mixing)
        return self.forward_edges(x, mixing)[0]

    def forward_edges(
        self,
        x: Tensor,
        mixing: Mixing,
        into: Sequence[Tensor | None] | None = None,
        given: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> list[Tensor]:
        """Mix the candidates of every edge.

        An edge on which no candidate runs gives zeros.

        Args:
            x (Tensor): What the edges read, [N, in_channels, H, W].
            mixing (Mixing): Of all edges.
            into (Sequence[Tensor | None], optional): What each edge's result is added to; it may
                be written over. Defaults to nothing.
            given (dict[str, Sequence[Tensor]], optional): Operation -> what it takes in place of
                its parameters, [rows, ...] each, in their order. Defaults to the parameters.

        Returns:
            list[Tensor]: One [N, out_channels, H / stride, W / stride] for each edge.
        """
        if self.ran is not None:
            self.ran.append(mixing.active)
        sizes = [len(slots) for slots in self.slots]
        mixing = mixing.folded(sizes)
        if self.execution == 'fused' and type(self).mix is MixedOp.mix:
            outputs = fused(self, x, mixing, into, given)
        else:
            outputs = self._one_by_one(x, mixing, into, given)
        if mixing.constant and mixing.active is not None:
            betas = mixing.by_edge(sizes)
            outputs = [
                _with_constants(out, beta, active)
                for out, beta, active in zip(outputs, betas, mixing.active, strict=True)
            ]
        return outputs

    def bind(
        self, name: str, given: Mapping[str, Sequence[Tensor]] | None = None
    ) -> Sequence[EdgeFunction]:
        """The functions of an operation on its rows; for ``given`` see :meth:`forward_edges`."""
        operation = self.operations[name]
        return operation.unbind(iter(given[name])) if name in (given or {}) else operation.unbind()

    def _one_by_one(
        self,
        x: Tensor,
        mixing: Mixing,
        into: Sequence[Tensor | None] | None,
        given: Mapping[str, Sequence[Tensor]] | None,
    ) -> list[Tensor]:
        """The plain execution of :meth:`forward_edges`."""
        if self.execution == 'fused':
            tell_once(f'{type(self).__name__} mixes in its own way: its edges run one by one')
        bound = {name: self.bind(name, given) for name in self.operations}
        betas = mixing.by_edge([len(slots) for slots in self.slots])
        mixed = []
        for edge, (beta, slots) in enumerate(zip(betas, self.slots, strict=True)):
            names = self.candidates[edge]
            if mixing.active is not None:
                active = mixing.active[edge]
                if not active:
                    mixed.append(self._nothing(x, beta))
                    continue
                beta = torch.stack([beta[k] for k in active])
                names, slots = [names[k] for k in active], [slots[k] for k in active]
            operations = [
                self._observed(edge, name, bound[key][row])
                for name, (key, row) in zip(names, slots, strict=True)
            ]
            mixed.append(self.mix(x, beta, names, operations))
        if into is None:
            return mixed
        return [out if one is None else one + out for one, out in zip(into, mixed, strict=True)]

    def _observed(self, edge: int, name: str, operation: EdgeFunction) -> EdgeFunction:
        """An operation that hands over what it gives; itself where nobody observes."""
        observer = self.observer
        if observer is None:
            return operation

        def run(x: Tensor) -> Tensor:
            out = operation(x)
            observer(self.labels[edge], name, out)
            return out

        return run

    def mix(
        self,
        x: Tensor,
        weights: Tensor,
        names: Sequence[str],
        operations: Sequence[EdgeFunction],
    ) -> Tensor:
        """Eq. 1 on one edge: sum_k beta_k o_k(x).

        ``none`` adds nothing to the sum and nothing to any gradient, so it does not run. Where
        there is nothing else, the result is a zero that keeps the graph.

        Args:
            x (Tensor): [N, in_channels, H, W].
            weights (Tensor): [candidates].
            names (Sequence[str]): The candidates.
            operations (Sequence[Callable]): Their functions on this edge.
        """
        mixed = None
        for name, beta, operation in zip(names, weights.unbind(0), operations, strict=True):
            if name == 'none':
                continue
            term = beta * operation(x)
            mixed = term if mixed is None else mixed + term
        return self._nothing(x, weights) if mixed is None else mixed

    def _nothing(self, x: Tensor, weights: Tensor) -> Tensor:
        """The zero of an edge on which no candidate runs: its gradients are zeros, not missing.

        Otherwise a loss that depends on this edge alone would have no graph.
        """
        out = zero(x, self.out_channels, self.stride)
        # sums over nothing: 0 even where x is infinite
        return out + (x[:0].sum() + weights[:0].sum()).to(out.dtype)

    def plan_of(self, active: Sequence[Sequence[int]] | None) -> Plan:
        """How the candidates run together; what was asked for lately is kept.

        Args:
            active (Sequence[Sequence[int]] | None): The candidates of each edge that run, or all.
        """
        return keep(self._plans, active, partial(Plan, self))

    def entries(self, edge: int, place: int) -> Iterator[tuple[str, str, Place]]:
        """The tensors of a candidate in the state dict.

        Args:
            edge (int): The number of the edge.
            place (int): The candidate's among those of the edge.

        Returns:
            Iterator[tuple]: The key of each tensor in the candidate alone, its key in the state
            dict of this, and its place in what stands there.
        """
        name, row = self.homes[edge][place]
        operation = self.operations[name]
        for key in operation.state_dict():
            stacked = f'operations.{name}.{key}'
            if isinstance(operation, EdgeCopies):
                copy, _, rest = key.partition('.')
                if int(copy) == row:
                    yield rest, stacked, ()
            else:
                yield key, stacked, (row,)

    def extra_repr(self) -> str:
        return f'edges={len(self.candidates)}, stride={self.stride}'


def _with_constants(out: Tensor, beta: Tensor, active: Sequence[int]) -> Tensor:
    """An edge's result with the weights of those of its candidates that do not run."""
    rest = [weight for k, weight in enumerate(beta.unbind(0)) if k not in active]
    return out + torch.stack(rest).sum().to(out.dtype) if rest else out


def keep(
    kept: dict[Any, Way],
    active: Sequence[Sequence[int]] | None,
    make: Callable[[Sequence[Sequence[int]] | None], Way],
) -> Way:
    """What is made of the candidates that run; of what was asked for lately, again."""
    key = None if active is None else tuple(map(tuple, active))
    found = kept.pop(key, None) or make(active)
    kept[key] = found  # the last one now
    if len(kept) > MOST_PLANS:
        del kept[next(iter(kept))]
    return found


def _edge_keys(module: nn.Module) -> list[tuple[str, str, Place]]:
    """Key of the edge state dict, key and place in the state dict: of every tensor of a module."""
    keys = []
    taken = set()
    for prefix, mixed in module.named_modules():
        if not isinstance(mixed, MixedOp):
            continue
        prefix = f'{prefix}.' if prefix else ''
        for edge, (label, names) in enumerate(zip(mixed.labels, mixed.candidates, strict=True)):
            for place, name in enumerate(names):
                for key, stacked, index in mixed.entries(edge, place):
                    taken.add(f'{prefix}{stacked}')
                    own = f'{prefix}edges.{label}.{name}.{key}'
                    keys.append((own, f'{prefix}{stacked}', index))
    keys += [(key, key, ()) for key in module.state_dict() if key not in taken]
    return keys


def to_edge_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with one entry per edge and operation, for comparison with other codes.

    Args:
        module (nn.Module): A supernet, or anything with mixed operations in it.

    Returns:
        dict[str, Tensor]: ``<...>.edges.<source>_<target>.<operation>.<...>`` for what is
        stacked in ``module.state_dict()``; other entries keep their keys.
    """
    state = module.state_dict()
    return {edge: state[key][index] for edge, key, index in _edge_keys(module)}


def from_edge_state_dict(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what :func:`to_edge_state_dict` gave; the inverse, strictly.

    Raises:
        UserError: An entry is missing, is not the module's, has another shape, or is not the part
            of another that it shares.
    """
    keys = _edge_keys(module)
    missing = [edge for edge, _, _ in keys if edge not in state]
    extra = sorted(set(state) - {edge for edge, _, _ in keys})
    if missing or extra:
        problem = f'lacks {missing[0]!r}' if missing else f'has {extra[0]!r}, which is unknown'
        raise UserError(f'edge state dict: it {problem}')
    target = module.state_dict()
    rows = [target[key][index] for _, key, index in keys]
    for (edge, _, _), tensor in zip(keys, rows, strict=True):
        if tensor.shape != state[edge].shape:
            raise UserError(
                f'edge state dict: {edge!r} has shape {tuple(state[edge].shape)}, '
                f'but should have {tuple(tensor.shape)}'
            )
    wholes = {(key, index): edge for edge, key, index in keys if len(index) < 2}
    for edge, key, index in keys:
        whole = edge if len(index) < 2 else wholes[key, index[:1]]
        if not torch.equal(state[edge], state[whole][index[1:]]):
            raise UserError(
                f'edge state dict: {edge!r} is not the part of {whole!r} that it shares'
            )
    with torch.no_grad():
        for (edge, _, _), tensor in zip(keys, rows, strict=True):
            tensor.copy_(state[edge])
