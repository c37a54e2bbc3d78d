"""Scores beside the passes that they are made of."""

from __future__ import annotations

import itertools

import pytest
import torch
from test_sampling.searched import genotypes

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.measure.score_time import (
    CASES,
    ScoreSettings,
    _networks,
    _without_batch_norm,
    case_of,
    measure,
    print_table,
)
from rdarts.search_spaces import build_space

TINY = dict(channels=4, batch_size=4, image_size=8, networks=2, turns=2)


def test_every_score_takes_turns_with_its_passes(monkeypatch, capsys):
    ticks = itertools.count()
    monkeypatch.setattr('rdarts.measure.score_time.now', lambda: float(next(ticks)))
    threads = torch.get_num_threads()
    try:
        result = measure(ScoreSettings(**TINY), CASES)
    finally:
        torch.set_num_threads(threads)
    assert next(ticks) == len(CASES) * 2 * 3 * 4  # networks, turns with one before, readings
    assert {row['ratio'] for row in result['cases'].values()} == {1.0}
    assert list(result['cases']) == list(CASES) and result['exceeded'] == []
    print_table(result)
    heading, _, head, line, *rows = capsys.readouterr().out.splitlines()
    assert heading.startswith('nas_bench_201, C 4, depth 1, batch 4, 2 networks, 2 turns; ')
    assert head == '| score | passes | passes, ms | score, ms | ratio |'
    assert {row.count('|') for row in (head, line, *rows)} == {6} and len(rows) == len(CASES)
    assert rows[0] == '| naswot | forward | 1000.0 | 1000.0 | 1.00 |'


def test_what_takes_longer_is_named(monkeypatch):
    seconds = iter(itertools.cycle([0.0, 1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 6.0]))
    monkeypatch.setattr('rdarts.measure.score_time.now', lambda: next(seconds))
    settings = ScoreSettings(**dict(TINY, networks=1))
    result = measure(settings, dict(naswot=CASES['naswot']))
    row = result['cases']['naswot']
    assert (row['s'], row['passes_s'], row['ratio']) == (2.0, 1.0, 2.0)
    assert result['exceeded'] == ['naswot']


def test_the_passes_of_synflow_are_of_a_copy():
    (genotype,) = genotypes(build_space('nas_bench_201'), 1)
    network = build_net(genotype, channels=4, cells_per_stage=1)
    copy = _without_batch_norm(network)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in copy.modules())
    assert any(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules())
    assert {one.dtype for one in copy.parameters()} == {torch.float64}


def test_spaces_say_how_deep_their_networks_are():
    darts = ScoreSettings(**{**TINY, 'depth': 3}, space='darts')
    (network, _) = _networks(darts, torch.device('cpu'))
    assert len(network.backbone.cells) == 3
    layers = ScoreSettings(**TINY, space='mobilenet_like')
    with pytest.raises(UserError, match="--space: networks of 'mobilenet_like' have neither"):
        next(_networks(layers, torch.device('cpu')))


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match=r"--scores: unknown score 'naswo': did you mean 'naswot'"):
        case_of('naswo')
    with pytest.raises(UserError, match='--batch-size must be 1 or more, but is 0'):
        ScoreSettings(batch_size=0)
