"""The rules of FairDARTS (https://arxiv.org/abs/1911.12126)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from rdarts.architect.discretizers.base import Discretizer, Kept, cells_of
from rdarts.configuration.declarations import Inside, Positive
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace


@DISCRETIZERS.register_module()
class Threshold(Discretizer):
    """What weighs at least a threshold is kept: a node may have fewer inputs than ``k``, or none.

    ``by='node'``: of each node the ``k`` edges whose best candidate other than ``none`` weighs
    most, and of these those that reach the threshold, by weight. ``by='edge'``: of each edge up to
    ``k`` candidates that reach it, the lesser first.

    Args:
        threshold (float): Between 0 and 1. Defaults to .85.
        k (int): Defaults to 2.
        by (str): ``'node'`` or ``'edge'``. Defaults to ``'node'``, as published.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self, threshold: Inside = 0.85, k: Positive = 2, by: Literal['node', 'edge'] = 'node'
    ) -> None:
        number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
        if not number or not 0 < threshold < 1:
            raise UserError(f'threshold must be between 0 and 1, but is {threshold!r}')
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise UserError(f'Threshold: k must be a positive integer, but is {k!r}')
        if by not in ('node', 'edge'):
            raise UserError(f"Threshold: by must be 'node' or 'edge', but is {by!r}")
        self.threshold, self.k, self.by = threshold, k, by

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """See :meth:`Discretizer.__call__`.

        Raises:
            UserError: The space is no space of cells.
        """

        def keep(cell: str, node: int, into: list) -> Kept:
            found: list[tuple[float, str, int]] = []
            for _, edge, choices in into:
                # of a tie the earlier is the better
                ranked = sorted(choices, key=lambda choice: -choice[0])
                best = ranked[: self.k if self.by == 'edge' else 1]
                found += [(beta, name, edge.source) for beta, name in reversed(best)]
            if self.by == 'node':
                found = sorted(found, key=lambda item: -item[0])[: self.k]
            return [item for item in found if item[0] >= self.threshold]

        return cells_of(space, self.expected(arch_parameters, space), 'Threshold', keep)
