"""Networks within limits: which sizes a cell can have, and whether any network is cheap enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rdarts.auto.amounts import count_words
from rdarts.auto.configs import named_sizes
from rdarts.auto.sizes import AutoSpace
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.measure.cost_table import CostSettings, cost_table
from rdarts.sampling.limits import Limits
from rdarts.search_spaces import SearchSpace, build_space

OPTIONS = dict(macs='--max-macs', params='--max-params', latency='--max-latency')
Sizes = Mapping[str, int]


class SizeLimits:
    """Says which of a space's sizes a cell can have.

    A latency is the sum of what each operation of the cell takes by itself on this machine, one
    image at a time, by a table for these sizes (see :mod:`rdarts.measure.cost_table`).

    Args:
        space (AutoSpace): The space.
        config (Path): The config of its search, for images, classes and stem.
        most (dict): ``macs``, ``params`` and ``latency`` (ms), those that are limited.
    """

    def __init__(self, space: AutoSpace, config: Path, most: Mapping[str, float]) -> None:
        self.space, self.config, self.most = space, config, dict(most)
        self._known: dict[str, tuple[Limits, SearchSpace]] = {}

    def check(self) -> None:
        """Make sure that some network is within the limits.

        Raises:
            UserError: None is; the line names the least that there is.
        """
        if self.most:
            self._limits(self.space.sizes[0])

    def within(self, genotype: Genotype) -> list[Sizes]:
        """The sizes with which a cell is within the limits, the smallest first."""
        if not self.most:
            return list(self.space.sizes)
        found = []
        for sizes in self.space.sizes:
            try:
                limits, _ = self._limits(sizes)
            except UserError:
                if sizes is self.space.sizes[0]:
                    raise
                break  # no cell is within them any more
            if not limits(genotype):
                break  # the next ones cost more
            found.append(sizes)
        return found

    def costs(self, genotype: Genotype, sizes: Sizes) -> dict[str, float]:
        """What is limited of a network, by name."""
        return self._limits(sizes)[0].costs(genotype) if self.most else {}

    def thinned(self, genotype: Genotype) -> Genotype:
        """A cell within the limits at the smallest sizes: operation by operation made cheaper.

        Raises:
            UserError: Cheaper operations alone do not lead there.
        """
        limits, space = self._limits(self.space.sizes[0])

        def excess(one: Genotype) -> float:
            costs = limits.costs(one)
            return max(costs[name] / limit for name, limit in self.most.items())

        while not limits(genotype):
            cheaper = min(genotype.neighbours(space), key=excess)
            if excess(cheaper) >= excess(genotype):
                raise UserError(self._too_low(limits.costs(genotype)))
            genotype = cheaper
        return genotype

    def _limits(self, sizes: Sizes) -> tuple[Limits, SearchSpace]:
        key = named_sizes(sizes)
        if key not in self._known:
            cfg = load_config(self.config)
            cfg.model.backbone.update(sizes, space=self.space.name)
            space = build_space(self.space.name)
            if 'latency' in self.most:
                table = cost_table(cfg, str(self.config), CostSettings())
                space = build_space(dict(type=self.space.name, costs=table.data))
            limits = Limits(**self.most)
            try:
                limits.prepare(space, cfg)
            except UserError as error:
                line = str(error)
                for name, option in OPTIONS.items():
                    line = line.replace(f'limits.{name}', option)
                raise UserError(line) from None
            self._known[key] = limits, space
        return self._known[key]

    def _too_low(self, costs: Mapping[str, float]) -> str:
        over = [
            f'{OPTIONS[name]} is {count_words(limit)}, but the least that a network has is '
            f'{count_words(costs[name])}'
            for name, limit in self.most.items()
            if costs[name] > limit
        ]
        return f'no network is within the limits: {" and ".join(over)}'
