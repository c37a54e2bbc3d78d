"""AZ-NAS: its scores, the features that they are of, and its ranking."""

from __future__ import annotations

import json
import math

import pytest
import torch
from golden import FOLDER, uniform
from golden_scores import SmallNet, batches, cell_net, expected
from torch import nn

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.registry import RANKINGS, SCORES, build
from rdarts.sampling.scores import Batch, Candidate, az_nas

CELLS = expected('scores_nb201_reduced')
PARTS = ('expressivity', 'progressivity', 'trainability')
LAYERS = ' - '.join(['mbconv_k3_e3', 'skip_connect', *['mbconv_k5_e6'] * 19])


@pytest.fixture
def signs(monkeypatch):
    """Those of the golden cases, drawn from the last pair on."""
    calls = []

    def draw(like, generator):
        calls.append(len(calls))
        bits = uniform(2000 + calls[-1], like.numel()).reshape(like.shape)
        return torch.where(bits >= 0.5, 1.0, -1.0).double()

    monkeypatch.setattr(az_nas, 'random_signs', draw)


def scores(net, batch):
    kinds = ('AZExpressivity', 'AZProgressivity', 'AZTrainability')
    built = [build(dict(type=kind, noise=False), SCORES) for kind in kinds]
    return [kind(Candidate(net), [batch]) for kind in built]


@pytest.mark.parametrize('index', CELLS)
def test_cells(index, signs):
    case = CELLS[index]
    found = scores(cell_net(case['arch_str']), batches(8, 16)[0])
    wanted = [float(case[f'az_{part}']) for part in PARTS]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_a_cell_in_the_full_network(signs):
    case = expected('scores_nb201_full_9930')
    found = scores(cell_net(CELLS['9930']['arch_str'], 16, 5), batches(16, 32)[0])
    assert found == pytest.approx([case[f'az_{part}'] for part in PARTS], abs=1e-6)


def test_the_ranking():
    case = json.loads((FOLDER / 'az_nas_aggregate.json').read_text())
    measured = [
        {part: float(scores[part]) for part in PARTS} | dict(complexity=scores['flops'])
        for scores in case['inputs'].values()
    ]
    ranking = build('AZNAS', RANKINGS)
    found = ranking(measured)
    assert found == pytest.approx(list(case['expected']['score'].values()), abs=1e-9)
    best = list(case['inputs'])[found.index(max(found))]
    assert best == case['expected']['best']
    assert ranking([]) == []


def test_what_is_not_finite_comes_last():
    for worst in (math.nan, -math.inf, math.inf):
        assert az_nas.ranks([worst, 2.0, 1.0, 2.0]).tolist() == [0.25, 0.875, 0.5, 0.875]


def test_one_pass_gives_what_the_scores_do():
    torch.manual_seed(0)
    net = build_net(CELLS['9930']['arch_str'], space='nas_bench_201', channels=8, cells_per_stage=1)
    batch = Batch(torch.zeros(8, 3, 16, 16), torch.arange(8))
    ranking = build(dict(type='AZNAS', seed=3), RANKINGS)
    measured = ranking.measure(Candidate(net), [batch])
    kinds = [f'AZ{part.capitalize()}' for part in PARTS]
    singles = [build(dict(type=kind, seed=3), SCORES) for kind in kinds]
    found = [single(Candidate(net), [batch]) for single in [*singles, build('Macs', SCORES)]]
    assert list(measured.values()) == pytest.approx(found, rel=1e-12)
    assert list(measured) == [*PARTS, 'complexity']
    by_size = build(dict(type='AZNAS', complexity='Params'), RANKINGS)
    count = sum(weight.numel() for weight in net.parameters())
    assert by_size.measure(Candidate(net), [batch])['complexity'] == count


