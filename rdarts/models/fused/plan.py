"""Which candidates of the edges that leave a node run together, and where their rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from rdarts.models.fused.candidates.base import FusedCandidate
from rdarts.models.layers import StackedBatchNorm2d
from rdarts.utils import host

if TYPE_CHECKING:
    from rdarts.models.mixed_ops.mixed_op import MixedOp


@dataclass
class Part:
    """One candidate on the E edges of a node that run it.

    Args:
        name (str): Of the operation.
        candidate (FusedCandidate): How it runs.
        edges (list[int]): Edges of the node.
        places (list[int]): Place of each edge's mixing weight among those of all edges.
        chosen (list[int] | None): Rows of the stacked parameters, or None for all.
        is_extra (bool): Whether it is a term that another part's operation holds, such as its
            shortcut: the mixing weights are that one's.

    Attributes:
        rows (slice): Its rows, one an edge, among those of the plan.
        tensors (slice): Its parameters among those of the plan: ``own``, the candidate's, and then
            ``affine``, its last batch norm's.
        takes_all (bool): Whether its edges are all those of the node, in order.
        serves_beta (bool): Whether a backward needs y for the gradient of mixing weights alone.
        checked (set): Batch norms whose moments were looked at.
    """

    name: str
    candidate: FusedCandidate
    edges: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    chosen: list[int] | None = None
    is_extra: bool = False

    def __post_init__(self) -> None:
        self.rows = self.tensors = self.own = self.affine = slice(0)
        self.takes_all = False
        self.norm = self.candidate.norms[-1] if self.candidate.norms else None
        self.serves_beta = self.norm is None and not self.candidate.folds
        self.is_affine = self.norm is not None and self.norm.weight is not None
        self.num_own = len(self.candidate.parameters())
        self.checked: set[StackedBatchNorm2d] = set()
        self._index: dict[torch.device, Tensor] = {}

    @property
    def num_rows(self) -> int:
        """How many edges its tensors are stacked over."""
        if self.norm is not None:
            return self.norm.edges
        return next(map(len, self.stacked()), len(self.edges))

    def stacked(self) -> list[Tensor]:
        """The whole stacked parameters: the candidate's, then its last batch norm's."""
        affine = [self.norm.weight, self.norm.bias] if self.is_affine else []
        return [*self.candidate.parameters(), *affine]

    def parameters(self, given: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The same of the edges that run; or of what is given in their place."""
        found = self.stacked() if given is None else list(given)
        if self.chosen is None:
            return found
        return [tensor.index_select(0, self._rows(tensor.device)) for tensor in found]

    def _rows(self, device: torch.device) -> Tensor:
        """The rows that run, on a device, where they are kept."""
        if device not in self._index:
            index = host.send(self.chosen, device)
            if torch.compiler.is_compiling():  # what is traced must not leave its graph
                return index
            self._index[device] = index
        return self._index[device]


class Tables(NamedTuple):
    """What a plan has for each row, on a device.

    Args:
        places (Tensor): The place of its mixing weight, long. An extra term has that of its
            operation.
        edges (Tensor): Its edge, long.
        with_norm (Tensor): Whether a batch norm follows, [rows] in float64.
    """

    places: Tensor
    edges: Tensor
    with_norm: Tensor


class Plan:
    """How the edges of a mixed operation run together.

    Args:
        mixed (MixedOp): All edges that leave one node.
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run.
            Defaults to all.

    Attributes:
        parts (list[Part]): What runs fused; candidates that fold come last, as no image of them
            is among the terms. Those whose y the gradient of mixing weights alone asks for stand
            before them, as a backward without that gradient leaves theirs out.
        num_images (int): The rows that are images, not folded.
        num_kept (int): Those of them that a backward needs in any case.
        rest (list[tuple[int, int, str, int]]): What runs edge by edge: edge, place, operation,
            row.
    """

    def __init__(self, mixed: MixedOp, active: Sequence[Sequence[int]] | None = None) -> None:
        self.stride, self.channels = mixed.stride, mixed.out_channels
        self.num_edges = len(mixed.slots)
        parts: dict[str, Part] = {}
        self.rest: list[tuple[int, int, str, int]] = []
        place = 0
        for edge, slots in enumerate(mixed.slots):
            for index, (name, row) in enumerate(slots):
                if name != 'none' and (active is None or index in active[edge]):
                    candidate = mixed.fused_candidates[name]
                    if candidate is None:
                        self.rest.append((edge, place, name, row))
                    else:
                        part = parts.setdefault(name, Part(name, candidate, chosen=[]))
                        part.edges.append(edge)
                        part.places.append(place)
                        part.chosen.append(row)
                place += 1
        for part in parts.values():
            if part.chosen == list(range(part.num_rows)):
                part.chosen = None
        extras = [
            Part(part.name, candidate, part.edges, part.places, is_extra=True)
            for part in parts.values()
            for candidate in part.candidate.extras()
        ]
        self.parts = sorted(
            [*parts.values(), *extras], key=lambda part: (part.candidate.folds, part.serves_beta)
        )
        self.needs = sorted({need for part in self.parts for need in part.candidate.needs})
        self.unfused = sorted({name for _, _, name, _ in self.rest})
        row = tensor = 0
        for part in self.parts:
            ends = row + len(part.edges), tensor + len(part.stacked())
            part.rows, part.tensors = slice(row, ends[0]), slice(tensor, ends[1])
            middle = tensor + part.num_own
            part.own, part.affine = slice(tensor, middle), slice(middle, ends[1])
            part.takes_all = part.edges == list(range(self.num_edges))
            row, tensor = ends
        self.edge_of = [edge for part in self.parts for edge in part.edges]
        images = [part for part in self.parts if not part.candidate.folds]
        self.num_images = sum(len(part.edges) for part in images)
        self.num_kept = sum(len(part.edges) for part in images if not part.serves_beta)
        self.has_shift = any(part.norm is not None for part in self.parts)
        self._tables: dict[torch.device, Tables] = {}

    @property
    def folds(self) -> bool:
        """Whether there are candidates that fold into a matrix."""
        return self.num_images < len(self.edge_of)

    def parameters(self, given: Mapping[str, Sequence[Tensor]] | None = None) -> list[Tensor]:
        """The parameters of all parts in order.

        Args:
            given (dict[str, Sequence[Tensor]], optional): See :meth:`MixedOp.forward_edges`.
        """
        given = given or {}
        return [
            tensor
            for part in self.parts
            for tensor in part.parameters(None if part.is_extra else given.get(part.name))
        ]

    def tables(self, device: torch.device) -> Tables:
        """What it has for each row, made once on each device."""
        if device in self._tables:
            return self._tables[device]
        places = [place for part in self.parts for place in part.places]
        normed = [float(part.norm is not None) for part in self.parts for _ in part.edges]
        tables = Tables(
            host.send(places, device, torch.long),
            host.send(self.edge_of, device, torch.long),
            host.send(normed, device, torch.float64),
        )
        if not torch.compiler.is_compiling():  # what is traced must not leave its graph
            self._tables[device] = tables
        return tables
