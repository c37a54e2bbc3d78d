"""What every strategy is: it proposes genotypes, and is told what each of them reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, form_named, from_dict
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

REDRAWS = 100  # after so many that are known already, one may come twice: the space is tiny
DRAWS = 1000  # after so many that are not allowed, it is said that there may be none


class Strategy:
    """Proposes one genotype after the other.

    A subclass is registered in ``STRATEGIES``, takes its options in ``__init__``, and overrides
    :meth:`ask`, and what else it needs. It draws from ``self.generator`` alone, whose state a
    search keeps. What it proposes is answered before it is asked again. It proposes what
    is allowed alone: :meth:`random`, :meth:`mutated`, :meth:`neighbours` and :meth:`drawn` see to
    that.

    Attributes:
        space (SearchSpace): What is searched.
        form (type[Genotype]): Of its genotypes.
        generator (np.random.Generator): Of all that is drawn.
        second_goal (str, optional): Which of the costs is to be small, beside a large value; then
            what no genotype beats in both is kept beside the best. Defaults to none.
        long_after (int, optional): After how many queries it computes for long, once, which a dry
            run does not wait for. Defaults to none.
    """

    second_goal: str | None = None
    long_after: int | None = None
    _allowed: Callable[[Genotype], bool] | None = None

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """Take what is searched.

        Args:
            space (SearchSpace): The space.
            generator (np.random.Generator): Of all that is drawn.
            cfg (Config, optional): That of the search, as evaluators are given it. Defaults to
                none, which is enough where no network is looked at.

        Raises:
            UserError: The strategy does not fit the space.
        """
        self.space, self.generator = space, generator
        self.form = form_named(space.genotype)

    def restrict(self, allowed: Callable[[Genotype], bool]) -> None:
        """Propose nothing else than what is allowed; called before :meth:`prepare`.

        Args:
            allowed (Callable): From a genotype to whether it may be proposed.
        """
        self._allowed = allowed

    def allows(self, genotype: Genotype) -> bool:
        """Whether a genotype may be proposed: any, unless :meth:`restrict` said otherwise."""
        return self._allowed is None or self._allowed(genotype)

    def drawn(self, draw: Callable[[], Genotype]) -> Genotype:
        """The first of some draws that is allowed.

        Args:
            draw (Callable): Gives another genotype each time.

        Raises:
            UserError: None of 1,000 is.
        """
        for _ in range(DRAWS):
            genotype = draw()
            if self.allows(genotype):
                return genotype
        raise UserError(
            f'{type(self).__name__}: none of {DRAWS} genotypes drawn in a row is within the '
            'limits: raise them'
        )

    def unknown(self, draw: Callable[[], Genotype], known: Collection[str]) -> Genotype:
        """The first of some draws that is allowed and not known; after 100 of them, a known one.

        Args:
            draw (Callable): Gives another genotype each time.
            known (Collection[str]): Texts of genotypes.

        Raises:
            UserError: See :meth:`drawn`.
        """
        for _ in range(REDRAWS):
            genotype = self.drawn(draw)
            if genotype.to_string() not in known:
                break
        return genotype

    def random(self) -> Genotype:
        """A random genotype of the space's form, see :meth:`rdarts.genotypes.Genotype.random`."""
        return self.drawn(lambda: self.form.random(self.space, self.generator))

    def mutated(self, genotype: Genotype) -> Genotype:
        """See :meth:`rdarts.genotypes.Genotype.mutated`."""
        return self.drawn(lambda: genotype.mutated(self.space, self.generator))

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Those of :meth:`rdarts.genotypes.Genotype.neighbours` that are allowed."""
        return [one for one in genotype.neighbours(self.space) if self.allows(one)]

    def still_allowed(self, genotypes: Iterable[Mapping[str, Any]]) -> list[Genotype]:
        """Those of a state's genotypes that may be proposed: limits may be lower than before.

        Args:
            genotypes (Iterable[Mapping]): As :meth:`rdarts.genotypes.Genotype.to_dict` gives them.

        Raises:
            UserError: One is of another space.
        """
        return [*filter(self.allows, (from_dict(one).validate(self.space) for one in genotypes))]

    def ask(self) -> Genotype:
        """The next genotype that is to be evaluated."""
        raise TypeError(f'{type(self).__name__} does not override ask')

    def tell(self, genotype: Genotype, result: Result) -> None:
        """What the genotype that was asked for last reaches.

        Args:
            genotype (Genotype): That.
            result (Result): What an evaluator answered.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed search needs, as plain data; that of the generator is not in it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, after :meth:`prepare`.

        Here it is seen alone that the state has what the strategy writes.

        Raises:
            UserError: It is of another strategy or space.
        """
        needed = self.state_dict()
        if set(state) != set(needed):
            raise UserError(
                f'{type(self).__name__}: the state to go on from holds {sorted(state)}, but needs '
                f'{sorted(needed)}: it is of another strategy'
            )
