"""What a search that asks is made of, as its config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from rdarts.errors import UserError
from rdarts.registry import EVALUATORS, STRATEGIES, build
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.limits import Limits
from rdarts.sampling.strategies import Strategy
from rdarts.search_spaces import SearchSpace, build_space


@dataclass(frozen=True)
class Parts:
    """What a search that asks is made of.

    Args:
        space (SearchSpace): The space.
        strategy (Strategy): Restricted to the config's limits.
        evaluator (Evaluator): The evaluator.
    """

    space: SearchSpace
    strategy: Strategy
    evaluator: Evaluator

    @classmethod
    def of(cls, cfg: Config) -> Parts:
        """Those of a config.

        Raises:
            UserError: One is missing or does not fit, or no network is within the limits.
        """
        budget = cfg.get('budget')
        if type(budget) is not int or budget < 1:
            raise UserError(f'budget must be a whole number of 1 or more, but is {budget!r}')
        if cfg.get('load_from') and not cfg.get('resume'):
            raise UserError(
                'load_from: a search that asks loads no weights itself: supernet=FILE names those '
                'that an evaluator inherits'
            )
        space = build_space(cfg.model.backbone.space)
        strategy = _part(cfg, 'strategy', STRATEGIES)
        evaluator = _part(cfg, 'evaluator', EVALUATORS)
        if strategy.second_goal is not None:
            try:
                evaluator.check_cost(strategy.second_goal)
            except UserError as error:
                raise UserError(f'strategy: {error}') from None
        given = {name: most for name, most in (cfg.get('limits') or {}).items() if most is not None}
        if given:
            limits = Limits(**given)
            limits.prepare(space, cfg)
            strategy.restrict(limits)
        return cls(space, strategy, evaluator)


def at_most(limits: Mapping[str, float | None]) -> str:
    """The limits of a config in a line."""
    return ', '.join(f'{name} {most:,g} at most' for name, most in limits.items() if most)


def _part(cfg: Config, key: str, registry: Any) -> Any:
    given = cfg.get(key)
    if given is None:
        raise UserError(
            f'{key} is missing: a search that asks needs one, such as {key}=dict(type=...)'
        )
    try:
        return build(given, registry)
    except UserError as error:
        raise UserError(f'{key}: {error}') from None
