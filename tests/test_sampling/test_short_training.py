"""The accuracy of networks after a short training of their own."""

from __future__ import annotations

import math

import pytest
import torch
from test_sampling.searched import genotypes, small, space_of

from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.registry import EVALUATORS, build

LEARNS = '|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|'
NOTHING = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


def prepared(seed=0, **options):
    cfg = small('nb201_digits', limit=400)
    config = dict(type='rdarts.ShortTraining', epochs=4, batch_size=16, **options)
    found = build(config, EVALUATORS)
    found.prepare(space_of(cfg), seed, cfg)
    return found


def test_what_learns_is_more_accurate_and_is_answered_alike_whatever_came_before():
    trained = prepared()
    cell, nothing = (parse_genotype(text, 'nas_bench_201') for text in (LEARNS, NOTHING))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    results = trained(cell), trained(nothing)
    assert torch.equal(torch.get_rng_state(), state)
    assert results[0].value > 50 > 20 > results[1].value
    assert results[0].costs == trained.networks.costs(cell)
    images = len(trained._others.dataset)
    assert results[0].value * images / 100 == pytest.approx(
        round(results[0].value * images / 100), abs=1e-9
    )
    torch.manual_seed(4)
    again = prepared()
    assert (again(nothing), again(cell)) == results[::-1]


def test_it_is_sgd_with_a_cosine():
    """Beside one epoch written out."""
    trained = prepared()
    trained.epochs = 2
    (genotype,) = genotypes(trained.space, 1)
    with trained.networks.candidate(genotype) as candidate:
        net = candidate.network
        velocity = [torch.zeros_like(one) for one in net.parameters()]
        for epoch, lr in enumerate((0.1, 0.05)):
            trained._images.sampler.set_epoch(epoch)
            for data in trained._images:
                data = trained._preprocessor(data, True)
                labels = torch.cat([one.gt_label for one in data['data_samples']])
                scores = net(data['inputs']).log_softmax(1)
                loss = -scores[torch.arange(16), labels].mean()
                grads = torch.autograd.grad(loss, list(net.parameters()), materialize_grads=True)
                with torch.no_grad():
                    for one, grad, v in zip(net.parameters(), grads, velocity, strict=True):
                        grad = grad + 5e-4 * one
                        v.mul_(0.9).add_(grad)
                        one -= lr * (grad + 0.9 * v)
        expected = trained._accuracy(net)
    assert trained(genotype).value == pytest.approx(expected, abs=0.5)


def test_a_loss_that_is_not_finite_is_the_value_nan():
    trained = prepared(lr=1e30)
    result = trained(parse_genotype(LEARNS, 'nas_bench_201'))
    assert math.isnan(result.value) and result.rank == -math.inf


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match='epochs must be a whole number of at least 1, but is 0'):
        build(dict(type='rdarts.ShortTraining', epochs=0), EVALUATORS)
    cfg = small('nb201_digits')
    large = build(dict(type='rdarts.ShortTraining', batch_size=5000), EVALUATORS)
    with pytest.raises(UserError, match=r'a batch of 5000 .*: set evaluator.batch_size lower'):
        large.prepare(space_of(cfg), 0, cfg)
    cfg.val_dataloader = None
    with pytest.raises(UserError, match='ShortTraining needs val_dataloader, but the config has n'):
        large.prepare(space_of(cfg), 0, cfg)
