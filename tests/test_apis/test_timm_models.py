"""Derived networks as timm gives them: registered names, features, heads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rdarts.apis import build_net, list_genotypes
from rdarts.errors import UserError

timm = pytest.importorskip('timm')
SMALL = dict(stem='cifar', channels=4, num_cells=6)
CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
FIRST_OURS = """
import sys
import rdarts
assert 'timm' not in sys.modules and 'torch' not in sys.modules
import timm
assert timm.is_model('darts_v2')
assert 'rdarts.models' not in sys.modules
"""
FIRST_TIMM = """
import timm
assert not timm.is_model('darts_v2')
import rdarts
assert timm.is_model('darts_v2')
assert timm.create_model('darts_v2', num_classes=3, channels=4, num_cells=3).num_classes == 3
"""


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_names():
    assert list_genotypes('darts*') == ['DARTS_V1', 'DARTS_V2']
    found = timm.list_models(module='timm_models')
    assert found == sorted([*(name.lower() for name in list_genotypes()), 'rdarts_net'])


@pytest.mark.slow
@pytest.mark.parametrize('code', [FIRST_OURS, FIRST_TIMM], ids=['rdarts', 'timm'])
def test_either_may_be_imported_first(code):
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_model_scores_as_the_net_of_its_weights():
    torch.manual_seed(0)
    model = timm.create_model('darts_v2', num_classes=7, **SMALL).eval()
    net = build_net('DARTS_V2', 7, channels=4, num_cells=6).eval()
    net.load_state_dict(model.state_dict(), strict=True)
    x = images(2, 3, 32, 32)
    assert torch.equal(model(x), net(x))
    assert model.default_cfg['input_size'] == (3, 224, 224)


def test_features_are_those_of_the_net():
    torch.manual_seed(0)
    model = timm.create_model('darts_v2', features_only=True, **SMALL).eval()
    x = images(2, 3, 32, 32)
    all_three = model(x)
    info = model.feature_info
    assert [tuple(one.shape) for one in all_three] == [
        (2, channels, 32 // stride, 32 // stride)
        for channels, stride in zip(info.channels(), info.reduction(), strict=True)
    ]
    assert info.reduction() == [1, 2, 4] and info.channels() == [16, 32, 64]
    net = build_net('DARTS_V2', **SMALL, features_only=True, out_indices=(0, -1)).eval()
    net.load_state_dict(
        {key.removeprefix('model.'): value for key, value in model.state_dict().items()}
    )
    for one, other in zip(net(x), all_three[::2], strict=True):
        assert torch.equal(one, other)
    assert net.feature_info.channels() == [16, 64] and net.feature_info.reduction() == [1, 4]
    assert net.feature_info.out_indices == (0, 2) and len(net.feature_info) == 3


@pytest.mark.parametrize(
    'given',
    [
        dict(genotype='DARTS_V2', channels=4, num_cells=6, stem='imagenet'),
        dict(genotype='DARTS_V2', channels=4, num_cells=2),
        dict(genotype=CELL, channels=4, cells_per_stage=1),
        dict(
            genotype='mbconv_k3_e3 - skip_connect - mbconv_k7_e6 - mbconv_k5_e3',
            space=dict(type='mobilenet_like', widths=[8, 16], depths=[2, 2], strides=[2, 2]),
            stem_channels=4,
            first_channels=8,
            last_channels=24,
        ),
    ],
)
def test_layers_that_are_named_give_the_outputs(given):
    net = build_net(**given, features_only=True).eval()
    layers = dict(net.named_modules())
    seen = {}
    for name in net.feature_info.module_name():
        layers[name].register_forward_hook(
            lambda layer, args, out, name=name: seen.__setitem__(name, out)
        )
    for out, name in zip(net(images(1, 3, 64, 64)), net.feature_info.module_name(), strict=True):
        assert torch.equal(out, seen[name])


def test_a_genotype_of_ones_own_and_another_head():
    model = timm.create_model(
        'rdarts_net', genotype=CELL, stem='cifar', channels=4, cells_per_stage=1, in_chans=1
    ).eval()
    x = images(2, 1, 8, 8)
    assert model(x).shape == (2, 1000)
    model.reset_classifier(5)
    assert model(x).shape == (2, 5) and model.get_classifier().out_features == 5
    model.reset_classifier(0)
    assert model(x).shape == (2, 16)
    model.reset_classifier(0, '')
    assert torch.equal(model(x), model.forward_features(x))
    assert torch.equal(model(x), model.forward_intermediates(x)[1][-1])


def test_dropout_and_drop_path():
    model = timm.create_model('darts_v2', drop_rate=0.5, drop_path_rate=0.1, **SMALL)
    assert model.backbone.drop_path == 0.1
    features = torch.ones(1, 64, 2, 2)
    assert set(model.forward_head(features, pre_logits=True).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(model.eval().forward_head(features, pre_logits=True), features.mean((2, 3)))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: timm.create_model('rdarts_net'), 'rdarts_net needs genotype='),
        (lambda: timm.create_model('darts_v2', chanels=4), "takes no 'chanels': did you mean"),
        (
            lambda: timm.create_model('darts_v2', global_pool='max', **SMALL),
            "global_pool must be 'avg' or ''",
        ),
        (
            lambda: build_net('DARTS_V2', **SMALL, features_only=True, out_indices=(0, 3)),
            r'out_indices must rise, from 0 \(or -3\) to 2, but are \[0, 3\]',
        ),
        (
            lambda: build_net('DARTS_V2', **SMALL, features_only=True, out_indices=4),
            r'out_indices must rise',
        ),
        (
            lambda: timm.create_model('darts_v2', features_only=True, out_indices=(2, 1), **SMALL),
            r'out_indices must rise',
        ),
        (
            lambda: build_net('DARTS_V2', **SMALL, features_only=True, auxiliary=True),
            'auxiliary heads classify: features_only has none',
        ),
    ],
)
def test_what_does_not_fit_is_one_line(make, message):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert '\n' not in str(error.value)
