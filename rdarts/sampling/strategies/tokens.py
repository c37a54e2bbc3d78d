"""Genotypes as sequences of tokens, which recurrent networks read and write."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, form_named
from rdarts.search_spaces import SearchSpace


class Tokens:
    """One token for each choice of a genotype, in the order of the choices.

    The choices are those of :meth:`rdarts.genotypes.Genotype.choices`, but for those of a single
    way. Token 0 comes before the first, and stands where a choice makes no difference.

    Args:
        space (SearchSpace): The space.
        shared (bool): Whether choices of equally many ways have the same tokens, so that an
            operation is one token on whatever edge. Defaults to False: each choice has its own.

    Attributes:
        ways (list[int]): How many ways each choice of the sequence has.
        first (list[int]): The token of the first way of each of them; the others follow.
        count (int): How many tokens there are, 0 included.
        valid (Tensor): Bool [choices, tokens], True for the ways of a choice.

    Raises:
        UserError: The space has a single genotype.
    """

    def __init__(self, space: SearchSpace, shared: bool = False) -> None:
        self.space, self._form = space, form_named(space.genotype)
        ways = self._form.choices(space)
        self._at = [place for place, count in enumerate(ways) if count > 1]
        self._places = len(ways)
        self.ways = [ways[place] for place in self._at]
        if not self.ways:
            raise UserError(
                f"'{space.name}' has a single genotype, of which a network can learn nothing: a "
                'space needs an edge of two candidates or more'
            )
        self.first, self.count = [], 1
        of_ways: dict[int, int] = {}
        for count in self.ways:
            known = of_ways.get(count) if shared else None
            self.first.append(self.count if known is None else known)
            if known is None:
                of_ways[count] = self.count
                self.count += count
        self.valid = torch.zeros(len(self.ways), self.count, dtype=torch.bool)
        for row, first, count in zip(self.valid, self.first, self.ways, strict=True):
            row[first : first + count] = True

    def __len__(self) -> int:
        return len(self.ways)

    def of(self, genotypes: Sequence[Genotype]) -> Tensor:
        """The tokens of genotypes.

        Args:
            genotypes (Sequence[Genotype]): Of the space.

        Returns:
            Tensor: Int64 [genotypes, choices].

        Raises:
            UserError: One is none that choices give.
        """
        rows = []
        for genotype in genotypes:
            chosen = genotype.chosen(self.space)
            picked = zip(self.first, (chosen[place] for place in self._at), strict=True)
            rows.append([0 if way is None else first + way for first, way in picked])
        return torch.tensor(rows).reshape(len(rows), len(self))

    def genotype(self, tokens: Sequence[int]) -> Genotype:
        """The genotype of one token for each choice, each of them one of its :attr:`valid`."""
        ways = [0] * self._places
        for place, first, token in zip(self._at, self.first, tokens, strict=True):
            ways[place] = token - first
        return self._form.of_choices(self.space, ways)
