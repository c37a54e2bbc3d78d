"""Two paths over halves of the channels, against their formula."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rdarts.errors import UserError
from rdarts.models import NASBench201Supernet
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.two_paths import TwoPaths

NAMES = ['none', 'max_pool_3x3', 'avg_pool_3x3', 'skip_connect']
NAMES += ['sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3', 'dil_conv_5x5']
EDGES = [NAMES, NAMES[3:5], NAMES[:3]]
SIZES = [8, 2, 3]
# of each edge: both paths, path 0, path 1
DRAWN = [list(range(8)), [0], [1]]


def numbers(*sizes: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


def by_formula(mixed: TwoPaths, x: Tensor, weights: Tensor, drawn, factors: Tensor) -> list[Tensor]:
    """Each edge and candidate by itself."""
    x_a, x_b = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]

    def rest(half):
        return F.max_pool2d(half, 2, 2) if mixed.stride == 2 else half

    def shuffled(first, second):
        pairs = zip(first.unbind(1), second.unbind(1), strict=True)
        return torch.stack([channel for pair in pairs for channel in pair], 1)

    found = []
    for names, slots, beta, runs, factor in zip(
        mixed.candidates, mixed.slots, weights.split(SIZES), drawn, factors, strict=True
    ):
        out = torch.zeros_like(torch.cat([rest(x_a), rest(x_b)], 1))
        for path, (own, other) in enumerate([(x_a, x_b), (x_b, x_a)]):
            chosen = [k for k in runs if k % 2 == path]
            mixture = torch.zeros_like(rest(own))
            for k in chosen:
                operation = mixed.operations[names[k]].unbind()[slots[k][1]]
                mixture = mixture + beta[k] * operation(own)
            if chosen:
                halves = (mixture, rest(other)) if path == 0 else (rest(other), mixture)
                out = out + shuffled(*halves)
        found.append(factor * out)
    return found


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('drawn', [None, DRAWN], ids=['both', 'drawn'])
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_against_the_formula(execution, drawn, stride):
    torch.manual_seed(0)
    mixed = TwoPaths(EDGES, 16, stride=stride).double()
    twin = copy.deepcopy(mixed)
    mixed.execution = execution
    chosen = drawn or [range(size) for size in SIZES]
    results = []
    for run in (
        lambda x, weights, factors: mixed.forward_edges(x, Mixing(weights, drawn, factors)),
        lambda x, weights, factors: by_formula(twin, x, weights, chosen, factors),
    ):
        leaves = [numbers(2, 16, 6, 6), numbers(13, seed=2), numbers(3, seed=3)]
        outs = run(*[leaf.requires_grad_() for leaf in leaves])
        loss = sum((out.tanh() * (i + 1)).sum() for i, out in enumerate(outs))
        results.append([*outs, *torch.autograd.grad(loss, leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for (name, one), other in zip(mixed.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12, msg=name)


def test_an_edge_without_a_path_gives_zeros_that_keep_the_graph():
    mixed = TwoPaths([NAMES], 16).double()
    weights = numbers(8).requires_grad_()
    (out,) = mixed.forward_edges(numbers(2, 16, 4, 4), Mixing(weights, [[]]))
    assert torch.equal(out, torch.zeros(2, 16, 4, 4).double())
    (grad,) = torch.autograd.grad(out.sum(), weights)
    assert not grad.any()


def test_gates_that_are_drawn_once_are_in_the_state_dict():
    torch.manual_seed(0)
    many = TwoPaths([NAMES[2:4]] * 300, 2, fixed_gates=True)
    assert torch.bincount(many.gates).min() > 70
    mixed = TwoPaths(EDGES, 16, fixed_gates=True).double()
    gates = torch.tensor([2, 0, 1])
    other = copy.deepcopy(mixed)
    other.load_state_dict({**mixed.state_dict(), 'gates': gates})
    assert torch.equal(other.gates, gates)
    x, weights = numbers(2, 16, 6, 6), numbers(13, seed=2)
    expected = by_formula(copy.deepcopy(other), x, weights, DRAWN, torch.ones(3))
    for execution in ('plain', 'fused'):
        other.execution = execution
        for one, out in zip(other.forward_edges(x, Mixing(weights)), expected, strict=True):
            torch.testing.assert_close(one, out, rtol=1e-10, atol=1e-12)
    assert 'gates' not in TwoPaths(EDGES, 16).state_dict()


@pytest.mark.parametrize(
    'kind', [dict(type='rdarts.TwoPaths', fixed_gates=True), 'rdarts.TwoPaths']
)
def test_each_cell_has_gates_of_its_own_where_they_are_drawn_once(kind):
    torch.manual_seed(0)
    net = NASBench201Supernet(mixed_op=kind, channels=4, cells_per_stage=2)
    gates = [value.tolist() for key, value in net.state_dict().items() if key.endswith('.0.gates')]
    assert len(gates) == (0 if kind == 'rdarts.TwoPaths' else 6)
    assert not gates or len({tuple(cell) for cell in gates}) > 1


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(in_channels=7), 'TwoPaths halves the channels, but there are 7 of them'),
        (
            dict(in_channels=8, out_channels=16),
            'TwoPaths is for edges that keep the number of .*16',
        ),
    ],
)
def test_channels_that_do_not_fit(arguments, line):
    with pytest.raises(UserError, match=line):
        TwoPaths(['skip_connect', 'none'], **arguments)


def test_a_relaxation_with_constants_is_refused():
    mixed = TwoPaths([NAMES[:2]], 4)
    with pytest.raises(UserError, match='TwoPaths mixes no constants: set constant=False'):
        mixed.forward_edges(torch.zeros(1, 4, 4, 4), Mixing(torch.ones(2), [[0]], constant=True))


def test_sizes_are_known_without_memory():
    with torch.device('meta'):
        assert TwoPaths(EDGES, 16, fixed_gates=True).gates.shape == (3,)
