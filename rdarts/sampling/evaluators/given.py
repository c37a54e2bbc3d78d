"""An evaluator that is an object of the program: a config holds none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace
from rdarts.utils.given_objects import GivenObjects

if TYPE_CHECKING:
    from mmengine.config import Config

_given = GivenObjects('evaluator')
give = _given.give  # within, dict(type='rdarts.GivenEvaluator', name=name) is an evaluator


class Called(Evaluator):
    """Answers with what a function returns.

    Args:
        function (Callable): From a genotype to a :class:`Result`, or to its value, a number.
    """

    def __init__(self, function: Callable[[Genotype], Result | float]) -> None:
        self.function = function

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: The function returned no number.
        """
        answer = self.function(genotype)
        if isinstance(answer, Result):
            return answer
        try:
            return Result(float(answer))
        except (TypeError, ValueError):
            raise UserError(
                f'evaluator: a number or a Result is wanted of {genotype.to_string()}, but '
                f'{type(answer).__name__} was returned'
            ) from None


@EVALUATORS.register_module()
class GivenEvaluator(Evaluator):
    """The evaluator that ``give`` has given a name.

    Args:
        name (str): That.

    Raises:
        UserError: There is none: the config is that of a search by ``rdarts.apis.search``.
    """

    def __init__(self, name: str) -> None:
        self.evaluator = _given.find(name)
        self.of_whole_set = self.evaluator.of_whole_set
        self.known_costs = self.evaluator.known_costs

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`."""
        self.evaluator.prepare(space, seed, cfg)

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`: numbers of any kind are floats.

        Raises:
            UserError: What is answered is no :class:`Result` of numbers.
        """
        answer = self.evaluator(genotype)
        try:
            return Result(float(answer.value), _floats(answer.costs), _floats(answer.parts))
        except (AttributeError, TypeError, ValueError):
            raise UserError(
                f'evaluator: a Result of numbers is wanted of {genotype.to_string()}, but '
                f'{answer!r} was returned'
            ) from None

    def go_on(self, results: Sequence[Result]) -> None:
        """See :meth:`Evaluator.go_on`."""
        self.evaluator.go_on(results)

    def settle(self, results: Sequence[Result]) -> list[float]:
        """See :meth:`Evaluator.settle`."""
        return self.evaluator.settle(results)


def _floats(numbers: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(number) for name, number in numbers.items()}
