"""Evaluators by scores and rankings of networks that nobody trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_sampling.searched import KINDS, genotypes, small, space_of

from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.registry import EVALUATORS, SCORES, build
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.evaluators import Ranked, Scored
from rdarts.sampling.scores import Score
from rdarts.sampling.scores.az_nas import AZNAS
from rdarts.sampling.scores.naswot import NASWOT
from rdarts.search_spaces import build_space

NOTHING = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


@SCORES.register_module()
class CountsCalls(Score):
    """How often it was asked, over that how many of these were starts of one network."""

    def __init__(self) -> None:
        self.starts = []

    def __call__(self, candidate, batches) -> float:
        self.starts.append(next(candidate.network.parameters()).detach().sum().item())
        return float(len(self.starts))


def prepared(config, name='nb201_digits', seed=0, **options):
    found, cfg = build(config, EVALUATORS), small(name, **options)
    found.prepare(space_of(cfg), seed, cfg)
    return found


@pytest.mark.parametrize('name', KINDS)
def test_a_score_of_derived_networks(name):
    """It is that of the network as it starts, whatever was asked before."""
    score = 'ZiCo' if name == 'nb201_digits' else 'NASWOT'
    first = prepared(dict(type='rdarts.Scored', score=score, batch_size=4, noise=True), name)
    one, other = genotypes(first.space, 2)
    first(other)
    result = first(one)
    assert result.parts == {}
    derived = DerivedNetworks(small(name), first.space, 0)
    with derived.candidate(one) as candidate:
        built = build(score, SCORES)
        assert result.value == built(candidate, derived.batches(built.batches, 4, noise=True))
    assert result.costs == derived.costs(one)


def test_a_score_on_images():
    scored = prepared(dict(type='rdarts.Scored', score='NASWOT', batch_size=8))
    (genotype,) = genotypes(scored.space, 1)
    derived = DerivedNetworks(small('nb201_digits'), scored.space, 0)
    with derived.candidate(genotype) as candidate:
        assert scored(genotype).value == NASWOT()(candidate, derived.batches(1, 8))


def test_repeats_are_of_other_weights_and_answers_are_kept():
    scored = prepared(dict(type='rdarts.Scored', score='CountsCalls', repeats=4, noise=True))
    one, other = genotypes(scored.space, 2)
    assert scored(one).value == 2.5
    assert len(set(scored.score.starts)) == 4
    assert scored(other).value == 6.5
    assert scored(one).value == 2.5 and len(scored.score.starts) == 8


@pytest.mark.parametrize(
    ('score', 'value'), [('JacobCov', math.nan), ('AZExpressivity', -math.inf), ('Snip', 0.0)]
)
def test_what_is_not_finite_is_passed_on(score, value):
    scored = prepared(dict(type='rdarts.Scored', score=score, batch_size=4, repeats=2, noise=True))
    result = scored(parse_genotype(NOTHING, 'nas_bench_201'))
    np.testing.assert_equal(result.value, value)
    assert result.rank == (value if math.isfinite(value) else -math.inf)


def test_a_ranking_of_what_was_asked_for():
    config = dict(type='rdarts.Ranked', ranking='AZNAS', batch_size=4, noise=True)
    ranked = prepared(config)
    found = [*genotypes(ranked.space, 5), parse_genotype(NOTHING, 'nas_bench_201')]
    found.append(found[1])
    results = [ranked(genotype) for genotype in found]
    parts = [result.parts for result in results]
    assert parts[1] == parts[-1] and parts[5]['expressivity'] == -math.inf
    assert set(parts[0]) == {'expressivity', 'progressivity', 'trainability', 'complexity'}
    for k, result in enumerate(results, 1):
        assert result.value == AZNAS()(parts[:k])[-1]
        assert result.costs['macs'] == result.parts['complexity']
    settled = ranked.settle(results)
    assert settled == AZNAS()(parts) and ranked.of_whole_set
    assert settled[1] == settled[-1] and min(settled) == settled[5]
    resumed = prepared(config)
    resumed.go_on(results[:3])
    assert [resumed(genotype) for genotype in found[3:]] == results[3:]


def test_a_ranking_averages_what_it_measures():
    one = prepared(dict(type='rdarts.Ranked', ranking='AZNAS', batch_size=4, noise=True))
    two = prepared(dict(type='rdarts.Ranked', ranking='AZNAS', batch_size=4, noise=True, repeats=2))
    (genotype,) = genotypes(one.space, 1)
    with one.networks.candidate(genotype, 1, AZNAS()) as candidate:
        second = AZNAS().measure(candidate, one.networks.batches(1, 4, noise=True))
    first = one(genotype).parts
    for name, mean in two(genotype).parts.items():
        assert mean == pytest.approx((first[name] + second[name]) / 2)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='Scored', score='NASWOD'), "unknown score 'NASWOD': did you mean 'NASWOT'"),
        (dict(type='Scored'), "evaluator 'Scored' needs 'score'"),
        (dict(type='Scored', score='NASWOT', repeats=0), 'repeats must be a whole number of at le'),
        (dict(type='Scored', score='NASWOT', batch_size=2.5), 'batch_size must be a whole number'),
        (dict(type='Ranked', ranking='NASWOT'), "unknown ranking 'NASWOT'"),
    ],
)
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(config, EVALUATORS)


def test_a_supernet_of_another_space_and_none():
    cfg = small('nb201_digits')
    for evaluator in (Scored('NASWOT'), Ranked('AZNAS')):
        with pytest.raises(UserError, match="space 'nas_bench_201', but 'darts' is searched"):
            evaluator.prepare(build_space('darts'), 0, cfg)
        with pytest.raises(UserError, match='model.backbone of the config is None'):
            evaluator.prepare(space_of(cfg), 0)


def test_a_network_that_a_score_does_not_fit():
    config = dict(type='rdarts.Scored', score='NASWOT', batch_size=1, noise=True)
    scored = prepared(config, image_size=4)
    with pytest.raises(UserError, match='a score of Classifier .*; give more or larger images'):
        scored(genotypes(scored.space, 1)[0])
