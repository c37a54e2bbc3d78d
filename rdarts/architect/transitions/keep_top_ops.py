"""The strongest candidates of each edge go on (P-DARTS, https://arxiv.org/abs/1904.12760)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import MinLen

from rdarts.architect.transitions.base import Beginning, Ended, Transition
from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.operations import check_operations
from rdarts.registry import TRANSITIONS
from rdarts.utils.wording import plural


@TRANSITIONS.register_module()
class KeepTopOps(Transition):
    """On each edge the ``keep`` candidates that weighed most in the phase before stay.

    Those that were alive are ranked by the weights that the phase's relaxation expects of alpha (of
    a softmax, the order of alpha), the first of a tie before the others; what stays keeps its place
    in the list. ``none`` competes like any other candidate, as P-DARTS's code has it.

    Args:
        keep (int): How many of each edge.
        leave_out (Sequence[str]): Candidates that go in any case, before the others are ranked; of
            an edge that has one, fewer than ``keep`` may be left. Defaults to none.

    Raises:
        UserError: ``keep`` is no positive integer, or no operation has a name of ``leave_out``.
    """

    def __init__(self, keep: Positive, leave_out: Annotated[Sequence[str], MinLen(0)] = ()) -> None:
        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
            raise UserError(f'KeepTopOps: keep must be a positive integer, but is {keep!r}')
        check_operations(leave_out, 'leave_out of KeepTopOps')
        self.keep, self.leave_out = keep, frozenset(leave_out)

    def __call__(self, new: Beginning, last: Ended) -> None:
        """See :meth:`Transition.__call__`.

        Raises:
            UserError: Of an edge fewer than ``keep`` candidates are alive, or all of them would go.
        """
        weights, owner = last.owner.expected_weights(), new.owner
        space = owner.space
        for cell, alive in owner.alive.items():
            slots = space.slots(cell)
            for index, (edge, flags) in enumerate(zip(space.cells[cell].edges, alive, strict=True)):
                names = [n for n, flag in zip(edge.candidates, flags, strict=True) if flag]
                where = f"cell '{cell}', edge {edge.source} -> {edge.target}"
                if len(names) < self.keep:
                    raise UserError(
                        f'KeepTopOps: keep={self.keep}, but {plural(len(names), "candidate")} '
                        f'of {where} {"is" if len(names) == 1 else "are"} alive: keep no more'
                    )
                group, row = slots[index]
                weight = dict(zip(edge.candidates, weights[group][row].tolist(), strict=True))
                ranked = sorted(names, key=lambda name: -weight[name])
                kept = [name for name in ranked if name not in self.leave_out][: self.keep]
                if not kept:
                    raise UserError(
                        f'KeepTopOps: leave_out has all candidates of {where} that are alive: '
                        f'{", ".join(names)}'
                    )
                gone = [name for name in names if name not in kept]
                if gone:
                    owner.prune(cell, index, gone)
