"""Learning rates over epochs."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError


def build(optimizer, **keys):
    cfg = dict(dict(type='rdarts.WarmUpCosineLR', warmup=3, T_max=8, end=8), **keys)
    return PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=optimizer, epoch_length=4))


def optimizer_of(*rates: float):
    groups = [dict(params=[torch.zeros(1, requires_grad=True)], lr=rate) for rate in rates]
    return torch.optim.SGD(groups)


def rates(optimizer, scheduler, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def cosine(step: int, length: int) -> float:
    return (1 + math.cos(math.pi * step / length)) / 2


@pytest.mark.parametrize('keys', [{}, dict(eta_min=0.1), dict(eta_min_ratio=0.5)])
def test_a_cosine_whose_first_epochs_warm_up(keys):
    optimizer = optimizer_of(1.0, 0.4)
    found = rates(optimizer, build(optimizer, **keys), 10)
    for epoch, row in enumerate(found):
        at = min(epoch, 7)  # it ends before epoch 8
        for base, rate in zip((1.0, 0.4), row, strict=True):
            least = keys.get('eta_min', base * keys.get('eta_min_ratio', 0))
            expected = min(1, (at + 1) / 3) * (least + (base - least) * cosine(at, 8))
            assert rate == pytest.approx(expected, rel=1e-12)


def test_by_iterations():
    optimizer = optimizer_of(1.0)
    found = rates(optimizer, build(optimizer, convert_to_iter_based=True), 32)
    expected = [min(1, (i + 1) / 12) * cosine(i, 32) for i in range(32)]
    assert [row[0] for row in found] == pytest.approx(expected, rel=1e-12)


def test_it_goes_on_from_its_state():
    whole = optimizer_of(1.0)
    expected = rates(whole, build(whole), 8)
    for done in range(1, 8):
        before = optimizer_of(1.0)
        scheduler = build(before)
        rates(before, scheduler, done)
        after = optimizer_of(1.0)
        again = build(after)
        after.load_state_dict(before.state_dict())
        again.load_state_dict(scheduler.state_dict())
        assert rates(after, again, 8 - done) == expected[done:]


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(warmup=0), r'param_scheduler\.warmup must be a whole number of at least 1, but is 0'),
        (dict(warmpu=3), r"WarmUpCosineLR takes no 'warmpu': did you mean 'warmup'"),
    ],
)
def test_what_it_does_not_take(keys, message):

    path = configs_folder() / 'search' / 'darts_darts_imagenet.py'
    with pytest.raises(UserError, match=message):
        load_config(path, {f'param_scheduler.{key}': value for key, value in keys.items()})