def test_scores_draw_images_and_signs_from_their_seed():
    torch.manual_seed(0)
    net = build_net(CELLS['9930']['arch_str'], space='nas_bench_201', channels=8, cells_per_stage=1)
    batch = Batch(torch.zeros(8, 3, 16, 16), torch.arange(8))
    for part in PARTS:
        kind = f'AZ{part.capitalize()}'
        first, same, other = (build(dict(type=kind, seed=seed), SCORES) for seed in (3, 3, 4))
        found = first(Candidate(net), [batch])
        with torch.no_grad():
            assert same(Candidate(net), [batch]) == found
        assert other(Candidate(net), [batch]) != found
    assert all(weight.grad is None for weight in net.parameters())


def test_they_begin_with_kaiming_s_weights():
    net = build_net(CELLS['9930']['arch_str'], space='nas_bench_201', channels=16)
    torch.manual_seed(0)
    az_nas.AZTrainability().initialise(net)
    conv = net.backbone.stages[0][0].edges['0_1'][1]
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / 144), rel=0.05)
    assert net.head.fc.bias.abs().max() == 0


@pytest.mark.parametrize(
    ('genotype', 'options', 'count'),
    [
        ('DARTS_V2', dict(channels=4, num_cells=3), 4),
        ('DARTS_V2', dict(channels=4, num_cells=3, stem='imagenet'), 5),
        (LAYERS, dict(space='mobilenet_like'), 21),
    ],
)
def test_networks_of_other_spaces(genotype, options, count):
    """Odd sides, too; the singular value by way of all pull-backs of one pair."""
    torch.manual_seed(0)
    net = build_net(genotype, **options)
    layers = net.backbone.feature_layers()
    assert len(layers) == count
    batch = Batch(torch.randn(4, 3, 45, 45), torch.arange(4))
    found = scores(net, batch)
    assert all(map(math.isfinite, found))
    net.requires_grad_(False)
    assert scores(net, batch) == pytest.approx(found, rel=1e-4)


def test_the_pixels_of_a_stride_become_channels():
    """A matrix in place of a cell: its pull-back is known, and every pixel of odd sides counts."""
    weight = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    before = torch.randn(64, 2, 5, 5).double().requires_grad_()
    after = nn.functional.conv2d(nn.functional.pad(before, [0, 1, 0, 1]), weight, stride=2)
    signs = az_nas.random_signs(after, torch.Generator().manual_seed(0))
    # pull-back g_out W for each window, of which a pixel beyond the edge is lost
    back = torch.einsum('nohw,oiab->nhwiab', signs, weight)
    back[:, 2, :, :, 1], back[:, :, 2, :, :, 1] = 0, 0
    rows = signs.movedim(1, -1).reshape(-1, 3)
    matrix = back.reshape(len(rows), -1).T @ rows / len(rows)
    largest = torch.linalg.svdvals(matrix)[0]
    found = az_nas._pair(before, after, signs)
    assert found.item() == pytest.approx((2 - largest - 1 / (largest + 1e-6)).item(), rel=1e-12)


class Features(nn.Module):
    """A network of the user's own."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def feature_layers(self):
        return list(self.layers)

    def forward(self, x):
        return self.layers(x).mean((2, 3))


class Overflow(nn.Module):
    def forward(self, x):
        return x / 0


def test_features_that_overflow_give_minus_infinity():
    net = Features(nn.Conv2d(3, 4, 1), Overflow(), nn.Conv2d(4, 4, 1)).double()
    assert scores(net, batches(4, 4)[0]) == [-math.inf] * 3


def test_bad_input_is_one_line():
    (batch, _) = batches(4, 4)
    with pytest.raises(UserError, match='SmallNet has no method feature_layers'):
        scores(SmallNet(), batch)
    with pytest.raises(UserError, match="unknown score 'Mac'"):
        build(dict(type='AZNAS', complexity='Mac'), RANKINGS)
    with pytest.raises(UserError, match='Features has 1: take a network with a cell or more'):
        scores(Features(nn.Conv2d(3, 4, 1)), batch)
    with pytest.raises(UserError, match='does not say which its stem and cells are'):
        scores(DerivedNet(), batch)
