"""NAO and SemiNAS: their network by its equations, what it learns from, and what is asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_sampling import by_hand
from test_sampling.strategy_runs import STRATEGY_CONFIGS, convolutions, one_edge, prepared, queries

from rdarts.errors import UserError
from rdarts.genotypes import form_named
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.strategies import NAO, SemiNAS
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder, Learning
from rdarts.sampling.strategies.tokens import Tokens
from rdarts.search_spaces import build_space

SPACES = ('darts', 'mobilenet_like', 'nas_bench_201', 'nasnet')
NB201 = build_space('nas_bench_201')
TOKENS = Tokens(NB201, shared=True)
LEARNING = Learning(epochs=1, batch=3, lr=0.1, weight_decay=0.01, clip=0.05, trade_off=0.8)


def network(both_ways: bool, widths=(5, 5)) -> EncoderDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = EncoderDecoder(TOKENS, 4, 4, widths, both_ways, 0.0)
        for parameter in made.parameters():  # larger than they begin, so that all of it matters
            torch.nn.init.normal_(parameter, std=0.7)
    return made.double()


def sequences(count: int = 3) -> torch.Tensor:
    draws = np.random.default_rng(1)
    form = form_named(NB201.genotype)
    return TOKENS.of([form.random(NB201, draws) for _ in range(count)])


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('name', SPACES)
def test_tokens_and_back(name, shared):
    space = build_space(name)
    tokens, draws = Tokens(space, shared), np.random.default_rng(0)
    drawn = [form_named(space.genotype).random(space, draws) for _ in range(5)]
    found = tokens.of(drawn)
    assert found.shape == (5, len(tokens)) and found.max() < tokens.count
    first = torch.tensor(tokens.first)
    assert (tokens.valid[range(len(tokens)), first]).all()
    rows = torch.where(found == 0, first, found).tolist()
    assert [tokens.genotype(row) for row in rows] == drawn


def test_how_many_tokens_there_are():
    assert (TOKENS.count, Tokens(NB201).count) == (6, 31)  # 0 included
    darts = Tokens(build_space('darts'), shared=True)
    assert len(darts) == 34 and darts.count == 1 + 3 + 6 + 10 + 7
    assert (darts.valid.sum(1) == torch.tensor(darts.ways)).all()


def test_a_space_of_a_single_genotype_is_refused():
    with pytest.raises(UserError, match="'own' has a single genotype, of which a network can lear"):
        Tokens(one_edge('skip_connect'))


@pytest.mark.parametrize('both_ways', [False, True])
def test_the_network_is_that_of_its_equations(both_ways):
    made, rows, values = network(both_ways), sequences(), torch.tensor([0.1, 0.7, 0.4]).double()
    weights, squares, surprise = by_hand.weights_of(made), [], []
    steps = made.encode(rows)
    torch.testing.assert_close(steps.norm(dim=-1), torch.ones(3, 6).double())
    for k, row in enumerate(rows.tolist()):
        points = by_hand.encoded(weights, row, both_ways)
        np.testing.assert_allclose(steps[k].detach(), points, rtol=1e-9)
        value = by_hand.predicted(weights, points, 2, both_ways)
        np.testing.assert_allclose(made.predict(steps)[k].item(), value, rtol=1e-9)
        logits = by_hand.logits(weights, points, row)
        np.testing.assert_allclose(made.logits(steps, rows)[k].detach(), logits, rtol=1e-7)
        squares.append((value - values[k].item()) ** 2)
        chances = map(by_hand.softmax, logits)
        surprise += [-math.log(p[token]) for p, token in zip(chances, row, strict=True)]
    loss = 0.8 * np.mean(squares) + 0.2 * np.mean(surprise)
    np.testing.assert_allclose(made.loss(rows, values, 0.8).item(), loss, rtol=1e-9)


def test_decoding_takes_the_likeliest_way_of_each_choice():
    made = network(False)
    steps = made.encode(sequences(8)).detach()
    for k, row in enumerate(made.decode(steps).tolist()):
        before = [0]
        for place in range(6):
            fed = [*before[1:], 0]  # the last is what is asked for
            logits = by_hand.logits(by_hand.weights_of(made), steps[k].numpy(), fed)[place]
            assert row[place] == 1 + logits[1:].argmax()
            before.append(0 if logits[0] > logits[1:].max() else row[place])


@pytest.mark.parametrize('both_ways', [False, True])
def test_points_move_along_the_gradient_and_back_to_the_sphere(both_ways, monkeypatch):
    made, rows = network(both_ways), sequences(2)
    weights, moved = by_hand.weights_of(made), []
    monkeypatch.setattr(made, 'decode', lambda steps: moved.append(steps) or rows)
    ways = made.moved(rows)
    next(ways), next(ways)
    for k, row in enumerate(rows.tolist()):
        points = by_hand.encoded(weights, row, both_ways)
        uphill = np.zeros_like(points)
        for place in np.ndindex(points.shape):
            ahead, behind = points.copy(), points.copy()
            ahead[place] += 1e-5
            behind[place] -= 1e-5
            both = (by_hand.predicted(weights, p, 2, both_ways) for p in (ahead, behind))
            uphill[place] = (next(both) - next(both)) / 2e-5
        for factor in (1, 2):
            expected = by_hand.on_sphere(points + factor * uphill)
            np.testing.assert_allclose(moved[factor - 1][k], expected, atol=1e-7)


def test_a_step_is_adams_on_the_clipped_gradient():
    made, rows, values = network(True), sequences(), torch.tensor([0.1, 0.7, 0.4]).double()
    before = by_hand.weights_of(made)
    before = {name: one.copy() for name, one in before.items()}
    made.loss(rows, values, 0.8).backward()
    grads = {name: one.grad.numpy().copy() for name, one in made.named_parameters()}
    norm = math.sqrt(sum((grad**2).sum() for grad in grads.values()))
    assert norm > LEARNING.clip
    made.learn(rows, values, LEARNING)  # one batch: their order does not matter
    for name, after in by_hand.weights_of(made).items():
        grad = grads[name] * LEARNING.clip / norm + LEARNING.weight_decay * before[name]
        expected = before[name] - LEARNING.lr * grad / (np.abs(grad) + 1e-8)
        np.testing.assert_allclose(after, expected, rtol=2e-4, atol=1e-5, err_msg=name)


def test_it_learns_what_sequences_reach_and_to_write_them():
    torch.manual_seed(0)
    rows = sequences(12)
    values = (rows == 3).sum(1) / 6
    made = EncoderDecoder(TOKENS, 16, 16, (), False, 0.0)
    made.learn(rows, values, Learning(150, 12, 0.02, 0.0, 5.0, 0.8))
    assert (made.values(rows) - values).abs().mean() < 0.1
    assert (made.decode(made.encode(rows).detach()) == rows).all()


@pytest.mark.parametrize(
    'config',
    [
        dict(type='NAO', epochs=30, embedding=16, widths=[], dropout=0),
        dict(type='SemiNAS', epochs=20, semi_epochs=5, synthetic=60, upsampling=2),
    ],
)
def test_it_climbs(config):
    config |= dict(initial=30, per_round=20, top=8, hidden=16, batch=20, lr=0.02)
    found = queries(prepared(config, NB201), convolutions, 110)
    values = [value for _, value in found]
    assert sum(values[:30]) / 30 < 3 and sum(values[50:]) / 60 > 3.2
    assert max(values) == 6


@pytest.fixture
def learnt(monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor, Learning]]:
    """What networks were given to learn from; they learn nothing."""
    given = []
    monkeypatch.setattr(EncoderDecoder, 'learn', lambda self, *args: given.append(args))
    return given


def test_nao_learns_places_and_its_best_move(learnt, monkeypatch):
    moving = []
    move = EncoderDecoder.moved
    monkeypatch.setattr(
        EncoderDecoder, 'moved', lambda self, rows: moving.append(rows) or move(self, rows)
    )
    config = dict(type='NAO', initial=6, per_round=3, top=2, epochs=7, embedding=4, hidden=4)
    values = iter([3.0, math.nan, 1.0, 3.0, math.inf, 4.0, *[5.0] * 6])
    strategy = prepared(config, NB201)
    found = [genotype for genotype, _ in queries(strategy, lambda _: next(values), 12)]
    rows, labels, how = learnt[0]
    assert (rows == strategy.tokens.of(found[:6])).all()
    # what is not finite shares the last places
    expected = (np.array([4.5, 1.5, 3, 4.5, 1.5, 6]) - 0.5) / 6
    np.testing.assert_allclose(labels, expected, rtol=1e-6)
    assert how.epochs == 7 and [len(labels) for _, labels, _ in learnt] == [6, 9]
    assert (moving[0] == rows[[5, 0]]).all()
    assert len({genotype.ops for genotype in found[6:]} - {one.ops for one in found[:6]}) == 6


def test_seminas_labels_what_nobody_evaluated(learnt, monkeypatch):
    moving = []
    monkeypatch.setattr(EncoderDecoder, 'values', lambda self, rows: (rows == 3).sum(1) / 1.0)
    monkeypatch.setattr(
        EncoderDecoder, 'moved', lambda self, rows: moving.append(rows) or iter([rows])
    )
    config = dict(
        type='SemiNAS', initial=4, per_round=9, top=3, epochs=7, synthetic=50, semi_epochs=2,
        upsampling=3, hidden=4,
    )  # fmt: skip
    values = iter([3.0, math.nan, 1.0, 4.0, 5.0])
    strategy = prepared(config, NB201)
    found = [genotype for genotype, _ in queries(strategy, lambda _: next(values), 5)]
    (rows, labels, first), (more, more_labels, second) = learnt
    known = np.array([3, 1, 1, 4])
    np.testing.assert_allclose(labels, (known - known.mean()) / known.std(), rtol=1e-6)
    assert (first.epochs, second.epochs) == (7, 2)
    assert (more[:12] == rows.repeat(3, 1)).all() and len(more) == 62
    counts = (more[12:] == 3).sum(1)
    assert (more_labels[12:] == counts).all()
    best = more[12:][counts.argsort(descending=True, stable=True)[:3]]
    assert (moving[0] == best).all()  # they are expected to be better than what was evaluated
    assert found[4] == strategy.tokens.genotype(best[0].tolist())


def test_random_ones_where_nothing_new_is_uphill(learnt, monkeypatch):
    monkeypatch.setattr(EncoderDecoder, 'moved', lambda self, rows: iter([rows] * 99))
    config = dict(type='NAO', initial=4, per_round=5, hidden=4)
    found = queries(prepared(config, NB201), lambda _: 1.0, 9)
    assert len({genotype.ops for genotype, _ in found}) == 9


@pytest.mark.parametrize('name', ['controller', 'nao', 'seminas'])
def test_pytorchs_own_random_numbers_stay(name):
    before = torch.get_rng_state()
    queries(prepared(STRATEGY_CONFIGS[name], NB201), lambda _: 1.0, 12)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('name', ['controller', 'nao', 'seminas'])
def test_weights_of_other_arguments_are_refused(name):
    strategy = prepared(STRATEGY_CONFIGS[name], NB201)
    queries(strategy, lambda _: 1.0, 12)
    other = prepared({**STRATEGY_CONFIGS[name], 'hidden': 5}, NB201)
    with pytest.raises(UserError, match='have other shapes than .* they are of another search'):
        other.load_state_dict(strategy.state_dict())


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='NAO', top=0), 'top must be a whole number of at least 1, but is 0'),
        (dict(type='NAO', trade_off=2), 'trade_off must be a finite number of at least 0 and at'),
        (dict(type='NAO', dropout=1.0), 'dropout must be a finite number of at least 0 and below'),
        (dict(type='NAO', widths=[0]), 'widths must be a list: a whole number of at least 1 each'),
        (dict(type='SemiNAS', synthetic=0), 'synthetic must be a whole number of at least 1'),
        (dict(type='SemiNAS', lr=-1), 'lr must be a finite number above 0, but is -1'),
    ],
)
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(config, STRATEGIES)


def test_the_defaults_are_the_published_ones():
    nao, semi = build('NAO', STRATEGIES), build('SemiNAS', STRATEGIES)
    assert isinstance(nao, NAO) and isinstance(semi, SemiNAS)
    assert (nao.initial, nao.per_round, nao.learning.epochs) == (600, 300, 1000)
    assert (nao.embedding, nao.hidden, nao.widths, nao.dropout) == (48, 96, (200,) * 3, 0.1)
    assert (semi.initial, semi.per_round, semi.synthetic) == (1100, 300, 10_000)
    assert (semi.learning.epochs, semi.semi.epochs, semi.upsampling) == (1000, 500, 10)
    for learning in (nao.learning, semi.learning):
        assert (learning.lr, learning.weight_decay, learning.clip) == (1e-3, 1e-4, 5.0)
