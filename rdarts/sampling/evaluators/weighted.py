"""Accuracy and cost in one number (MnasNet, https://arxiv.org/abs/1807.11626, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from rdarts.configuration.declarations import AboveZero, Component, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS, build
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

UNWEIGHTED = 'unweighted'  # the part of an answer that holds what the evaluator within answered


@EVALUATORS.register_module()
class Weighted(Evaluator):
    r"""The answer of another evaluator times a power of what the genotype costs.

    .. math:: v' = v \, (c / \text{reference})^w, \qquad
        w = \text{exponent_below where } c \le \text{reference, else exponent}

    MnasNet has w = -.07 on both sides for a reference of its latency that may be passed, or 0 below
    and -1 above it for one that hardly may. ProxylessNAS's search by REINFORCE
    (https://arxiv.org/abs/1812.00332) has -.1 on both sides: its code takes
    (reference / c)^.1, of accuracies in [0, 1], with a reference of 80 ms or 300 M FLOPs. The value
    keeps the unit of v. The costs and parts of the answer are handed on; the part ``unweighted``
    is v.

    Args:
        evaluator (str | dict | Evaluator): What answers.
        reference (float): The cost that does not change a value, in the cost's unit: multiply-adds,
            parameters, or ms.
        cost (str): Which of the costs counts. Defaults to ``'macs'``.
        exponent (float): Of costs above the reference; below 0, so that costs count against a
            genotype. Defaults to -.07.
        exponent_below (float, optional): Of costs below it. Defaults to the same.

    Raises:
        UserError: An argument is none of these, or the evaluator is known to give no such cost.
    """

    def __init__(
        self,
        evaluator: Annotated[str | Mapping[str, Any] | Evaluator, Component('EVALUATORS')],
        reference: AboveZero,
        cost: str = 'macs',
        exponent: float = -0.07,
        exponent_below: float | None = None,
    ) -> None:
        check_arguments(
            self,
            reference=reference,
            cost=cost,
            exponent=exponent,
            exponent_below=exponent_below,
        )
        self.evaluator: Evaluator = build(evaluator, EVALUATORS)
        self.reference, self.cost, self.exponent = reference, cost, exponent
        self.exponent_below = exponent if exponent_below is None else exponent_below
        self.of_whole_set = self.evaluator.of_whole_set
        self.known_costs = self.evaluator.known_costs
        self.check_cost(cost)

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`."""
        super().prepare(space, seed, cfg)
        self.evaluator.prepare(space, seed, cfg)

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: The evaluator gives no such cost, or a value below 0, which a factor does not
                make worse; or the cost is 0.
        """
        result = self.evaluator(genotype)
        weighted = self._weighted(result.value, result)
        return Result(weighted, result.costs, {**result.parts, UNWEIGHTED: result.value})

    def go_on(self, results: Sequence[Result]) -> None:
        """See :meth:`Evaluator.go_on`."""
        self.evaluator.go_on([_within(result) for result in results])

    def settle(self, results: Sequence[Result]) -> list[float]:
        """See :meth:`Evaluator.settle`."""
        values = self.evaluator.settle([_within(result) for result in results])
        return [
            Result(self._weighted(value, result)).rank
            for value, result in zip(values, results, strict=True)
        ]

    def _weighted(self, value: float, result: Result) -> float:
        cost = result.cost(self.cost)
        if not math.isfinite(value):
            return value
        if value < 0 or cost <= 0:
            raise UserError(
                f'Weighted: a value of {value:.6g} at a cost of {cost:.6g} cannot be weighed by a '
                'power of the cost: a value must be at least 0, a cost above it'
            )
        ratio = cost / self.reference
        return value * ratio ** (self.exponent if ratio > 1 else self.exponent_below)


def _within(result: Result) -> Result:
    """What the evaluator within answered."""
    parts = dict(result.parts)
    return Result(parts.pop(UNWEIGHTED), result.costs, parts)
