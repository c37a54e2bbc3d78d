"""Weight entanglement, against each candidate by itself with its part of the shared kernels."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from test_models.fused_nets import amp_results, assert_executions_agree, image, make, strew
from torch import Tensor, nn

from rdarts.architect.held_rows import RestingCandidates
from rdarts.errors import UserError
from rdarts.models import MixedOp
from rdarts.models.layers import PlainLayers
from rdarts.models.mixed_ops.entangled import EntangledMixedOp, kind_of
from rdarts.models.mixed_ops.mixed_op import from_edge_state_dict, to_edge_state_dict
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import build_operation

DARTS = ['none', 'max_pool_3x3', 'avg_pool_3x3', 'skip_connect']
DARTS += ['sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3', 'dil_conv_5x5']
NB201 = ['none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3']
LAYER = [f'mbconv_k{kernel}_e{expansion}' for kernel in (3, 5, 7) for expansion in (3, 6)]
LAYER += ['skip_connect']
EXECUTIONS = ['plain', 'fused']


def numbers(*sizes: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


def entangled(edges, channels: int = 8, **kwargs) -> EntangledMixedOp:
    torch.manual_seed(0)
    return strew(EntangledMixedOp(edges, channels, **kwargs)).double()


# An independent computation: every candidate runs by itself, with its part of what is shared


def convolve(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups)


def centre(weight: Tensor, kernel: int) -> Tensor:
    start = (weight.shape[-1] - kernel) // 2
    return weight[..., start : start + kernel, start : start + kernel]


def normalise(norm: nn.Module, row: int, x: Tensor, affine=None) -> Tensor:
    channels = x.shape[1]
    statistics = [t[row, :channels] for t in (norm.running_mean, norm.running_var)]
    if affine is None and norm.weight is not None:
        affine = [norm.weight[row], norm.bias[row]]
    return F.batch_norm(x, *statistics, *(affine or (None, None)), norm.training, 0.1, norm.eps)


def of_one_kernel(layers, row: int, x: Tensor, parts, stride: int, dilation: int) -> Tensor:
    """Of sep_conv, dil_conv and nor_conv: convolutions are added up, then normalised."""
    for start in range(0, len(layers), 4):
        relu, conv, *rest = layers[start : start + 4]
        x = relu(x)
        each = [
            share * convolve(x, centre(conv.weight[row], kernel), stride, dilation)
            for share, (kernel,) in parts
        ]
        x, stride = sum(each), 1
        if len(rest) == 2:
            x = convolve(x, rest[0].weight[row])
        x = normalise(rest[-1], row, x)
    return x


def of_an_expansion(layers, row: int, x: Tensor, parts, stride: int) -> Tensor:
    """Of mbconv: each candidate fills its first channels, the others are 0."""
    expand, norm_1, relu6, deep, norm_2, _, project, norm_3 = layers
    own = [(share, kernel, size * x.shape[1]) for share, (kernel, size) in parts]
    width = max(channels for _, _, channels in own)

    def padded(t: Tensor) -> Tensor:
        missing = width - t.shape[t.dim() > 1]
        return F.pad(t, (0, 0) * (2 if t.dim() > 1 else 0) + (0, missing))

    def mixed_norm(norm, t):
        if norm.weight is None:
            return normalise(norm, row, t)
        pairs = [[s * padded(v[row, :c]) for s, _, c in own] for v in (norm.weight, norm.bias)]
        return normalise(norm, row, t, [sum(pair) for pair in pairs])

    wide = sum(s * padded(convolve(x, expand.weight[row, :c])) for s, _, c in own)
    wide = relu6(mixed_norm(norm_1, wide))
    out = sum(
        s * padded(convolve(wide[:, :c], centre(deep.weight[row, :c], k), stride))
        for s, k, c in own
    )
    out = relu6(mixed_norm(norm_2, out))
    out = sum(s * convolve(out[:, :c], project.weight[row, :, :c]) for s, _, c in own)
    out = normalise(norm_3, row, out)
    return x + out if stride == 1 else out


def by_hand(mixed: EntangledMixedOp, x: Tensor, weights: Tensor, active=None) -> list[Tensor]:
    """The mixture of every edge."""
    found, rows = [], {}
    betas = weights.split([len(names) for names in mixed.candidates])
    for edge, (names, beta) in enumerate(zip(mixed.candidates, betas, strict=True)):
        kinds: dict = {}
        for k, name in enumerate(names):
            kind, size = kind_of(name) or (name, ())
            kinds.setdefault(kind, []).append((size, k, name))
        out = 0
        for kind, each in kinds.items():
            owner = max(each)[2]
            row = rows[owner] = rows.get(owner, -1) + 1
            runs = [(size, k) for size, k, _ in each if active is None or k in active[edge]]
            if not runs or owner == 'none':
                continue
            total = sum(beta[k] for _, k in runs)
            parts = [(beta[k] / total if len(runs) > 1 else 1.0, size) for size, k in runs]
            weight = 1.0 if mixed.kind_weight == 'one' and len(runs) > 1 else total
            layers = list(mixed.operations[owner].children())
            if kind == 'mbconv':
                term = of_an_expansion(layers, row, x, parts, mixed.stride)
            elif kind_of(owner):
                dilation = 2 if kind == 'dil_conv' else 1
                term = of_one_kernel(layers, row, x, parts, mixed.stride, dilation)
            else:
                term = mixed.operations[owner].unbind()[row](x)
            out = out + weight * term
        found.append(out)
    return found


def results(mixed: EntangledMixedOp, run, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    leaves = {'x': x.clone().requires_grad_(), 'beta': weights.clone().requires_grad_()}
    outs = run(*leaves.values())
    leaves.update(mixed.named_parameters())
    loss = sum((out.tanh() * (i + 1)).sum() for i, out in enumerate(outs))
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    found = {
        f'{name}.grad': torch.zeros_like(leaf) if grad is None else grad
        for (name, leaf), grad in zip(leaves.items(), grads, strict=True)
    }
    found.update({f'out.{i}': out for i, out in enumerate(outs)})
    found.update(mixed.named_buffers())
    return found


CASES = {
    'darts': (dict(edges=[DARTS, DARTS[3:], DARTS]), 21, [[4, 5, 7], [0], [1, 6, 7]]),
    'darts, stride 2': (dict(edges=[DARTS, DARTS[4:]], stride=2), 12, [[0, 4], [0, 1, 2, 3]]),
    'nb201': (dict(edges=[NB201, NB201[1:], NB201[3:]]), 8, [[1, 2, 3], [1, 2], []]),
    'nb201, stride 2': (dict(edges=[NB201, NB201], stride=2), 8, [[2], [2, 3]]),
    'some share': (
        dict(edges=[['sep_conv_3x3'], DARTS[4:6], ['sep_conv_7x7', *DARTS[4:6]]]),
        6,
        [[0], [1], [1, 2]],
    ),
    # edges that share a kernel of 7, of which some have none of 3 or 5
    'many rows': (
        dict(
            edges=[
                [f'sep_conv_{k}x{k}' for k in kernels]
                for kernels in ((7, 5), (7, 5, 3), (3, 7), (5, 3, 7))
            ]
        ),
        10,
        [[0], [1, 2], [0], [0, 1]],
    ),
    'layer': (dict(edges=[LAYER], affine=True), 7, [[0, 2, 6]]),
    'layer, any': (dict(edges=[LAYER], affine=True), 7, [[1, 4]]),  # together as large as another
    'layer, stride 2': (dict(edges=[LAYER[:6]], stride=2, out_channels=16), 6, [[0, 4]]),
    'layer, alone': (dict(edges=[LAYER], affine=True), 7, [[2]]),
}


@pytest.mark.parametrize('kind_weight', ['sum', 'one'])
@pytest.mark.parametrize('drawn', [False, True], ids=['all', 'some'])
@pytest.mark.parametrize('execution', EXECUTIONS)
@pytest.mark.parametrize('case', CASES)
def test_against_each_candidate_by_itself(case, execution, drawn, kind_weight):
    kwargs, total, active = CASES[case]
    active = active if drawn else None
    mixed = entangled(**kwargs, kind_weight=kind_weight)
    twin = copy.deepcopy(mixed)
    mixed.execution = execution
    x, weights = numbers(2, 8, 6, 6), numbers(total, seed=2).abs()
    found = results(mixed, lambda x, w: mixed.forward_edges(x, Mixing(w, active)), x, weights)

    def run(x, weights):
        outs = by_hand(twin, x, weights, active)
        return [one if torch.is_tensor(one) else torch.zeros_like(x) for one in outs]

    expected = results(twin, run, x, weights)
    scale = max(t.norm() for name, t in expected.items() if name.endswith('grad'))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        distance = (found[name] - tensor).norm()
        assert distance <= 1e-10 * tensor.norm() + 1e-13 * scale, (name, float(distance))


@pytest.mark.parametrize('names', [DARTS, NB201, LAYER])
def test_what_is_shared_is_there_once(names):
    mixed, apart = EntangledMixedOp([names], 8), MixedOp([names], 8)
    largest = {'sep_conv_5x5', 'dil_conv_5x5', 'nor_conv_3x3', 'mbconv_k7_e6'}
    left = [name for name in names if kind_of(name) is None or name in largest]
    expected = MixedOp([left], 8).state_dict()
    state = mixed.state_dict()
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in expected.items()
    }
    assert len(state) < len(apart.state_dict())


def test_kinds():
    assert kind_of('sep_conv_7x7') == ('sep_conv', (7,))
    assert kind_of('nor_conv_1x1') == ('nor_conv', (1,))
    assert kind_of('mbconv_k5_e3') == ('mbconv', (5, 3))
    for name in ('skip_connect', 'max_pool_3x3', 'conv_7x1_1x7', 'none'):
        assert kind_of(name) is None


# In a supernet


@pytest.mark.parametrize('kind_weight', ['sum', 'one'])
@pytest.mark.parametrize('space', ['nas_bench_201', 'darts', 's1', 'mobilenet_like'])
def test_a_supernet_runs_fused_as_it_runs_plain(space, kind_weight):
    mixed_op = dict(type='rdarts.EntangledMixedOp', kind_weight=kind_weight)
    assert_executions_agree(make(space, mixed_op=mixed_op), image(2, 12))


@pytest.mark.parametrize('relaxation', ['rdarts.GumbelSoftmax', 'rdarts.EdgeWeights'])
@pytest.mark.parametrize('space', ['nas_bench_201', 'mobilenet_like'])
def test_with_other_relaxations(space, relaxation):
    net = make(space, mixed_op='rdarts.EntangledMixedOp', relaxation=relaxation)
    assert_executions_agree(net, image(2, 12))


@pytest.mark.parametrize('trainable', ['alpha', 'weights'])
def test_a_step_of_alpha_and_one_of_the_weights(trainable):
    assert_executions_agree(
        make('darts', mixed_op='rdarts.EntangledMixedOp'), image(2, 12), trainable
    )


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_only_what_runs_learns_and_moves(execution):
    """Of an expansion of 3, the last three quarters of a kernel of 7 and half of the channels."""
    mixed = entangled([LAYER], affine=True)
    mixed.execution = execution
    before = {name: value.clone() for name, value in mixed.named_buffers()}
    (out,) = mixed.forward_edges(numbers(2, 8, 6, 6), Mixing(numbers(7).abs(), [[0]]))
    named = dict(mixed.operations['mbconv_k7_e6'].named_parameters())
    grads = dict(
        zip(named, torch.autograd.grad(out.square().sum(), list(named.values())), strict=True)
    )
    own = {key: 24 for key in ('0.weight', '1.weight', '1.bias', '3.weight', '4.weight', '4.bias')}
    for key, channels in own.items():
        assert grads[key][:, :channels].any() and not grads[key][:, channels:].any()
    ring = grads['3.weight'].clone()
    ring[..., 2:5, 2:5] = 0
    assert not ring.any() and not grads['6.weight'][:, :, 24:].any()
    for name, value in mixed.named_buffers():
        if name.endswith(('1.running_mean', '4.running_mean')):
            assert torch.equal(value[:, 24:], before[name][:, 24:])
            assert not torch.equal(value[:, :24], before[name][:, :24])


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_a_candidate_of_weight_1_is_that_candidate(execution):
    """As a network that is derived has it, with the parameters of the edge state dict."""
    for names, channels in ((DARTS, 8), (NB201, 8), (LAYER, 8)):
        mixed = entangled([names], channels, affine=True, labels=['0_2'])
        mixed.execution = execution
        state = to_edge_state_dict(mixed)
        x = numbers(2, channels, 6, 6)
        for k, name in enumerate(names):
            weights = torch.eye(len(names), dtype=torch.float64)[k]
            twin = copy.deepcopy(mixed)
            (out,) = twin.forward_edges(x, Mixing(weights))
            (alone,) = copy.deepcopy(mixed).forward_edges(x, Mixing(weights, [[k]]))
            operation = build_operation(name, PlainLayers(), channels, channels).double()
            prefix = f'edges.0_2.{name}.'
            own = {key.removeprefix(prefix): v for key, v in state.items() if prefix in key}
            operation.load_state_dict(own, strict=False)
            torch.testing.assert_close(alone, operation(x), rtol=1e-10, atol=1e-11)
            if kind_of(name) is None or 'mbconv' not in name:
                torch.testing.assert_close(out, alone, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_weights_that_add_up_to_nothing(execution):
    mixed = entangled([NB201])
    mixed.execution = execution
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    (out,) = mixed.forward_edges(numbers(2, 8, 6, 6), Mixing(weights))
    assert not out.any()
    (grad,) = torch.autograd.grad((out * numbers(*out.shape, seed=4)).sum(), weights)
    assert grad[2:].all() and grad.isfinite().all()


@pytest.mark.parametrize('kind_weight', ['sum', 'one'])
def test_a_factor_of_the_edge_and_constants(kind_weight):
    mixed = entangled([NB201, NB201[1:]], kind_weight=kind_weight)
    x, weights, factors = numbers(2, 8, 6, 6), numbers(7, seed=2).abs(), numbers(2, seed=3)
    alone = copy.deepcopy(mixed).forward_edges(x, Mixing(weights))
    outs = copy.deepcopy(mixed).forward_edges(x, Mixing(weights, edge_factor=factors))
    for out, one, factor in zip(outs, alone, factors, strict=True):
        torch.testing.assert_close(out, factor * one)
    active = [[1, 2], [1, 2]]  # 0 and 3 do not run, then 0
    alone = copy.deepcopy(mixed).forward_edges(x, Mixing(weights, active))
    outs = copy.deepcopy(mixed).forward_edges(x, Mixing(weights, active, constant=True))
    torch.testing.assert_close(outs[0], alone[0] + weights[0] + weights[3])
    torch.testing.assert_close(outs[1], alone[1] + weights[4])


def test_a_product_with_the_hessian():
    found = []
    for execution in EXECUTIONS:
        mixed = entangled([DARTS, DARTS[4:]], affine=True)
        mixed.execution = execution
        leaves = [numbers(2, 8, 5, 5), numbers(12, seed=2).abs()]
        leaves = [*[leaf.requires_grad_() for leaf in leaves], *mixed.parameters()]
        outs = mixed.forward_edges(leaves[0], Mixing(leaves[1]))
        loss = sum((out.tanh() * (i + 1)).sum() for i, out in enumerate(outs))
        grads = torch.autograd.grad(loss, leaves, create_graph=True)
        product = sum((g * numbers(*g.shape, seed=5)).sum() for g in grads)
        found.append([*torch.autograd.grad(product, leaves), *mixed.buffers()])
    scale = max(t.norm() for t in found[0])
    for expected, tensor in zip(*found, strict=True):
        assert (tensor - expected).norm() <= 1e-10 * expected.norm() + 1e-13 * scale


def test_under_autocast_fused_is_as_close_as_plain():
    net = make('nas_bench_201', mixed_op='rdarts.EntangledMixedOp').float()
    errors = {execution: [] for execution in EXECUTIONS}
    for seed in range(5):
        x = image(4, 8, seed=seed).float()
        exact = amp_results(net, x, 'plain', None)
        for execution, each in errors.items():
            found = amp_results(net, x, execution, torch.bfloat16)
            pairs = zip(found, exact, strict=True)
            each.append([float((one - other).norm() / other.norm()) for one, other in pairs])
    plain, fused = (torch.tensor(errors[execution]).mean(0) for execution in EXECUTIONS)
    assert (plain > 1e-3).all() and (fused <= 1.5 * plain).all(), (fused, plain)


# What is kept, and what is told


def test_a_kind_is_observed_once():
    net, found = make('mobilenet_like', mixed_op='rdarts.EntangledMixedOp'), []
    with net.observe(lambda *given: found.append(given[:3])):
        net(image(2, 12))
    expected = []
    for i, edge in enumerate(net.space.cells['layerwise'].edges):
        names = ['mbconv_k7_e6', *(['skip_connect'] if 'skip_connect' in edge.candidates else [])]
        expected += [(f'layers.{i}', f'{edge.source}_{edge.target}', name) for name in names]
    assert found == expected


def test_the_edge_state_dict_goes_there_and_back():
    mixed, other = (entangled([DARTS, NB201], affine=True, labels=['0_2', '0_3']) for _ in 'ab')
    state = {key: value.clone() for key, value in to_edge_state_dict(mixed).items()}
    small, large = (state[f'edges.0_2.sep_conv_{k}x{k}.5.weight'] for k in (3, 5))
    assert torch.equal(small, large[..., 1:4, 1:4])
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(
        UserError,
        match=r"'edges.0_2.sep_conv_3x3.1.weight' is not the part of 'edges.0_2.sep_conv_5x5.1.w",
    ):
        from_edge_state_dict(other, {**state, 'edges.0_2.sep_conv_3x3.1.weight': small})
    assert all(torch.equal(other.state_dict()[key], value) for key, value in before.items())
    from_edge_state_dict(other, state)
    for key, value in mixed.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize(
    ('ran', 'moves'), [([[2], [0]], [0]), ([[1], [2, 3]], [1]), ([[1], [3]], [1])]
)
def test_the_largest_learns_where_a_smaller_one_ran(ran, moves):
    mixed = entangled([NB201, NB201])
    optimizer = torch.optim.SGD(mixed.parameters(), 0.1, weight_decay=0.1)
    resting = RestingCandidates(mixed, optimizer)
    kernel = mixed.operations['nor_conv_3x3'][1].weight
    before = kernel.detach().clone()
    with resting.noting():
        outs = mixed.forward_edges(numbers(2, 8, 6, 6), Mixing(numbers(8).abs(), ran))
    sum(out.tanh().sum() for out in outs).backward()
    resting.hold()
    optimizer.step()
    resting.release()
    assert [row for row in range(2) if not torch.equal(kernel[row], before[row])] == moves


def test_sizes_are_known_without_memory():
    with torch.device('meta'):
        found = EntangledMixedOp([LAYER], 8).state_dict()
    expected = EntangledMixedOp([LAYER], 8).state_dict()
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}


def test_a_copy_shares_nothing_with_the_original():
    mixed = entangled([NB201])
    twin = copy.deepcopy(mixed)
    (before,) = mixed.eval().forward_edges(image(1, 4, 8), Mixing(torch.ones(4).double()))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    (after,) = mixed.forward_edges(image(1, 4, 8), Mixing(torch.ones(4).double()))
    assert torch.equal(before, after)
    assert not twin.operations['nor_conv_1x1_of_nor_conv_3x3'][1].weight.any()


def test_candidates_that_share_nothing(told):
    torch.manual_seed(0)
    mixed = EntangledMixedOp([DARTS[3:5], DARTS[:3]], 8).double()
    torch.manual_seed(0)
    plain = MixedOp([DARTS[3:5], DARTS[:3]], 8).double()
    x, mixing = numbers(2, 8, 6, 6), Mixing(numbers(5, seed=2))
    for one, other in zip(
        mixed.forward_edges(x, mixing), plain.forward_edges(x, mixing), strict=True
    ):
        assert torch.equal(one, other)
    EntangledMixedOp([DARTS[:2]], 8)
    assert told == [
        'EntangledMixedOp: where no two candidates of an edge are of one kind (sep_conv, dil_conv, '
        'nor_conv, mbconv), nothing is shared'
    ]


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(candidates=DARTS, kind_weight='mean'), "kind_weight must be 'sum' or 'one', but is"),
        (
            dict(candidates=['skip_connect', 'mbconv_k7_e3', 'mbconv_k3_e6']),
            'EntangledMixedOp: none of mbconv_k7_e3, mbconv_k3_e6 holds the others',
        ),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        EntangledMixedOp(in_channels=8, **arguments)
