"""Rows of stacked parameters that a step of the weights leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rdarts.models.layers import EdgeCopies
from rdarts.models.mixed_ops.mixed_op import MixedOp

Held = Iterable[tuple[nn.Parameter, Sequence[int]]]
"""Parameters, such as those stacked over edges, [edges, ...], and their rows."""


class HeldRows:
    """Holds rows over a step: no gradient, momentum or decay moves them or their momentum.

    An optimizer passes over a parameter without a gradient, but not over a row of one. Momentum of
    a row that never learned is 0, as if it were there from the start. A number of steps that an
    optimizer counts (Adam) is that of the whole parameter.

    Args:
        optimizer (Optimizer): Of the weights.
        gradients_alone (bool): Whether momentum and decay go on. Defaults to False.
    """

    def __init__(self, optimizer: Optimizer, gradients_alone: bool = False) -> None:
        self.optimizer, self.gradients_alone = optimizer, gradients_alone
        self._kept: list[tuple[nn.Parameter, Tensor, Tensor, dict[str, Tensor]]] = []
        self._indices: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    def hold(self, held: Held) -> None:
        """Before the step, and before gradients are clipped.

        Args:
            held (Held): Which rows. A parameter without a gradient is passed over.
        """
        for parameter, rows in held:
            if parameter.grad is None or not rows:
                continue
            index = self._index(tuple(rows), parameter.device)
            parameter.grad.index_fill_(0, index, 0)
            if self.gradients_alone:
                continue
            state = {name: value.index_select(0, index) for name, value in self._state(parameter)}
            value = parameter.detach().index_select(0, index)
            self._kept.append((parameter, index, value, state))

    def release(self) -> None:
        """After the step: the rows are what they were."""
        for parameter, index, value, state in self._kept:
            parameter.detach().index_copy_(0, index, value)
            for name, now in self._state(parameter):
                if name in state:
                    now.index_copy_(0, index, state[name])
                else:
                    now.index_fill_(0, index, 0)
        self._kept = []

    def _state(self, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        """What the optimizer has for each row of a parameter."""
        for name, value in self.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                yield name, value

    def _index(self, rows: tuple[int, ...], device: torch.device) -> Tensor:
        """Rows on a device, where they are kept: each transfer waits for it."""
        key = (rows, device)
        if key not in self._indices:
            self._indices[key] = torch.tensor(rows, device=device)
        return self._indices[key]


class RestingCandidates:
    """Candidates that do not run in the weights' step stand still in it.

    Args:
        supernet (Module): Has the mixed operations.
        optimizer (Optimizer): Of the weights.
    """

    def __init__(self, supernet: nn.Module, optimizer: Optimizer) -> None:
        self._rows = HeldRows(optimizer)
        mixed = (one for one in supernet.modules() if isinstance(one, MixedOp))
        # of each forward since the last step
        self._ran: dict[MixedOp, list[Sequence[Sequence[int]] | None]] = {one: [] for one in mixed}

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Within, a forward is one of the weights' step."""
        for mixed, ran in self._ran.items():
            mixed.ran = ran
        try:
            yield
        finally:
            for mixed in self._ran:
                mixed.ran = None

    def hold(self) -> None:
        """Before gradients are clipped: see :meth:`HeldRows.hold`."""
        self._rows.hold(self._rested())

    def release(self) -> None:
        """After the step: see :meth:`HeldRows.release`."""
        self._rows.release()
        for ran in self._ran.values():
            ran.clear()

    def _rested(self) -> Held:
        for mixed, forwards in self._ran.items():
            if None in forwards:
                continue  # where all ran
            moved = {
                mixed.homes[edge][place]
                for active in forwards
                for edge, places in enumerate(active)
                for place in places
            }
            for name, operation in mixed.operations.items():
                if isinstance(operation, EdgeCopies):
                    continue  # an edge's own parameters, without a gradient where they did not run
                for parameter in operation.parameters():
                    rows = range(len(parameter))
                    yield parameter, [row for row in rows if (name, row) not in moved]
