"""The MobileNet-like supernet and network: against torchvision's MobileNetV2, and by shape."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from rdarts.apis import build_net, build_supernet
from rdarts.architect.architects.unrolled import unrolled
from rdarts.errors import UserError
from rdarts.genotypes import LayerwiseGenotype
from rdarts.models import MobileNetLikeNet, MobileNetLikeSupernet
from rdarts.models.layers import StackedBatchNorm2d
from rdarts.models.multiply_adds import count_macs
from rdarts.registry import OPERATIONS
from rdarts.search_spaces import build_space

V2 = dict(
    type='mobilenet_like',
    widths=(24, 32, 64, 96, 160, 320),
    depths=(2, 3, 4, 3, 3, 1),
    strides=(2, 2, 2, 1, 2, 1),
)
SMALL = dict(type='mobilenet_like', widths=(8, 16, 16), depths=(2, 3, 1), strides=(2, 2, 1))
SIZES = dict(stem_channels=8, first_channels=8, last_channels=32)


def small_net(layers, **kwargs):
    name = build_space(SMALL).name
    return MobileNetLikeNet(LayerwiseGenotype(name, tuple(layers)), SMALL, **SIZES, **kwargs)


ALL = ['mbconv_k3_e3', 'mbconv_k5_e6', 'mbconv_k7_e3', 'mbconv_k3_e6', 'mbconv_k5_e3',
       'mbconv_k7_e6']  # fmt: skip


def test_with_mobilenet_v2s_sizes_it_is_torchvisions():
    genotype = LayerwiseGenotype(build_space(V2).name, ('mbconv_k3_e6',) * 16)
    net = build_net(genotype, 1000, space=V2, stem='imagenet', norm_eps=1e-5)
    reference = torchvision.models.mobilenet_v2()
    count = [sum(p.numel() for p in model.parameters()) for model in (net, reference)]
    assert count == [3_504_872] * 2
    ours, theirs = net.backbone.state_dict(), reference.features.state_dict()
    net.backbone.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)).double()
    net, reference = net.double(), reference.double()
    for mode in (True, False):
        net.train(mode)
        reference.train(mode)
        (found,), expected = net.backbone(image), reference.features(image)
        assert found.shape == (2, 1280, 2, 3)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    # torchvision states 0.30 GMACs, without the norms
    assert count_macs(net.float(), torch.zeros(3, 224, 224)) == 300_774_272


def test_the_supernet_holds_every_candidate():
    torch.manual_seed(0)
    net = build_supernet('mobilenet_like', 1000).backbone
    assert isinstance(net, MobileNetLikeSupernet)
    alphas = sum(p.numel() for p in net.arch_parameters.values())
    weights = sum(p.numel() for p in net.parameters()) - alphas
    assert alphas == 6 * 6 + 15 * 7

    def mbconv(c, o, k, e):
        width = e * c
        return c * width + 2 * width + width * k * k + 2 * width + width * o + 2 * o

    expected = 3 * 32 * 9 + 64 + 32 * 9 + 64 + 32 * 16 + 32  # stem
    width = 16
    for stage in net.space.stages:
        for _ in range(stage.depth):
            expected += sum(mbconv(width, stage.width, k, e) for k in (3, 5, 7) for e in (3, 6))
            width = stage.width
    expected += 320 * 1280 + 2 * 1280
    assert weights == expected == 14_753_168
    assert net(torch.zeros(2, 3, 64, 64))[0].shape == (2, 1280, 2, 2)
    net = MobileNetLikeSupernet(SMALL, stem='cifar', **SIZES)
    assert net(torch.zeros(2, 3, 32, 32))[0].shape == (2, 32, 16, 16)


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_one_hot_weights_make_the_network_of_the_genotype(mode):
    """Alpha that chooses one candidate, and the weights copied into the derived network."""
    torch.manual_seed(0)
    supernet = MobileNetLikeSupernet(SMALL, execution='plain', **SIZES).double()
    layers = [*ALL]
    layers[1] = 'skip_connect'
    net = small_net(layers, norm_eps=1e-5).double()
    for edge, (group, row), name in zip(
        supernet.space.cells['layerwise'].edges,
        supernet.space.slots('layerwise'),
        layers,
        strict=True,
    ):
        alpha = torch.full((len(edge.candidates),), -1e4, dtype=torch.float64)
        alpha[edge.candidates.index(name)] = 0
        supernet.arch_parameters[group].data[row] = alpha
    state = {}
    for name, tensor in supernet.state_dict().items():
        if name.startswith(('stem', 'last')):
            state[name] = tensor
    index = 0
    for stage, depth in enumerate(SMALL['depths']):
        kept = 0
        for _ in range(depth):
            if layers[index] != 'skip_connect':
                operation = supernet.layers[index].operations[layers[index]]
                for key, tensor in operation.state_dict().items():
                    state[f'stages.{stage}.{kept}.{key}'] = tensor[0]
                kept += 1
            index += 1
    missing = net.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith('num_batches_tracked') for key in missing.missing_keys)
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    supernet.train(mode == 'train')
    net.train(mode == 'train')
    torch.testing.assert_close(net(image)[0], supernet(image)[0], rtol=1e-10, atol=1e-12)


class Counting(nn.Module):
    """An operation of one's own: buffers of other kinds, and a result that depends on one."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.norm = nn.BatchNorm2d(out_channels, momentum=None)
        self.other = nn.InstanceNorm2d(out_channels, track_running_stats=True)
        self.register_buffer('calls', torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        x = self.conv(x)
        return self.calls * self.norm(x) + self.other(x)


@pytest.fixture
def counting():
    OPERATIONS.register_module(name='counting', module=Counting)
    space = build_space(SMALL)
    cell = space.cells['layerwise']
    edges = [replace(edge, candidates=(*edge.candidates, 'counting')) for edge in cell.edges]
    edges[0] = space.cells['layerwise'].edges[0]  # of other channels
    yield replace(space, name='counted', cells=dict(layerwise=replace(cell, edges=tuple(edges))))
    OPERATIONS.module_dict.pop('counting')


def step_of(net, image):
    """Gradients of a step that opens alpha and weights, and the buffers after it."""
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_(True)
    net(image)[0].square().sum().backward()
    found = {name: p.grad for name, p in net.named_parameters()}
    return {**found, **dict(net.named_buffers())}


def assert_recomputing_changes_no_number(net, image):
    results = []
    for checkpoint in (False, True):
        twin = copy.deepcopy(net)
        twin.checkpoint = checkpoint
        step_of(twin, image)
        results.append(step_of(twin, image))
    assert results[0].keys() == results[1].keys()
    for name, expected in results[0].items():
        assert torch.equal(results[1][name], expected), name
    return results[0]


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_recomputing_changes_no_number(execution):
    torch.manual_seed(0)
    net = MobileNetLikeSupernet(SMALL, execution=execution, **SIZES).double()
    image = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    found = assert_recomputing_changes_no_number(net, image)
    norms = [m for m in net.modules() if isinstance(m, StackedBatchNorm2d)]
    moved = [n for n in found if n.endswith('running_mean') and 'layers' in n]
    assert len(moved) == len(norms) and all(found[n].any() for n in moved)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_recomputing_moves_no_buffer_of_an_operation_of_ones_own(execution, counting):
    torch.manual_seed(0)
    net = MobileNetLikeSupernet(counting, execution=execution, **SIZES).double()
    image = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    found = assert_recomputing_changes_no_number(net, image)
    counts = [int(v) for n, v in found.items() if 'counting' in n and v.numel() == 1]
    assert len(counts) == 3 * 5 and set(counts) == {0, 2}  # an instance norm counts none
    assert all(v.any() for n, v in found.items() if 'counting' in n and n.endswith('running_mean'))


def loss_of(net, image):
    return net(image)[0].tanh().square().sum()


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_recomputing_goes_through_backward_twice(execution, training):
    torch.manual_seed(0)
    net = MobileNetLikeSupernet(SMALL, execution=execution, **SIZES).double().train(training)
    image = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    parameters = [p for p in net.parameters() if p.requires_grad]
    results = []
    for net.checkpoint in (False, True):
        loss = loss_of(net, image)
        first = torch.autograd.grad(loss, parameters, retain_graph=True)
        results.append([*first, *torch.autograd.grad(loss, parameters)])
    for expected, found in zip(*results, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('hessian', ['autograd', 'finite_difference'])
def test_the_unrolled_gradient_with_recomputing(execution, hessian):
    torch.manual_seed(0)
    sizes = dict(SMALL, depths=(2, 1, 1))
    net = MobileNetLikeSupernet(sizes, execution=execution, alpha_std=0.5, **SIZES).double()
    batches = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64)
    alphas = list(net.arch_parameters.values())
    weights = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=3e-4)
    before = copy.deepcopy(net.state_dict())
    results = []
    for net.checkpoint in (False, True):
        losses = [lambda x=x: loss_of(net, x) for x in batches]
        grads, loss = unrolled(*losses, alphas, weights, optimizer, list(net.buffers()), hessian)
        results.append([*grads, loss])
        assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert all(grad.norm() > 0 for grad in results[0])
    for expected, found in zip(*results, strict=True):
        assert (found - expected).norm() <= 1e-10 * expected.norm()


