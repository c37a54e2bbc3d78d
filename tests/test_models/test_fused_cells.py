"""Derived networks in fused execution: the numbers of their layers, run one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rdarts.engine.compiling import compile_backbone
from rdarts.errors import UserError
from rdarts.measure.counts import count_activations, count_all
from rdarts.models import DARTSNet, MobileNetLikeNet, NASBench201Net
from rdarts.models.backbones.fused_cells import Nodes, pad_to, padded
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.kernels import use_backend
from rdarts.models.layers import GroupedConv2d
from rdarts.models.multiply_adds import count_macs

CELL = '|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|'
# Two operations between the same nodes, and a node without an edge
TWICE = dict(
    space='darts',
    kind='cell',
    cells=dict(
        normal=dict(
            nodes=[
                [['sep_conv_3x3', 0], ['dil_conv_5x5', 0], ['skip_connect', 0]],
                [],
                [['max_pool_3x3', 1], ['sep_conv_3x3', 3]],
                [['sep_conv_3x3', 4]],
            ],
            concat=[2, 3, 4, 5],
        ),
        reduce=dict(
            nodes=[[['skip_connect', 0], ['skip_connect', 1]], [['sep_conv_5x5', 2]], [], []],
            concat=[2, 3, 4, 5],
        ),
    ),
)
# Sums that begin with the zeros of a node without an edge
FROM_NOTHING = dict(
    space='darts',
    kind='cell',
    cells={
        kind: dict(
            nodes=[
                [],
                [['sep_conv_3x3', 0], ['skip_connect', 1]],
                [['skip_connect', 2], ['sep_conv_3x3', 3], ['dil_conv_3x3', 3]],
                [
                    ['avg_pool_3x3', 2],
                    ['skip_connect', 2],
                    ['max_pool_3x3', 4],
                    ['sep_conv_3x3', 4],
                ],
            ],
            concat=[2, 3, 4, 5],
        )
        for kind in ('normal', 'reduce')
    },
)


def darts(name='DARTS_V2', channels=12, num_cells=4, dtype=torch.float64, **kwargs):
    torch.manual_seed(0)
    net = DARTSNet(name, channels=channels, num_cells=num_cells, **kwargs).to(dtype).train()
    _shake(net)
    return net


def nas_bench_201(dtype=torch.float64, **kwargs):
    torch.manual_seed(0)
    net = NASBench201Net(CELL, cells_per_stage=1, **kwargs).to(dtype).train()
    _shake(net)
    return net


def layerwise(**kwargs):
    torch.manual_seed(0)
    layers = ['mbconv_k3_e3'] * 21
    layers[2] = layers[9] = 'skip_connect'
    layers[5] = 'mbconv_k5_e6'
    sizes = dict(stem_channels=8, first_channels=8, last_channels=16, stem='cifar')
    net = MobileNetLikeNet(' - '.join(layers), **sizes, **kwargs).double().train()
    _shake(net)
    return net


def _shake(net):
    """Batch norms and their statistics as no others are."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 1.5)


def image(size=12, batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, size, size, dtype=dtype, generator=generator)


