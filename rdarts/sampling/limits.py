"""What genotypes may cost: strategies propose nothing that costs more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdarts.configuration.declarations import AboveZero, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype, form_named
from rdarts.sampling.derived import DerivedNetworks
from rdarts.search_spaces import SearchSpace
from rdarts.search_spaces.costs import CONDITIONS, CostTable

if TYPE_CHECKING:
    from mmengine.config import Config

DESCENT = 300  # mutations by which a network that is cheap enough is looked for


class Limits:
    """Says whether a genotype costs at most so much, as ``Strategy.restrict`` takes it.

    Multiply-adds and parameters are those of the network that the genotype derives, with the sizes
    of the config's supernet. The latency is the sum of what the space's cost table says of its
    operations, in ms, as ``tools/benchmarks/cost_table.py`` measures them.

    Args:
        macs (float, optional): Multiply-adds of one image. Defaults to none.
        params (float, optional): Parameters, the classifier's included. Defaults to none.
        latency (float, optional): In ms. Defaults to none.

    Raises:
        UserError: One is no number above 0, or there is none.
    """

    def __init__(
        self,
        macs: AboveZero | None = None,
        params: AboveZero | None = None,
        latency: AboveZero | None = None,
    ) -> None:
        given = dict(macs=macs, params=params, latency=latency)
        check_arguments(self, **given)
        self.most = {name: limit for name, limit in given.items() if limit is not None}
        if not self.most:
            raise UserError('limits need one of macs, params and latency')

    def prepare(self, space: SearchSpace, cfg: Config | None) -> None:
        """Take what is searched, and make sure that there is a network within the limits.

        Args:
            space (SearchSpace): The space.
            cfg (Config): Of the search: see :class:`DerivedNetworks`.

        Raises:
            UserError: No network is within them; the line names the least that was found. Or the
                space has no cost table in ms or that of another supernet, or the config no supernet
                of the space.
        """
        self.space = space
        self.networks = DerivedNetworks(cfg, space, 0)
        if 'latency' in self.most:
            unit = space.costs.unit if isinstance(space.costs, CostTable) else None
            if unit != 'ms':
                raise UserError(
                    f"limits.latency needs a cost table of the space '{space.name}' in ms, but "
                    f'{"there is none" if unit is None else f"it is in {unit!r}"}: measure one by '
                    'tools/benchmarks/cost_table.py --what latency, and name it in '
                    'model.backbone.space.costs'
                )
            sizes = dict(self.networks.sizes, shape=list(self.networks.image_shape))
            space.costs.check(**{key: sizes[key] for key in CONDITIONS if key in sizes})
        self._known: dict[str, dict[str, float]] = {}
        self._look_for_one()

    def __call__(self, genotype: Genotype) -> bool:
        """Whether a genotype is within the limits."""
        return self._excess(genotype) <= 1

    def costs(self, genotype: Genotype) -> dict[str, float]:
        """What is limited of a genotype, by name."""
        text = genotype.to_string()
        if text not in self._known:
            found = {}
            if set(self.most) != {'latency'}:
                found.update(self.networks.costs(genotype))
            if 'latency' in self.most:
                found['latency'] = self._latency(genotype)
            self._known[text] = {name: found[name] for name in self.most}
        return self._known[text]

    def _latency(self, genotype: Genotype) -> float:
        costs = self.space.costs
        return sum(
            cost
            for cell, kept in genotype.encode(self.space).items()
            for row, bits in zip(costs[cell], kept, strict=True)
            for cost, bit in zip(row, bits, strict=True)
            if bit
        )

    def _excess(self, genotype: Genotype) -> float:
        """The largest share of a limit that a genotype takes."""
        costs = self.costs(genotype)
        return max(costs[name] / limit for name, limit in self.most.items())

    def _look_for_one(self) -> None:
        """Mutate a random genotype towards the limits until it is within them.

        Raises:
            UserError: It does not come there.
        """
        generator = np.random.default_rng(0)  # nothing of the search's own is drawn
        best = form_named(self.space.genotype).random(self.space, generator)
        for _ in range(DESCENT):
            if self(best):
                return
            other = best.mutated(self.space, generator)
            best = min(best, other, key=self._excess)
        if self(best):
            return
        costs = self.costs(best)
        over = [name for name, limit in self.most.items() if costs[name] > limit]
        found = ' and '.join(
            f'{name} {_number(costs[name])}, but limits.{name} is {_number(self.most[name])}'
            for name in over
        )
        raise UserError(
            f"no network of '{self.space.name}' is within the limits: the least found has {found}"
        )


def _number(value: float) -> str:
    return f'{value:,.0f}' if value >= 1000 else f'{value:g}'
