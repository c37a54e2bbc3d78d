"""Weight entanglement: candidates of one kind are parts of the largest
(https://arxiv.org/abs/2312.10440)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.models.fused.candidates.base import find_candidate
from rdarts.models.kernels import precision
from rdarts.models.mixed_ops.mixed_op import MixedOp, Place, keep
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.parts import PartLayers, Superposition
from rdarts.registry import MIXED_OPS
from rdarts.utils.index import Index
from rdarts.utils.logging import tell_once

KINDS = re.compile(r'(sep_conv|dil_conv|nor_conv)_(\d+)x\2|(mbconv)_k(\d+)_e(\d+)')
"""The names of what can be shared: the kind, and the sizes."""


def kind_of(name: str) -> tuple[str, tuple[int, ...]] | None:
    """Kind and sizes (of the kernel, and the expansion where there is one) of a candidate.

    Args:
        name (str): Its name in ``OPERATIONS``.

    Returns:
        tuple[str, tuple[int, ...]] | None: None where it is of no kind.
    """
    found = KINDS.fullmatch(name)
    if found is None:
        return None
    kind, *sizes = [group for group in found.groups() if group is not None]
    return kind, tuple(map(int, sizes))


def holds(large: Sequence[int], small: Sequence[int]) -> bool:
    """Whether none of the sizes of ``small`` is more than that of ``large``."""
    return all(one >= other for one, other in zip(large, small, strict=True))


@MIXED_OPS.register_module()
class EntangledMixedOp(MixedOp):
    r"""Candidates of one kind share the parameters of the largest on their edge.

    Kinds are ``sep_conv``, ``dil_conv`` and ``nor_conv`` of any kernel and ``mbconv`` of any kernel
    and expansion: a smaller kernel is the centre of a larger one, a smaller expansion the first
    channels of a larger one. Batch norms are shared too, with their statistics. The candidates K of
    a kind that run on an edge are one operation, whose convolutions have the superposed kernels

    .. math:: \sum_{k \in K} \frac{\beta_k}{B} \mathrm{pad}(w_k), \qquad B = \sum_{k \in K} \beta_k,

    and so have, of an expansion, the weights and biases of the batch norms within. Its result is
    multiplied by B; so what runs alone is beta_k o_k(x), as in any mixed operation.

    The paper's kernel is sum_k beta_k pad(w_k), whose scale the batch norm behind it takes away. In
    its spaces of layers the weights of a kind add up to 1, so that both are the same; in
    NAS-Bench-201 and the DARTS space its code adds the result of a kind with the weight 1, whatever
    B: ``kind_weight='one'``. Alpha's gradient then says how the candidates of a kind compare, and
    nothing of the kind beside other candidates. That the default multiplies by B is ours, and so is
    that what runs alone is no superposition. The code's convolutions in NAS-Bench-201 have biases,
    ours have none.

    Fused execution runs the one operation with the superposed kernels in place of its parameters.
    It is as large as the smallest candidate that holds those that run, and observed by its name.

    Args:
        kind_weight (str): ``'sum'``, or ``'one'`` where several candidates of a kind run. Defaults
            to ``'sum'``.
        candidates, *args, **kwargs: See :class:`MixedOp`.

    Raises:
        UserError: None of an edge's candidates of a kind holds the others, or ``kind_weight`` is
            something else.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        *args: Any,
        kind_weight: Literal['sum', 'one'] = 'sum',
        **kwargs: Any,
    ) -> None:
        if kind_weight not in ('sum', 'one'):
            raise UserError(f"kind_weight must be 'sum' or 'one', but is {kind_weight!r}")
        super().__init__(candidates, *args, **kwargs)
        self.kind_weight = kind_weight
        self._ways: dict[Any, _Way] = {}
        # of each operation that shares: the one whose parameters it takes, and its sizes
        self.shared: dict[str, tuple[str, tuple[int, ...]]] = {}
        for names, slots in zip(self.candidates, self.slots, strict=True):
            for place, (name, (owner, row)) in enumerate(zip(names, slots, strict=True)):
                if name != owner:
                    key = f'{name}_of_{owner}'
                    slots[place] = (key, row)
                    self.shared[owner] = (owner, kind_of(owner)[1])
                    self.shared[key] = (owner, kind_of(name)[1])
                    if key not in self.operations:
                        parts = self.build(name, PartLayers(self.operations[owner]))
                        self.operations[key] = parts
                        self.fused_candidates[key] = find_candidate(parts)
        if not self.shared:
            tell_once(
                'EntangledMixedOp: where no two candidates of an edge are of one kind (sep_conv, '
                'dil_conv, nor_conv, mbconv), nothing is shared'
            )
        self.superpositions = nn.ModuleDict()
        for key in self.shared:
            parts = self.parts_of(key)
            if len(parts) > 1:
                self.superpositions[key] = Superposition([self.operations[one] for one in parts])

    def owners(self, names: Sequence[str]) -> list[str]:
        """See :meth:`MixedOp.owners`."""
        kinds: dict[str, dict[tuple[int, ...], str]] = {}
        for name in names:
            kind, sizes = kind_of(name) or (name, ())
            kinds.setdefault(kind, {})[sizes] = name
        owners = {}
        for sized in kinds.values():
            largest = tuple(map(max, zip(*sized, strict=True)))
            if largest not in sized:
                raise UserError(
                    f'EntangledMixedOp: none of {", ".join(sized.values())} holds the others; of '
                    'the candidates of a kind on an edge, one must'
                )
            owners.update(dict.fromkeys(sized.values(), sized[largest]))
        return [owners[name] for name in names]

    def parts_of(self, key: str) -> list[str]:
        """The operations that are parts of one: itself first."""
        owner, sizes = self.shared[key]
        others = [
            one
            for one, (whole, small) in self.shared.items()
            if whole == owner and one != key and holds(sizes, small)
        ]
        return [key, *others]

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`."""
        way = keep(self._ways, mixing.active, partial(_Way, self))
        if not way.groups:
            return super().forward_edges(x, mixing, into)
        with precision.no_autocast(x.device.type):
            weights, shares = way(mixing.weights, self.kind_weight == 'sum')
            given = {
                key: self.superpositions[key](self.operations[key], share)
                for key, share in shares.items()
            }
        mixing = mixing._replace(weights=weights, active=way.active)
        return super().forward_edges(x, mixing, into, given)

    def kinds_of(self, edge: int, places: Sequence[int]) -> list[list[int]]:
        """Of some candidates of an edge, those of each kind of which there are several."""
        kinds: dict[str, list[int]] = {}
        for place in places:
            key = self.slots[edge][place][0]
            if key in self.shared:
                kinds.setdefault(self.shared[key][0], []).append(place)
        return [own for own in kinds.values() if len(own) > 1]

    def smallest(self, edge: int, places: Sequence[int]) -> int:
        """The place of the smallest candidate of an edge that holds those of one kind."""
        sizes = {
            place: self.shared[key]
            for place, (key, _) in enumerate(self.slots[edge])
            if key in self.shared
        }
        (owner,) = {sizes[place][0] for place in places}
        fitting = [
            (size, place)
            for place, (one, size) in sizes.items()
            if one == owner and all(holds(size, sizes[other][1]) for other in places)
        ]
        return min(fitting)[1]

    def entries(self, edge: int, place: int) -> Iterator[tuple[str, str, Place]]:
        """See :meth:`MixedOp.entries`: of the smaller ones, parts of what the largest has."""
        key, (owner, row) = self.slots[edge][place][0], self.homes[edge][place]
        if owner == key:
            yield from super().entries(edge, place)
            return
        for name in self.operations[owner].state_dict():
            layer = self.operations[key].get_submodule(name.rpartition('.')[0])
            yield name, f'operations.{owner}.{name}', (row, *layer.part)


class _Way:
    """Which operations run where some candidates do, and with what shares of their parts.

    Args:
        mixed (EntangledMixedOp): Of all edges.
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run. Defaults
            to all.

    Attributes:
        groups (int): How many times several candidates of a kind run on an edge.
        active (list[list[int]]): The operations of each edge that run then, by the place of the
            candidate.
    """

    def __init__(
        self, mixed: EntangledMixedOp, active: Sequence[Sequence[int]] | None = None
    ) -> None:
        sizes = [len(slots) for slots in mixed.slots]
        starts = list(itertools.accumulate([0, *sizes]))
        self.active: list[list[int]] = []
        chosen: list[int] = []  # places of the candidates that are superposed
        group: list[int] = []  # the group of each
        order = list(range(starts[-1]))  # of weights, totals of the groups, and 0 at -1
        rows: dict[str, dict[int, dict[str, int]]] = {}  # operation -> row -> part -> in chosen
        self.groups = 0
        for edge, (slots, start) in enumerate(zip(mixed.slots, starts, strict=False)):
            runs = set(range(len(slots)) if active is None else active[edge])
            for own in mixed.kinds_of(edge, sorted(runs)):
                runner = mixed.smallest(edge, own)
                key, row = slots[runner]
                parts = rows.setdefault(key, {}).setdefault(row, {})
                for place in own:
                    parts[slots[place][0]] = len(chosen)
                    chosen.append(start + place)
                    group.append(self.groups)
                    order[start + place] = -1
                if runner not in runs:  # its weight stays that of one that does not run
                    order[start + own[0]] = start + runner
                order[start + runner] = starts[-1] + self.groups
                runs = runs.difference(own) | {runner}
                self.groups += 1
            self.active.append(sorted(runs))
        self._chosen, self._group, self._order = Index(chosen), Index(group), Index(order)
        self._counts = Index([group.count(one) for one in group])
        # of each operation that is a superposition: [rows, parts] of what is chosen, 1 and 0
        self._shares: dict[str, Index] = {}
        for key, found in rows.items():
            names = mixed.parts_of(key)
            alone = {key: -2}
            self._shares[key] = Index(
                [
                    [found.get(row, alone).get(one, -1) for one in names]
                    for row in range(mixed.superpositions[key].rows)
                ]
            )

    def __call__(self, beta: Tensor, by_sum: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights of what runs, and the shares of each superposition, [rows, parts].

        Args:
            beta (Tensor): The mixing weights of all candidates, [T].
            by_sum (bool): Whether a superposition has the sum of its candidates' weights, or 1.
        """
        device = beta.device
        chosen, group = beta[self._chosen.on(device)], self._group.on(device)
        totals = beta.new_zeros(self.groups).index_add(0, group, chosen)
        whole = totals[group]
        none = whole == 0
        equal = self._counts.on(device).to(beta).reciprocal()
        shares = torch.where(none, equal, chosen / torch.where(none, torch.ones_like(whole), whole))
        one, zero = beta.new_ones(1), beta.new_zeros(1)
        ends = torch.cat([shares, one, zero])
        weights = torch.cat([beta, totals if by_sum else torch.ones_like(totals), zero])
        return weights[self._order.on(device)], {
            key: ends[index.on(device)] for key, index in self._shares.items()
        }
