"""Strategies that search, without the search around them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.config import Config

from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.result import Result
from rdarts.sampling.strategies import Strategy
from rdarts.search_spaces.base import SearchSpace, dense_cell

# By name, small enough to leave their first phase within a few queries
STRATEGY_CONFIGS: dict[str, dict[str, Any]] = dict(
    random=dict(type='RandomSearch'),
    evolution=dict(type='RegularizedEvolution', population=8, sample=3),
    tournament=dict(type='RegularizedEvolution', population=8, sample=8, replacement=False),
    generations=dict(type='Evolution', population=9, parents=3, mutations=4, crossovers=3),
    first=dict(type='LocalSearch', initial=3),
    best=dict(type='LocalSearch', initial=3, improvement='best'),
    reinforce=dict(type='Reinforce', lr=0.1),
    weaknas=dict(type='WeakNAS', predictor=dict(type='RandomForest', trees=3), top=15, pool=100),
    controller=dict(type='LSTMController', hidden=3, lr=0.1, batch=5),
    nao=dict(
        type='NAO', initial=8, per_round=20, top=4, epochs=4, embedding=4, hidden=4, widths=[8],
        lr=0.02,
    ),
    seminas=dict(
        type='SemiNAS', initial=8, per_round=20, top=4, epochs=4, synthetic=16, semi_epochs=2,
        upsampling=2, hidden=4, widths=[8, 8], lr=0.02,
    ),
    nsga2=dict(type='NSGA2', population=10),
)  # fmt: skip


def prepared(
    config: dict[str, Any],
    space: SearchSpace,
    seed: int = 0,
    allowed: Callable[[Genotype], bool] | None = None,
    cfg: Config | None = None,
) -> Strategy:
    """A strategy that has not asked yet, of what is allowed, in the search of a config."""
    strategy = build(config, STRATEGIES)
    if allowed is not None:
        strategy.restrict(allowed)
    strategy.prepare(space, np.random.default_rng(seed), cfg)
    return strategy


def one_edge(*candidates: str) -> SearchSpace:
    """A space of as many cells as its one edge has candidates."""
    edges = dense_cell(1, 2, candidates, 'last')
    return SearchSpace('own', dict(cell=edges), genotype='dense_cell')


def result_of(genotype: Genotype, value: float) -> Result:
    """What an evaluator answers: the fewer operations without weights, the less costs it."""
    return Result(value, dict(macs=float(sum('conv' not in one for one in genotype.operations()))))


def queries(
    strategy: Strategy, answer: Callable[[Genotype], float], count: int
) -> list[tuple[Genotype, float]]:
    """The next genotypes that it asks for, with what it is told of them."""
    found = []
    for _ in range(count):
        genotype = strategy.ask()
        value = answer(genotype)
        strategy.tell(genotype, result_of(genotype, value))
        found.append((genotype, value))
    return found


def resumed(
    strategy: Strategy, config: dict[str, Any], space: SearchSpace, cfg: Config | None = None
) -> Strategy:
    """The same strategy after its state went through JSON."""
    other = prepared(config, space, seed=1, cfg=cfg)
    other.load_state_dict(json.loads(json.dumps(strategy.state_dict(), allow_nan=False)))
    other.generator.bit_generator.state = strategy.generator.bit_generator.state
    return other


def convolutions(genotype: Genotype) -> float:
    """Something to climb: how many there are."""
    return float(sum('conv' in name for name in genotype.operations()))


def likes_convolutions(genotype: Genotype) -> float:
    """Something to climb; a genotype without any has no finite value."""
    return convolutions(genotype) or math.nan


def check_resumed_after_any_query(config: dict[str, Any], space: SearchSpace, count: int) -> None:
    """Stopped before or after each of so many questions, a strategy goes on as if it was not."""
    whole = queries(prepared(config, space), likes_convolutions, count)
    assert all(genotype.validate(space) for genotype, _ in whole)
    assert whole[:4] != queries(prepared(config, space, seed=1), likes_convolutions, 4)
    strategy = prepared(config, space)
    for k, (genotype, value) in enumerate(whole):
        strategy = resumed(strategy, config, space)
        assert strategy.ask() == genotype, k
        strategy = resumed(strategy, config, space)  # between a question and its answer
        strategy.tell(genotype, result_of(genotype, value))
