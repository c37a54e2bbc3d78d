"""Scores by gradients: golden cases, formulas by hand, and networks that stay as they are."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from golden_scores import SmallNet, batches, cell_net, expected, fill_weights
from torch import nn

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.models import NASBench201Supernet
from rdarts.models.backbones.nas_bench_201_net import DerivedCell
from rdarts.registry import SCORES, build
from rdarts.sampling.scores import Batch, Candidate, Score

OF = dict(
    grad_norm=dict(type='GradNorm'),
    snip=dict(type='Snip'),
    plain=dict(type='Plain'),
    grasp=dict(type='Grasp'),
    fisher=dict(type='Fisher'),
    jacob_cov=dict(type='JacobCov'),
    synflow=dict(type='SynFlow'),
    synflow_bn=dict(type='SynFlow', batch_norm=True),
)
TOLERANCE = dict(jacob_cov=dict(abs=1e-5, rel=0), fisher=dict(rel=1e-5))
CELLS = ('1462', '1835', '9930', '13714', '6', '186', '4317', '11613')


def arch_of(index):
    return expected('scores_nb201_reduced')[index]['arch_str']


def score(config, network, given):
    return build(config, SCORES)(Candidate(network), given)


def assert_golden(network, given, found):
    for name, config in OF.items():
        tolerance = TOLERANCE.get(name, dict(rel=1e-8))
        value = pytest.approx(float(found[name]), nan_ok=True, **tolerance)
        assert score(config, network, given) == value, name


def test_scores_of_a_small_network_are_golden():
    assert_golden(SmallNet(), batches(8, 8), expected('scores_small_net'))


@pytest.mark.parametrize('name', ['grad_norm', 'snip', 'plain', 'synflow'])
def test_scores_of_layers_add_up(name):
    built, network, given = build(OF[name], SCORES), SmallNet(), batches(8, 8)
    terms = built.per_layer(Candidate(network), given)
    layers = [one for one in network.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    assert len(terms) == len(layers) and all(term.dim() == 0 for term in terms)
    assert sum(terms).item() == pytest.approx(built(Candidate(network), given))
    with pytest.raises(UserError, match='^JacobCov is no sum of terms of one layer each$'):
        build('JacobCov', SCORES).per_layer(Candidate(network), given)


@pytest.mark.parametrize('index', CELLS)
def test_scores_of_cells_are_golden(index):
    """A disconnected cell (11613) among them, whose Jacobian is constant."""
    found = expected('scores_nb201_reduced')[index]
    assert_golden(cell_net(arch_of(index)), batches(8, 16), found)


@pytest.mark.slow
def test_scores_in_the_benchmarks_skeleton_are_golden():
    network = cell_net(arch_of('9930'), channels=16, cells_per_stage=5)
    assert_golden(network, batches(16, 32), expected('scores_nb201_full_9930'))


def own_net(arch_str):
    """The NAS-Bench-201 network of zero-cost NAS: cells have biases, and norms without affine."""
    net = build_net(arch_str, space='nas_bench_201', channels=16, cells_per_stage=5)
    for cell in net.modules():
        if isinstance(cell, DerivedCell):
            for block in (edge for edge in cell.edges.values() if isinstance(edge, nn.Sequential)):
                conv = block[1]
                width, kernel = conv.out_channels, conv.kernel_size
                block[1] = nn.Conv2d(width, width, kernel, padding=conv.padding)
                block[2] = nn.BatchNorm2d(width, affine=False, track_running_stats=False)
    return fill_weights(net).float().double()


@pytest.mark.parametrize('index', ['9930', '13714', '6', '4317'])
def test_scores_of_zero_cost_nas_in_its_own_network(index):
    """Ours in float64, theirs in float32, in which the terms of plain do not cancel exactly."""
    found = expected('scores_zero_cost_nas_own_net')[index]
    net = own_net(arch_of(index))
    (batch, _) = batches(8, 16)
    given = [Batch(batch.images.float().double(), batch.labels)]
    for name in OF.keys() - {'synflow'}:
        value = pytest.approx(found[name], rel=2e-2 if name == 'grasp' else 2e-3)
        if name == 'plain':
            value = pytest.approx(found['plain'], abs=1e-5 * found['snip'])
        assert score(OF[name], net, given) == value, name
    for name, module in list(net.named_modules()):  # its copy keeps those of the reductions alone
        if isinstance(module, nn.BatchNorm2d) and '.conv_' not in name:
            parent, _, key = name.rpartition('.')
            setattr(net.get_submodule(parent), key, nn.Identity())
    assert score(OF['synflow_bn'], net, given) == pytest.approx(found['synflow'], rel=2e-3)


def state(network):
    """All that a score is to leave as it was."""
    return (
        {key: value.clone() for key, value in network.state_dict().items()},
        [module.training for module in network.modules()],
        [(one.requires_grad, one.grad) for one in network.parameters()],
        [len(module._forward_hooks) for module in network.modules()],
    )


def assert_state(network, before):
    tensors, *rest = state(network)
    assert all(torch.equal(tensors[key], value) for key, value in before[0].items())
    assert rest == list(before[1:])


@pytest.mark.parametrize('config', OF.values(), ids=OF)
def test_the_network_stays_as_it_is(config):
    network = SmallNet().eval()
    network[1].train()
    network[3].requires_grad_(False)
    network[0].weight.grad = torch.ones_like(network[0].weight)
    network[1].running_mean += 0.5
    before, given = state(network), batches(8, 8)
    with torch.no_grad():
        assert score(config, network, given) == score(config, SmallNet(), given)
    assert_state(network, before)
    with pytest.raises(RuntimeError):
        score(config, network, [Batch(given[0].images[:, :2], given[0].labels)])
    assert_state(network, before)
    assert not given[0].images.requires_grad


def darts_net():
    return build_net('DARTS_V2', channels=4, num_cells=3)


def layerwise_net():
    layers = ['mbconv_k3_e3', 'mbconv_k5_e6', 'mbconv_k7_e3'] * 7
    return build_net(dict(space='mobilenet_like', kind='layerwise', layers=layers))


def a_cell_net():
    return cell_net(arch_of('9930'))


@pytest.mark.parametrize('make', [a_cell_net, darts_net])
def test_float32_is_close_to_float64(make):
    """On a CPU, batch norms of float32 have a function of their own, which grasp derives twice."""
    torch.manual_seed(0)
    network, (given, _) = make().float(), batches(8, 16)
    single = [Batch(given.images.float(), given.labels)]
    found = {name: score(config, network, single) for name, config in OF.items()}
    network.double()
    for name, config in OF.items():
        value = score(config, network, [given])
        assert found[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize('make', [darts_net, layerwise_net])
def test_every_layer_of_a_network_counts(make, monkeypatch):
    """Fisher sees outputs, and a layer that is not called as a module would be left out."""
    network = make()
    seen = []
    monkeypatch.setattr(
        'rdarts.sampling.scores.fisher.total', lambda terms: seen.extend(terms) or 0.0
    )
    (given, _) = batches(4, 16)
    score(OF['fisher'], network, [Batch(given.images.float(), given.labels)])
    layers = [one for one in network.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    assert len(seen) == len(layers)
    assert all(term > 0 for term in seen)


class Tiny(nn.Module):
    """tanh and two linear layers, the second without a way to the logits if ``dead``."""

    def __init__(self, dead=False):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.dead = dead
        fill_weights(self)

    def forward(self, x):
        if self.dead:
            return x.new_zeros(len(x), 2)
        return self.second(torch.tanh(self.first(x.flatten(1))))


def tiny_batch():
    torch.manual_seed(0)
    return Batch(torch.randn(5, 3, 1, 1, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1]))


def test_grasp_is_the_product_with_the_hessian_written_out():
    network, batch = Tiny(), tiny_batch()
    sizes = [12, 8]
    flat = torch.cat([network.first.weight.flatten(), network.second.weight.flatten()]).detach()

    def loss(weights):
        first, second = weights.split(sizes)
        hidden = F.linear(batch.images.flatten(1), first.view(4, 3), network.first.bias)
        logits = F.linear(torch.tanh(hidden), second.view(2, 4), network.second.bias)
        return F.cross_entropy(logits / 3, batch.labels)

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    found = score(dict(type='Grasp', temperature=3.0), network, [batch])
    assert found == pytest.approx(-(flat * (hessian @ gradient)).sum().item(), rel=1e-10)


def test_fisher_by_channels_is_the_formula_written_out():
    network, batch = Tiny(), tiny_batch()
    hidden = network.first(batch.images.flatten(1)).detach().requires_grad_()
    logits = network.second(torch.tanh(hidden))
    grads = torch.autograd.grad(F.cross_entropy(logits, batch.labels), [hidden, logits])
    pairs = zip([hidden, logits], grads, strict=True)
    channels = [(out * grad).square().mean(0).sum().item() / 2 for out, grad in pairs]
    found = score(dict(type='Fisher', per_weight=False), network, [batch])
    assert found == pytest.approx(sum(channels), rel=1e-12)
    found = score(OF['fisher'], network, [batch])
    assert found == pytest.approx(3 * channels[0] + 4 * channels[1], rel=1e-12)


def test_what_overwrites_an_output_changes_no_score():
    """A ReLU that works in place leaves Fisher the output of the layer before it."""
    found = []
    for inplace in (False, True):
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU6(inplace), nn.Flatten(), nn.Linear(4 * 36, 10)]
        network = fill_weights(nn.Sequential(*layers))
        network[0].weight.data *= 20  # beyond 6, where a ReLU6 has no gradient
        found.append(score(OF['fisher'], network, batches(8, 8)))
    assert found[0] == found[1] > 0


@pytest.mark.parametrize('name', ['grad_norm', 'snip', 'plain', 'grasp', 'fisher', 'synflow'])
def test_a_network_that_reaches_nothing_scores_0(name):
    assert score(OF[name], Tiny(dead=True), [tiny_batch()]) == 0


def test_degenerate_values_are_kept():
    assert math.isnan(score(OF['jacob_cov'], Tiny(dead=True), [tiny_batch()]))
    network = Tiny()
    network.second.weight.data[0, 0] = math.nan
    for name, config in OF.items():
        assert math.isnan(score(config, network, [tiny_batch()])), name
    assert math.isnan(score(dict(type='SynFlow', log=True), network, [tiny_batch()]))


def test_synflow_as_a_logarithm():
    given = batches(8, 8)
    plain = score(OF['synflow'], SmallNet(), given)
    log = dict(type='SynFlow', log=True)
    assert score(log, SmallNet(), given) == math.log(plain)
    assert score(log, Tiny(dead=True), [tiny_batch()]) == -math.inf


def test_bad_input_is_one_line():
    given = batches(1, 8)
    with pytest.raises(UserError, match='has neither a convolution nor a linear layer'):
        score(OF['snip'], nn.Flatten(), given)
    with pytest.raises(UserError, match='NASBench201Supernet is a supernet, whose candidates'):
        score(OF['snip'], NASBench201Supernet(channels=4, cells_per_stage=1), given)
    with pytest.raises(UserError, match=r'gives no logits \[N, classes\]: a score needs'):
        score(OF['snip'], SmallNet()[0], given)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 10, 1), nn.BatchNorm2d(10))
    pooled = pooled.append(nn.Flatten()).double()
    with pytest.raises(UserError, match=r'images \[1, 3, 8, 8\]: Expected more than 1 value'):
        score(OF['plain'], pooled, given)
    with pytest.raises(UserError, match='temperature of Grasp must be above 0, but is 0'):
        build(dict(type='Grasp', temperature=0), SCORES)
    with pytest.raises(UserError, match="takes no 'keep'"):
        build(dict(type='SynFlow', keep=True), SCORES)
    with pytest.raises(TypeError, match='Score does not override __call__'):
        Score()(Candidate(SmallNet()), given)
