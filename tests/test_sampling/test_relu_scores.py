"""NASWOT and SWAP."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from golden_scores import SmallNet, batches, cell_net, expected
from torch import nn

from rdarts.apis import build_net, build_supernet
from rdarts.errors import UserError
from rdarts.registry import SCORES, build
from rdarts.sampling.scores import Batch, Candidate
from rdarts.sampling.scores.naswot import NASWOT
from rdarts.sampling.scores.relus import watch_relus
from rdarts.sampling.scores.swap import SWAP

SMALL, CELLS = expected('scores_small_net'), expected('scores_nb201_reduced')
LAYERS = ' - '.join(['mbconv_k3_e3', 'skip_connect', *['mbconv_k5_e6'] * 19])


def score(kind, net, count=8, side=16, **options):
    return build(dict(type=kind, **options), SCORES)(Candidate(net), batches(count, side))


def test_a_small_net():
    assert score('NASWOT', SmallNet(), side=8) == pytest.approx(SMALL['naswot'], rel=1e-8)
    assert score('SWAP', SmallNet(), side=8) == SMALL['swap']
    assert score('SWAP', SmallNet(), 16, 8) == SMALL['swap_16_samples']
    found = score('SWAP', SmallNet(), side=8, mu=1.0, sigma=1.0)
    assert found == pytest.approx(SMALL['swap_regular'], rel=1e-8)


@pytest.mark.parametrize('index', CELLS)
def test_cells(index):
    case = CELLS[index]
    net = cell_net(case['arch_str'])
    assert score('NASWOT', net) == pytest.approx(case['naswot'], rel=1e-8)
    doubled = case['naswot_official_double_count']
    assert score('NASWOT', net, twice=True) == pytest.approx(doubled, rel=1e-8)
    assert score('SWAP', net, 16) == case['swap']
    regular = case['swap_regular_mu20_sigma400']
    assert score('SWAP', net, 16, mu=20.0, sigma=400.0) == pytest.approx(regular, rel=1e-8)


def test_a_cell_in_the_full_network():
    case = expected('scores_nb201_full_9930')
    net = cell_net(CELLS['9930']['arch_str'], 16, 5)
    doubled = case['naswot_official_double_count']
    assert score('NASWOT', net, 16, 32, twice=True) == pytest.approx(doubled, rel=1e-8)
    assert score('SWAP', net, 16, 32) == case['swap']


class Written(nn.Module):
    """Every way in which a ReLU is written."""

    def forward(self, x):
        y = nn.ReLU(inplace=True)(x + 0) + nn.ReLU6()(x) + F.relu(input=x) + F.relu6(x)
        z = torch.relu(x) + x.relu() + torch.relu_(x + 0) + (x + 0).relu_() + F.relu(x + 0, True)
        return (y + z + F.hardtanh(x)).flatten(1)


def test_relus_are_found_however_they_are_written():
    x = torch.tensor([-1.0, 7.0])[:, None, None, None]
    seen = []
    watch_relus(Written(), x, lambda x: seen.append(x.clone()))
    assert len(seen) == 9
    assert all(torch.equal(one, x) for one in seen)


@pytest.mark.parametrize(
    ('genotype', 'options', 'relus'),
    [
        ('DARTS_V2', dict(channels=4, num_cells=3), None),
        (LAYERS, dict(space='mobilenet_like'), 2 + 2 * 20 + 1),
    ],
)
def test_networks_of_other_spaces(genotype, options, relus):
    torch.manual_seed(0)
    net = build_net(genotype, **options)
    seen = []
    images = torch.randn(6, 3, 16, 16)
    watch_relus(net, images, seen.append)
    assert relus is None or len(seen) == relus
    batch = [Batch(images, torch.arange(6))]
    codes = torch.cat([x.flatten(1) for x in seen], 1) > 0
    kernel = (codes[:, None] == codes[None]).sum(-1).double()
    found = NASWOT()(Candidate(net), batch)
    assert found == pytest.approx(kernel.logdet().item(), rel=1e-9)
    assert SWAP()(Candidate(net), batch) == codes.unique(dim=1).shape[1]
    assert net.training


def test_images_of_one_code_give_minus_infinity():
    (batch, _) = batches(4, 8)
    images = torch.cat([batch.images, batch.images[:1]])
    batch = Batch(images, torch.zeros(5).long())
    assert NASWOT()(Candidate(SmallNet()), [batch]) == -math.inf


def test_more_images_than_a_word_has_bits():
    images = batches(150, 4)[0].images[:, :, :1, :2]
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Flatten()).double()
    torch.manual_seed(0)
    nn.init.normal_(net[0].weight)
    # most channels answer as another does
    net[0].weight.data[20:] = 2 * net[0].weight.data[:12]
    net[0].bias.data.zero_()
    codes = (net[0](images) > 0).flatten(1)
    batch = Batch(images, torch.zeros(150).long())
    assert SWAP()(Candidate(net), [batch]) == codes.unique(dim=1).shape[1] <= 40


def test_swap_begins_with_normal_weights():
    torch.manual_seed(0)
    net = build_net('DARTS_V2', channels=8, num_cells=3)
    SWAP().initialise(net)
    assert net.head.fc.weight.std().item() == pytest.approx(1, abs=0.05)
    assert net.head.fc.bias.abs().max() == 0
    conv = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert conv.weight.std().item() == pytest.approx(1, abs=0.1)


def test_an_auxiliary_head_has_no_parameters_to_swap():
    net = nn.ModuleDict(dict(auxiliary=nn.Linear(9, 9), net=SmallNet()))
    net.forward = lambda x: net['net'](x)
    assert score('SWAP', net, side=8, mu=1.0, sigma=1.0) == pytest.approx(SMALL['swap_regular'])


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match='mu and sigma together'):
        SWAP(mu=1.0)
    with pytest.raises(UserError, match='sigma of SWAP must be above 0'):
        SWAP(mu=1.0, sigma=0.0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).double()
    supernet = build_supernet('nas_bench_201', channels=4, cells_per_stage=1)
    for kind in ('NASWOT', 'SWAP'):
        with pytest.raises(UserError, match='Classifier is a supernet'):
            score(kind, supernet)
        with pytest.raises(UserError, match='Sequential has no ReLU'):
            score(kind, linear, side=8)
        with pytest.raises(UserError, match='gives no logits'):
            score(kind, nn.Sequential(*list(SmallNet())[:6]), side=8)
