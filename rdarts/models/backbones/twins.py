"""What runs in place of a derived network's layers in fused execution, and which it may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rdarts.models.batch_norm import BatchNorm2d

STATISTICS = ('running_mean', 'running_var')


class Declined(Exception):
    """Layers that fused execution does not run; the text says why."""


class Twins:
    """Batch norms that run in place of others: one for one, or row by row of a stacked one."""

    def __init__(self) -> None:
        self._pairs: list[tuple[nn.Module, Sequence[BatchNorm2d]]] = []

    def add(self, norm: nn.Module, originals: Sequence[BatchNorm2d]) -> None:
        """Have ``norm`` stand for the originals, with statistics of their type.

        Raises:
            Declined: These are no batch norms of ours, or are without what ours have.
        """
        settings = {(type(one), one.eps, one.momentum) for one in originals}
        first = originals[0]
        own = (first.weight, first.running_mean, first.momentum)
        if type(first) is not BatchNorm2d or len(settings) > 1 or any(one is None for one in own):
            raise Declined(f'{type(first).__name__} is not batch norm as derived networks have it')
        norm.eps, norm.momentum = first.eps, first.momentum
        for name in STATISTICS:
            whole = torch.ones_like(getattr(norm, name), device='cpu', dtype=first.weight.dtype)
            setattr(norm, name, whole)
        self._pairs.append((norm, originals))

    def mode(self) -> bool | None:
        """Whether all originals are in training, or none; None where that differs.

        Also None where one has other settings than its twin by now, such as the momentum that
        statistics are computed anew with.
        """
        modes = set()
        for norm, originals in self._pairs:
            for one in originals:
                if (one.eps, one.momentum) != (norm.eps, norm.momentum) or one.running_mean is None:
                    return None
                modes.add(one.training)
        return modes.pop() if len(modes) == 1 else None

    @contextmanager
    def standing_in(self, training: bool) -> Iterator[None]:
        """Within, they have the statistics of the originals, which training moves.

        Args:
            training (bool): Their mode.
        """
        rows, statistics = self._renewed(), self._statistics()
        torch._foreach_copy_(rows, statistics)
        for norm, _ in self._pairs:
            norm.training = training
        yield
        if training:
            torch._foreach_copy_(statistics, rows)
            counts = [one.num_batches_tracked for _, many in self._pairs for one in many]
            torch._foreach_add_(counts, 1)

    def _renewed(self) -> list[Tensor]:
        """What is to be each original's in new statistics of the twins: graphs keep the last."""
        rows = []
        for norm, originals in self._pairs:
            for name in STATISTICS:
                whole = torch.ones_like(getattr(norm, name))
                setattr(norm, name, whole)
                each = zip(whole.view(len(originals), -1), originals, strict=True)
                rows += [row[: original.num_features] for row, original in each]
        return rows

    def _statistics(self) -> list[Tensor]:
        """The originals' own, in the order of :meth:`_renewed`."""
        return [
            getattr(one, name)
            for _, originals in self._pairs
            for name in STATISTICS
            for one in originals
        ]
