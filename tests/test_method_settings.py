"""The settings of the methods' configs, against what is published for them."""

from __future__ import annotations

import pytest
from golden import golden
from mmengine.config import Config

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config


def config(name: str) -> Config:
    return load_config(configs_folder() / 'search' / f'{name}.py')


SPACES = ('nb201_c10', 'darts_c10', 'darts_imagenet', 'mobilenet_like_imagenet')


@pytest.mark.parametrize('space', SPACES)
def test_the_anchor_of_drnas_is_the_decay_of_alpha(space):
    given, expected, tolerance = golden('drnas', 'l2_anchor')
    decay = config(f'drnas_{space}').arch_optimizer.weight_decay
    pairs = zip(given['alpha'], expected['extra_gradient'], strict=True)
    assert all(abs(decay * alpha - extra) < tolerance for alpha, extra in pairs)


@pytest.mark.parametrize('space', SPACES)
def test_alpha_of_fairdarts(space):
    _, expected, _ = golden('fairdarts', 'settings')
    found = config(f'fairdarts_{space}').arch_optimizer
    assert found.weight_decay == expected['alpha_wd']
    assert found.lr == expected['alpha_lr']
    assert list(found.betas) == expected['alpha_betas']
