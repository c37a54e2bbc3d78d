"""The best operation of each kind stays: DOTS (https://arxiv.org/abs/2010.00969)."""

from __future__ import annotations

from rdarts.architect.transitions.base import Beginning, Ended, Transition
from rdarts.errors import UserError
from rdarts.registry import TRANSITIONS


@TRANSITIONS.register_module()
class KeepByGroup(Transition):
    """Of each edge the best parameter-free candidate and the best of the others stay.

    The best has the largest weight that the ended phase's relaxation expects, of a tie the first;
    ``none`` is one of the parameter-free candidates, as published. An edge that has candidates of
    one kind only keeps one of them: what it does is then decided.
    """

    def __call__(self, new: Beginning, last: Ended) -> None:
        """See :meth:`Transition.__call__`.

        Raises:
            UserError: No edge has candidates of both kinds.
        """
        space, alive = last.owner.space, last.owner.alive
        weights, both = last.owner.expected_weights(), False
        for cell, topology in space.cells.items():
            for index, (name, row) in enumerate(space.slots(cell)):
                names, flags = topology.edges[index].candidates, alive[cell][index]
                beta = weights[name][row].tolist()
                kinds = [
                    [place for place in places if flags[place]] for places in space.by_kind(names)
                ]
                kept = [max(places, key=beta.__getitem__) for places in kinds if places]
                both |= len(kept) > 1
                gone = [one for place, one in enumerate(names) if place not in kept]
                new.owner.prune(cell, index, gone)
        if not both:
            raise UserError(
                f"KeepByGroup: in the space '{space.name}' no edge has candidates both with "
                "parameters and without: use 'rdarts.KeepTopOps'"
            )
