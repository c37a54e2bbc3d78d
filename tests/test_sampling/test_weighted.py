"""Accuracy and cost in one number."""

from __future__ import annotations

import math

import pytest

from rdarts.errors import UserError
from rdarts.genotypes import form_named
from rdarts.registry import EVALUATORS, build
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')
FORM = form_named(NB201.genotype)
CELL = FORM.of_choices(NB201, [0] * 6)


class Given(Evaluator):
    """Answers with what it was given; the values of a whole set are ten times as large."""

    of_whole_set = True

    def __init__(self, *results: Result) -> None:
        self.results, self.before = iter(results), None

    def prepare(self, space, seed, cfg=None) -> None:
        self.prepared = (space, seed, cfg)

    def __call__(self, genotype) -> Result:
        return next(self.results)

    def go_on(self, results) -> None:
        self.before = results

    def settle(self, results) -> list[float]:
        return [10 * result.rank for result in results]


def weighted(*results: Result, reference=80.0, **options) -> Evaluator:
    found = build(
        dict(
            type='rdarts.Weighted',
            evaluator=Given(*results),
            reference=reference,
            cost='latency',
            **options,
        ),
        EVALUATORS,
    )
    found.prepare(NB201, 3)
    return found


def of(value: float, cost: float) -> Result:
    return Result(value, dict(latency=cost, macs=1.0), dict(part=2.0))


def test_it_is_the_reward_of_mnasnet():
    # by hand: 75 (160 / 80)^-.07 and 75 (40 / 80)^-.07
    found = weighted(of(75, 160), of(75, 40), of(75, 80))
    assert found(CELL).value == pytest.approx(75 / 1.0497166836)
    assert found(CELL).value == pytest.approx(75 * 1.0497166836)
    answer = found(CELL)
    assert answer.value == 75 and answer.costs == dict(latency=80, macs=1)
    assert answer.parts == dict(part=2, unweighted=75)


def test_a_hard_limit_and_that_of_proxylessnas():
    hard = weighted(of(75, 160), of(75, 40), exponent=-1.0, exponent_below=0.0)
    assert [hard(CELL).value for _ in range(2)] == [37.5, 75]
    proxyless = weighted(of(0.75, 100), exponent=-0.1)
    assert proxyless(CELL).value == pytest.approx(0.75 * (80 / 100) ** 0.1)


def test_what_is_not_finite_stays():
    found = weighted(of(math.nan, 160), of(-math.inf, 160))
    assert math.isnan(found(CELL).value) and found(CELL).value == -math.inf


def test_the_evaluator_within_sees_its_own_answers():
    found = weighted(of(75, 160), of(50, 80))
    answers = [found(CELL) for _ in range(2)]
    assert found.evaluator.prepared == (NB201, 3, None) and found.of_whole_set
    assert found.settle(answers) == pytest.approx([750 * 2**-0.07, 500])
    found.go_on(answers)
    assert found.evaluator.before == [of(75, 160), of(50, 80)]


@pytest.mark.parametrize(
    ('result', 'message'),
    [
        (Result(1.0, dict(macs=1.0, params=2.0)), "no cost 'latency'; those .* 'macs', 'params'$"),
        (Result(1.0), "no cost 'latency'; those that there are: none$"),
        (of(-0.5, 160), 'a value of -0.5 at a cost of 160 cannot be weighed'),
        (of(0.5, 0), 'a value of 0.5 at a cost of 0 cannot be weighed'),
    ],
)
def test_what_cannot_be_weighed(result, message):
    with pytest.raises(UserError, match=message):
        weighted(result)(CELL)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reference=0), 'reference must be a finite number above 0, but is 0'),
        (dict(exponent=math.nan), 'exponent must be'),
        (dict(exponent_below='0'), 'exponent_below must be'),
    ],
)
def test_bad_arguments_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        weighted(**options)


def test_a_cost_that_no_answer_will_have_is_refused_before_any():
    within = dict(type='rdarts.ShortTraining')
    message = "^the evaluator answers no cost 'latency'; those that there are: 'params', 'macs'$"
    with pytest.raises(UserError, match=message):
        build(
            dict(type='rdarts.Weighted', evaluator=within, reference=80, cost='latency'), EVALUATORS
        )
    found = build(dict(type='rdarts.Weighted', evaluator=within, reference=80), EVALUATORS)
    with pytest.raises(UserError, match=message):
        found.check_cost('latency')