def test_outputs_by_stride_and_what_is_frozen():
    net = small_net(ALL, out_indices=(0, 1, 2), frozen_stages=1)
    # one output before the second stride, then the last layer, then the last convolution
    assert net.strides == (4, 8, 8) and net.out_widths == (8, 16, 32)
    image = torch.randn(2, 3, 64, 48)
    for out, stride, width in zip(net(image), net.strides, net.out_widths, strict=True):
        assert out.shape == (2, width, 64 // stride, 48 // stride)
    learn = {name.split('.')[0] + name.split('.')[1] for name, p in net.named_parameters()
             if p.requires_grad}  # fmt: skip
    assert {'stages1', 'stages2', 'last0', 'last1'} == learn
    net.train()
    modes = {m.training for m in net.stages[0].modules() if isinstance(m, nn.BatchNorm2d)}
    assert modes == {False}
    # a detector reads no last convolution: it is there, and does not learn
    net = small_net(ALL, out_indices=(0, 1))
    assert not any(p.requires_grad for p in net.last.parameters())
    assert [out.shape[1] for out in net(image)] == [8, 16]
    sum(out.sum() for out in net(image)).backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_the_full_network_has_strides_4_to_32():
    net = build_net(' - '.join(['mbconv_k3_e6'] * 21), 1000, stem='imagenet')
    assert net.backbone.strides == (4, 8, 16, 32, 32)
    assert net.backbone.out_widths == (24, 40, 96, 320, 1280)
    assert net.backbone.out_indices == (4,)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (
            lambda: MobileNetLikeSupernet('darts'),
            "space 'darts' does not fit MobileNetLikeSupernet",
        ),
        (lambda: MobileNetLikeSupernet(SMALL, stem='x'), "stem must be 'imagenet' or 'cifar'"),
        (lambda: MobileNetLikeSupernet(SMALL, last_channels=0), 'last_channels must be a positive'),
        (lambda: small_net(ALL[:-1]), 'it has 5 layers, but space'),
        (lambda: small_net(ALL, out_indices=(3,)), 'out_indices must be among 0 to 2'),
        (lambda: small_net(['skip_connect', *ALL[1:]]), "'skip_connect' is no candidate of edge 0"),
        (lambda: small_net(ALL)(torch.zeros(1, 3, 4, 4)), 'too small for its stride 8'),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert message in str(error.value)