def step(net, x, execution):
    """Outputs, gradients and buffers of a copy after two passes, the second taken back."""
    net = copy.deepcopy(net)
    net.execution = execution
    x = x.clone().requires_grad_()
    torch.manual_seed(2)
    net(x)
    outputs = net(x)
    sum((out.float() if out.dtype.itemsize < 4 else out).sin().sum() for out in outputs).backward()
    found = {f'output {i}': out.detach() for i, out in enumerate(outputs)}
    found['image'] = x.grad
    found.update({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    found.update({f'buffer {name}': one for name, one in net.named_buffers()})
    return found


def assert_same(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        distance = float((found[name] - one).double().norm())
        assert distance <= tolerance * max(float(one.double().norm()), 1e-2), name


CASES = dict(
    darts=lambda: darts(),
    whole_vectors=lambda: darts(channels=16, num_cells=3),
    dropped_paths=lambda: darts(drop_path=0.4),
    auxiliary=lambda: darts(auxiliary=True, num_cells=6, out_indices=(0, 1, 2)),
    imagenet_stem=lambda: darts(stem='imagenet', num_cells=3, out_indices=(0, 1, 3)),
    nasnet=lambda: darts('NASNet', channels=10, num_cells=3),
    amoeba_net=lambda: darts('AmoebaNet', num_cells=3),
    two_operations_an_edge=lambda: darts(TWICE, num_cells=3, drop_path=0.2),
    nodes_of_nothing=lambda: darts(FROM_NOTHING, num_cells=3),
    frozen=lambda: darts(frozen_stages=1),
    norm_eval=lambda: darts(norm_eval=True),
    nas_bench_201=lambda: nas_bench_201(),
    nas_bench_201_of_12_channels=lambda: nas_bench_201(channels=12),
    layers=lambda: layerwise(frozen_stages=0, out_indices=(0, 4)),
)


@pytest.mark.parametrize('case', CASES)
def test_fused_gives_the_numbers_of_plain(cpp, told, case):
    net = CASES[case]()
    x = image(64 if case == 'imagenet_stem' else 12)
    net.train()
    assert_same(step(net, x, 'fused'), step(net, x, 'plain'))
    net.eval()
    assert_same(step(net, x, 'fused'), step(net, x, 'plain'))
    assert not any('runs plain' in line for line in told)


def evaluated(net, x, execution):
    net = copy.deepcopy(net).eval()
    net.execution = execution
    with torch.no_grad():
        return dict(enumerate(net(x)))


@pytest.mark.parametrize('case', CASES)
def test_evaluation_without_gradients_gives_the_numbers_of_plain(cpp, told, case):
    net = CASES[case]()
    x = image(64 if case == 'imagenet_stem' else 12)
    assert_same(evaluated(net, x, 'fused'), evaluated(net, x, 'plain'))
    assert not any('runs plain' in line for line in told)


def test_paths_are_dropped_without_gradients_where_cells_train(cpp):
    net, found = darts(num_cells=3, norm_eval=True, drop_path=0.5), []
    for net.execution in ('plain', 'fused'):
        torch.manual_seed(3)
        with torch.no_grad():
            found.append(net(image())[0])
    assert_same(dict(out=found[1]), dict(out=found[0]))
    assert not torch.allclose(found[0], evaluated(net, image(), 'plain')[0])


def test_evaluation_of_float32_images_stays_in_float32_in_autocast(cpp):
    net = darts('AmoebaNet', 16, num_cells=3, dtype=torch.float32, execution='fused').eval()
    x, found = image(dtype=torch.float32), []
    _, cells = net._fused(x)
    for enabled in (False, True):
        with torch.no_grad():
            first = second = Nodes.of(net.stem(x))
            with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
                for cell in cells:
                    first, second = second, cell(first, second, 0.0)
        found.append(second.whole())
    assert found[1].dtype == torch.float32 and torch.equal(*found)


def test_evaluation_without_gradients_folds_batch_norms(recorder):
    net = darts(num_cells=3, execution='fused').eval()
    before = copy.deepcopy(net.state_dict())
    with torch.inference_mode():
        net(image())
    assert len(recorder.of('pointwise_folded')) == 6
    folded = [len(args[1]) for _, args in recorder.of('separable_folded')]
    assert sorted(set(folded)) == [1, 2]  # dilated and separable convolutions
    assert not recorder.of('separable_forward')
    assert not recorder.of('moments')
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())


def test_evaluation_reads_parameters_and_statistics_as_they_are_now(cpp):
    net = darts(num_cells=3, execution='fused').eval()
    with torch.no_grad():
        first = net(image())[0]
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.data.mul_(1.1)  # which no version of it counts
    found = evaluated(net, image(), 'fused')
    assert_same(found, evaluated(net, image(), 'plain'))
    assert not torch.allclose(found[0], first)


@pytest.mark.parametrize('case', ['darts', 'nas_bench_201', 'layers'])
def test_evaluation_in_float32_is_as_near_to_float64_as_plain(cpp, case):
    far = dict.fromkeys(['plain', 'fused'], 0.0)
    for seed in range(3):
        net = CASES[case]().float()
        x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
        exact = evaluated(copy.deepcopy(net).double(), x.double(), 'plain')[0]
        for execution in far:
            found = evaluated(net, x, execution)[0].double()
            far[execution] += float((found - exact).norm() / exact.norm())
    assert far['fused'] < 1.5 * far['plain']


def test_what_runs_are_kernels_over_edges(recorder):
    net = darts(num_cells=3, execution='fused')  # one cell of separable convolutions
    net(image())
    calls = recorder.of('separable_forward')
    # Of the edges that leave each input twice, and of one that leaves a node
    assert [tuple(args[2].shape[:2]) for _, args in calls] == [
        *[(2, 16)] * 2,
        *[(3, 16)] * 2,
        (1, 16),
    ]


def quick_cell(operation):
    """A cell of NAS-Bench-201 with an operation on one edge, and cheap ones on the others."""
    return f'|{operation}~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|none~2|'


OF_AUTO = dict(
    darts=lambda: darts(num_cells=1, channels=8, dtype=torch.float32),
    layers=lambda: layerwise().float(),
    convolution=lambda: NASBench201Net(quick_cell('nor_conv_3x3'), channels=8, cells_per_stage=1),
    imagenet_stem=lambda: NASBench201Net(
        quick_cell('nor_conv_3x3'), channels=8, cells_per_stage=1, stem='imagenet'
    ),
    no_convolution=lambda: NASBench201Net(
        quick_cell('nor_conv_1x1'), channels=8, cells_per_stage=1
    ),
)


@pytest.mark.parametrize(
    ('case', 'batch', 'size', 'gradients', 'expected'),
    [
        ('darts', 1, 8, False, True),
        ('darts', 1, 8, True, True),
        ('layers', 1, 8, False, False),
        ('layers', 1, 8, True, True),
        ('layers', 8, 32, False, True),
        ('layers', 7, 32, False, False),
        ('layers', 1, 96, False, True),
        ('convolution', 32, 32, False, True),
        ('convolution', 31, 32, False, False),
        ('convolution', 8, 64, False, True),
        ('convolution', 32, 32, True, False),
        ('imagenet_stem', 32, 64, False, False),
        ('imagenet_stem', 8, 256, False, True),
        ('no_convolution', 32, 32, False, False),
    ],
)
def test_auto_evaluates_in_what_was_measured_as_quicker(
    recorder, case, batch, size, gradients, expected
):
    net = OF_AUTO[case]().eval()
    net.execution = 'auto'
    x = image(size, batch, torch.float32)
    with torch.set_grad_enabled(gradients):
        assert (net._fused(x) is not None) == expected
    assert net.train()._fused(x) is not None
    net.eval()
    recorder.calls.clear()
    with torch.set_grad_enabled(gradients):
        found = net(x)
        assert bool(recorder.calls) == expected
        net.execution = 'fused' if expected else 'plain'
        assert all(map(torch.equal, found, net(x)))


def test_float32_is_as_near_to_float64_as_plain(cpp):
    ratios = []
    for seed in range(3):
        net = darts(dtype=torch.float32)
        x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
        exact = step(copy.deepcopy(net).double(), x.double(), 'plain')
        names = [name for name in exact if name.startswith(('output', 'image'))]
        far = {
            execution: sum(
                float((found[name].double() - exact[name]).norm() / exact[name].norm())
                for name in names
            )
            for execution in ('plain', 'fused')
            for found in [step(net, x, execution)]
        }
        ratios.append(far['fused'] / far['plain'])
    assert sum(ratios) / len(ratios) < 1.5


def test_a_mode_that_norms_do_not_share_runs_the_cell_plain(cpp):
    net = darts(num_cells=2, execution='fused')
    next(one for one in net.cells[0].modules() if isinstance(one, nn.BatchNorm2d)).eval()
    expected = copy.deepcopy(net)
    expected.execution = 'plain'
    torch.testing.assert_close(net(image()), expected(image()), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('case', ['darts', 'amoeba_net', 'norm_eval'])
def test_two_passes_before_one_backward(cpp, case):
    def both(execution):
        net = CASES[case]()
        net.execution = execution
        loss = net.train()(image())[0].sin().sum() + net(2 * image())[0].sin().sum()
        loss.backward()
        return {name: p.grad for name, p in net.named_parameters()}

    assert_same(both('fused'), both('plain'))


@pytest.mark.parametrize('momenta', [(0.1, 1.0, None), (None, 0.1)])
def test_statistics_move_as_the_norms_say_now(recorder, momenta):
    """Such as those that are computed anew, by a momentum of their own or as a mean."""
    ran = []

    def moved(execution):
        net = darts(num_cells=3)
        net.execution = execution
        norms = [one for one in net.modules() if isinstance(one, nn.BatchNorm2d)]
        for momentum in momenta:
            for norm in norms:
                norm.momentum = momentum
            recorder.calls.clear()
            net(image())
            ran.append(bool(recorder.of('separable_forward')))
        for number, norm in enumerate(norms):
            norm.eps, norm.momentum = 1e-3 * (1 + number % 2), 0.2
        net(image())
        return dict(net.named_buffers())

    assert_same(moved('fused'), moved('plain'))
    assert ran == [momentum is not None for momentum in momenta] + [False] * len(momenta)


def test_gradients_of_gradients_are_those_of_plain(cpp):
    def curvature(execution):
        net = darts(num_cells=2, channels=6)
        net.execution = execution
        loss = net(image(8, 2))[0].sin().sum()
        weights = list(net.parameters())
        grads = torch.autograd.grad(loss, weights, create_graph=True)
        again = torch.autograd.grad(sum(grad.square().sum() for grad in grads), weights)
        return dict(enumerate(again))

    assert_same(curvature('fused'), curvature('plain'), 1e-8)


def test_a_state_dict_is_that_of_plain_and_loads_after_a_pass(cpp):
    net, other = darts(), darts(execution='fused')
    assert list(net.state_dict()) == list(other.state_dict())
    other(image())
    other.load_state_dict(net.state_dict())
    assert_same(step(other, image(), 'fused'), step(net, image(), 'plain'))


def test_another_type_after_a_pass(cpp):
    net = darts(dtype=torch.float32, execution='fused')
    net(image(dtype=torch.float32))
    net.double()
    expected = copy.deepcopy(net)
    expected.execution = 'plain'
    torch.testing.assert_close(net(image()), expected(image()), rtol=1e-10, atol=1e-10)


def test_a_pass_draws_no_number_and_starts_are_the_same(cpp):
    net = darts(dtype=torch.float32, execution='fused')
    state = torch.get_rng_state()
    net(image(dtype=torch.float32))
    assert torch.equal(torch.get_rng_state(), state)


def assert_plain(net):
    expected = copy.deepcopy(net)
    expected.execution = 'plain'
    torch.testing.assert_close(net(image()), expected(image()), rtol=0, atol=0)


def test_what_does_not_run_fused_runs_plain_and_the_log_says_so(cpp, told):
    net = darts(execution='fused').eval()
    net.cells[0].preprocess0[2] = nn.SyncBatchNorm(12).double().eval()
    assert_plain(net)
    assert_plain(net)
    (line,) = told
    assert line.startswith('execution fused: DARTSNet runs plain: what a cell does first')


def _checkpoint(layer):
    forward = layer.forward  # as activation checkpointing does
    layer.forward = lambda *args: forward(*args)


HOOKS = dict(
    after=lambda layer: layer.register_forward_hook(lambda *_: None),
    before=lambda layer: layer.register_forward_pre_hook(lambda *_: None),
    backward=lambda layer: layer.register_full_backward_hook(lambda *_: None),
    before_backward=lambda layer: layer.register_full_backward_pre_hook(lambda *_: None),
    forward=_checkpoint,
)


@pytest.mark.parametrize('hook', HOOKS)
def test_layers_that_do_more_than_their_forward_are_called(told, recorder, hook):
    net = darts(num_cells=3, execution='fused')
    net.register_forward_hook(lambda *_: None)  # one of the network fires anyway
    net(image())
    assert recorder.of('separable_forward') and told == []
    recorder.calls.clear()
    handle = HOOKS[hook](net.cells[0].nodes[0][0])
    net(image())
    assert not recorder.of('separable_forward')
    why = "the layer 'cells.0.nodes.0.0' has hooks or a forward of its own"
    assert told == [f'execution fused: DARTSNet runs plain: {why}']
    if handle is not None:
        handle.remove()
        net(image())
        assert recorder.of('separable_forward')


def _other_operation(net):
    net.cells[0].nodes[0][0] = nn.Identity()


def _another_layer(net):
    net.cells[0].nodes[0][0].append(nn.Tanh())


def _other_relu(net):
    net.cells[0].nodes[0][0][0] = nn.Tanh()


def _other_cell(net):
    net.cells[0] = copy.deepcopy(net.cells[0])
    net.cells[0].__class__ = type('Mine', (type(net.cells[0]),), {})


def _convolution(net, **args):
    net.cells[0].nodes[0][0][2] = nn.Conv2d(
        12, 12, **dict(kernel_size=1, bias=False) | args
    ).double()


def _narrower_layers(net):
    layers = net.cells[0].nodes[0][0]
    layers[2], layers[3] = nn.Conv2d(12, 6, 1, bias=False), BatchNorm2d(6)
    layers[5] = GroupedConv2d(6, 6, 3, padding=1, groups=6, bias=False)
    layers[6] = nn.Conv2d(6, 12, 1, bias=False)
    layers.double()


CHANGES = dict(
    channels=_narrower_layers,
    operation=_other_operation,
    layer=_another_layer,
    relu=_other_relu,
    cell=_other_cell,
    bias=lambda net: _convolution(net, bias=True),
    groups=lambda net: _convolution(net, groups=2),
    kernel=lambda net: _convolution(net, kernel_size=3, padding=1),
)


@pytest.mark.parametrize('before', [False, True])
@pytest.mark.parametrize('change', CHANGES)
def test_layers_that_were_changed_run_plain(cpp, told, change, before):
    net = darts(num_cells=3, execution='fused')
    if before:
        net(image())
    CHANGES[change](net)
    assert_plain(net)
    assert len(told) == 1 and told[0].startswith('execution fused: DARTSNet runs plain: ')


def test_another_layer_of_the_same_kind_is_the_one_that_runs(cpp, told):
    net = darts(num_cells=3, execution='fused')
    net(image())
    _convolution(net)
    net.stem[0] = nn.Conv2d(3, 36, 3, padding=2, dilation=2).double()
    assert_same(step(net, image(), 'fused'), step(net, image(), 'plain'))
    assert told == []


def test_an_edge_or_a_layer_that_is_no_longer_there(cpp, told):
    net = nas_bench_201(execution='fused')
    net(image())
    del net.stages[0][0].edges['0_1']
    assert_same(step(net, image(), 'fused'), step(net, image(), 'plain'))
    assert told == []
    net = layerwise(execution='fused')
    net.stages[-1].append(nn.Tanh())
    assert_plain(net)
    why = 'its stages have not the layers of its genotype'
    assert told == [f'execution fused: MobileNetLikeNet runs plain: {why}']


@pytest.mark.parametrize('case', ['darts', 'amoeba_net', 'nas_bench_201', 'layers'])
def test_a_first_pass_in_inference_mode_lets_the_next_learn(cpp, case):
    def learn(execution):
        net = CASES[case]()
        net.execution = execution
        with torch.inference_mode():
            net.eval()(image())
        net.train()(image())[0].sin().sum().backward()
        return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}

    assert_same(learn('fused'), learn('plain'))


def test_a_copy_of_a_compiled_network_runs_its_own_weights():
    net = darts(num_cells=1, channels=4)
    net.compile(backend='eager')
    other = copy.deepcopy(net)
    assert net._compiled_call_impl is not None and other._compiled_call_impl is None


def test_a_compiled_network_says_that_it_runs_plain(told):
    model = nn.Module()
    model.backbone = darts(num_cells=1, channels=4, execution='auto')
    compile_backbone(model, True)
    assert told == ['execution auto: DARTSNet runs plain where it is compiled']
    model.backbone.execution = 'plain'
    told.clear()
    compile_backbone(model, True)
    assert told == []


@pytest.mark.parametrize(
    ('name', 'why'),
    [('swish', "the operation 'swish' is a module"), ('noise', "of the operation 'noise' plain")],
)
def test_operations_that_do_not_run_fused(cpp, told, swish, name, why):
    cells = dict(only=dict(num_nodes=2, edges=[(0, 1, ['none', name])]))
    space = dict(type='CellSpace', name='mine', cells=cells)
    genotype = dict(
        space='mine', kind='cell', cells=dict(only=dict(nodes=[[[name, 0]]], concat=[1]))
    )
    net = NASBench201Net(genotype, space, channels=8, cells_per_stage=1, execution='auto').double()
    expected = copy.deepcopy(net)
    expected.execution = 'plain'
    torch.manual_seed(0)
    found = net(image())
    torch.manual_seed(0)
    torch.testing.assert_close(found, expected(image()), rtol=0, atol=0)
    (line,) = told
    assert line.startswith(f'execution auto: NASBench201Net runs plain: {why}')


def test_without_native_kernels_it_is_plain(told):
    net = darts(execution='fused')
    with use_backend('torch'):
        found = net(image())
    net.execution = 'plain'
    torch.testing.assert_close(copy.deepcopy(net)(image()), found, rtol=0, atol=0)
    assert told == ["execution fused: DARTSNet runs plain: use_backend asks for 'torch'"]


def test_what_is_exported_are_the_layers(cpp):
    net = darts(num_cells=2, execution='fused').float().eval()
    program = torch.export.export(net, (image(dtype=torch.float32),))
    assert not [node for node in program.graph.nodes if 'rdarts' in str(node.target)]


def test_what_is_exported_takes_any_number_of_images(cpp):
    net = OF_AUTO['convolution']().eval()
    net.execution = 'auto'  # which asks for the number of images where nothing is traced
    batch = torch.export.Dim('batch')
    with torch.no_grad():
        program = torch.export.export(
            net, (image(32, 2, torch.float32),), dynamic_shapes=({0: batch},)
        )
        for count in (1, 40):
            x = image(32, count, torch.float32)
            torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


def test_shapes_alone_are_those_of_plain(told):
    net = darts(num_cells=3, execution='fused').to('meta')
    assert [out.shape for out in net(image().to('meta'))] == [(3, 192, 3, 3)]
    assert told == []


def test_work_is_counted_layer_by_layer(cpp):
    net = darts(num_cells=2, dtype=torch.float32).eval()
    x = image(dtype=torch.float32)[0]
    counts = {}
    for execution in ('plain', 'fused'):
        net.execution = execution
        counts[execution] = [count(net, x) for count in (count_macs, count_activations, count_all)]
    assert counts['fused'] == counts['plain'] and None not in counts['plain']
    assert net.execution == 'fused'


def test_the_execution_is_checked():
    with pytest.raises(UserError, match="execution must be one of .* but is 'quick'"):
        DARTSNet('DARTS_V2', channels=4, num_cells=1, execution='quick')


def test_zeros_are_put_behind():
    assert (padded(36), padded(40), padded(1)) == (40, 40, 8)
    weight = torch.ones(2, 3, 1, 1)
    assert pad_to(weight, 2, 3) is weight
    found = pad_to(weight, 4, 5)
    assert found.shape == (4, 5, 1, 1) and found.sum() == 6 and found[:2, :3].min() == 1
    x = torch.arange(24.0).view(1, 6, 2, 2)
    nodes = Nodes.of(x, 2)
    assert [one.shape for one in nodes.images] == [(1, 8, 2, 2)] * 2
    assert torch.equal(nodes.whole(), x)
