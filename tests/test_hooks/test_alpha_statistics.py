"""Entropies and weights of alpha, against numbers worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers import digits_runner, log_text
from mmengine.hooks import Hook

from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.search_spaces import build_space

# Two groups: edges 0 -> 1 and 1 -> 2 of three candidates, edge 0 -> 2 of two
SPACE = build_space(
    dict(
        type='CellSpace',
        name='small',
        cells=dict(
            cell=dict(
                num_nodes=3,
                edges=[
                    (0, 1, ['none', 'skip_connect', 'sep_conv_3x3']),
                    (0, 2, ['sep_conv_3x3', 'sep_conv_5x5']),
                    (1, 2, ['none', 'skip_connect', 'sep_conv_3x3']),
                ],
            )
        ),
    )
)
LOG = math.log
# softmax of these: (1/2, 1/4, 1/4), (1/8, 1/8, 3/4) and (1/5, 4/5)
ALPHA = dict(
    cell_0=torch.tensor([[LOG(2), 0.0, 0.0], [0.0, 0.0, LOG(6)]], dtype=torch.float64),
    cell_1=torch.tensor([[1.0, 1.0 + LOG(4)]], dtype=torch.float64),
)


def h(*betas):
    return -sum(beta * LOG(beta) for beta in betas)


def test_numbers_worked_out_by_hand():
    found = alpha_statistics(ALPHA, SPACE)
    assert list(found) == ['alpha', 'weights', 'entropy', 'mean_entropy', 'kinds']
    assert found['alpha'] == {name: alpha.tolist() for name, alpha in ALPHA.items()}
    assert found['weights']['cell_0'][0] == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    assert found['weights']['cell_0'][1] == pytest.approx([1 / 8, 1 / 8, 3 / 4])
    assert found['weights']['cell_1'] == [pytest.approx([1 / 5, 4 / 5])]
    first, second, third = h(1 / 2, 1 / 4, 1 / 4), h(1 / 8, 1 / 8, 3 / 4), h(1 / 5, 4 / 5)
    assert first == pytest.approx(1.5 * LOG(2))
    assert found['entropy'] == dict(
        cell_0=pytest.approx([first, second]), cell_1=pytest.approx([third])
    )
    assert found['mean_entropy'] == pytest.approx((first + second + third) / 3, rel=1e-14)
    kinds = found['kinds']
    # none and skip_connect, on the two edges that have them
    assert kinds['parameter_free'] == pytest.approx(
        dict(
            weight=(1 / 2 + 1 / 4 + 1 / 8 + 1 / 8) / 4,
            entropy=(h(1 / 2, 1 / 4) + h(1 / 8, 1 / 8)) / 2,
        )
    )
    # one on each of two edges, two on the third
    assert kinds['parameterised'] == pytest.approx(
        dict(
            weight=(1 / 4 + 3 / 4 + 1) / 4,
            entropy=(h(1 / 4) + h(3 / 4) + h(1 / 5, 4 / 5)) / 3,
        )
    )


@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 's1', 's4'])
def test_the_mean_entropy_is_the_regularizers_value(name):
    space = build_space(name)
    torch.manual_seed(0)
    alphas = {g.name: torch.randn(len(g.edges), len(g.candidates)) for g in space.groups}
    found = alpha_statistics(alphas, space)
    double = {name: alpha.double() for name, alpha in alphas.items()}
    assert found['mean_entropy'] == pytest.approx(float(BatchEntropyDecay()(double, space)), 1e-12)
    # where every edge has both kinds, their parts add up to it
    if name in ('nas_bench_201', 'darts'):
        parts = sum(kind['entropy'] for kind in found['kinds'].values())
        assert parts == pytest.approx(found['mean_entropy'], rel=1e-12)


def test_a_kind_that_no_edge_has_is_left_out():
    space = build_space(
        dict(type='LayerwiseSpace', name='c', layers=[['sep_conv_3x3', 'sep_conv_5x5']])
    )
    kinds = alpha_statistics(dict(layerwise=torch.zeros(1, 2)), space)['kinds']
    assert kinds == dict(parameterised=dict(weight=0.5, entropy=pytest.approx(LOG(2))))


def test_the_space_says_what_is_parameter_free():
    space = build_space(
        dict(
            type='LayerwiseSpace',
            name='c',
            layers=[['sep_conv_3x3', 'sep_conv_5x5']],
            parameter_free=['sep_conv_5x5'],
        )
    )
    kinds = alpha_statistics(dict(layerwise=torch.tensor([[0.0, LOG(3)]])), space)['kinds']
    assert kinds['parameter_free']['weight'] == pytest.approx(3 / 4)
    assert kinds['parameterised']['weight'] == pytest.approx(1 / 4)


def test_extreme_alphas():
    space = build_space('nas_bench_201')
    found = alpha_statistics(dict(cell=torch.tensor([[1e4, 0.0, 0.0, 0.0, -1e4]] * 6)), space)
    assert found['mean_entropy'] == 0.0
    assert found['kinds']['parameter_free']['weight'] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_the_hook_logs_them_and_leaves_alpha_alone(tmp_path):
    class SetAlpha(Hook):
        priority = 'ABOVE_NORMAL'

        def after_train_epoch(self, runner):
            with torch.no_grad():
                runner.model.backbone.arch_parameters['cell'].copy_(
                    torch.tensor([[0.0, 0.0, 0.0, LOG(4), 0.0]] * 6)
                )

    runner = digits_runner(tmp_path, hooks=[SetAlpha()])
    runner.train()
    lines = map(json.loads, (tmp_path / 'search_log.jsonl').read_text().splitlines())
    (row,) = [row for row in lines if row['kind'] == 'epoch']
    mean = h(1 / 8, 1 / 8, 1 / 8, 1 / 2, 1 / 8)
    assert row['mean_entropy'] == pytest.approx(mean, rel=1e-6)
    assert row['kinds']['parameter_free'] == pytest.approx(
        dict(weight=1 / 8, entropy=3 * h(1 / 8)), rel=1e-6
    )
    assert row['kinds']['parameterised'] == pytest.approx(
        dict(weight=(1 / 8 + 1 / 2) / 2, entropy=h(1 / 8, 1 / 2)), rel=1e-6
    )
    text = log_text(tmp_path)
    largest = math.log(5)
    assert f'Mean entropy {mean:.4f} of {largest:.4f} nats; parameter-free weight 0.1250' in text
    alpha = runner.model.backbone.arch_parameters['cell']
    assert not alpha.requires_grad and alpha.dtype == torch.float32
