"""Drop-path that grows over the epochs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from rdarts.errors import UserError
from rdarts.hooks import DropPathHook


def runner(epoch: int, backbone: object) -> SimpleNamespace:
    model = nn.Module()
    model.backbone = backbone
    return SimpleNamespace(model=model, epoch=epoch, max_epochs=600)


@pytest.mark.parametrize(('epoch', 'expected'), [(0, 0.0), (300, 0.1), (599, 0.2 * 599 / 600)])
def test_it_is_a_function_of_the_epoch(epoch, expected):
    backbone = nn.Module()
    backbone.drop_path = 0.9
    DropPathHook(0.2).before_train_epoch(runner(epoch, backbone))
    assert backbone.drop_path == pytest.approx(expected, abs=1e-12)


def test_what_does_not_fit():
    with pytest.raises(UserError, match='prob must be from 0 to below 1, but is 1'):
        DropPathHook(1)
    with pytest.raises(UserError, match='Linear has no drop-path'):
        DropPathHook().before_train_epoch(runner(0, nn.Linear(1, 1)))
