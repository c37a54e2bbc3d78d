"""BER against its closed form and finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from rdarts.architect.regularizers import BatchEntropyDecay, ExpectedCost, Regularizer
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS, build
from rdarts.search_spaces import CellTopology, Edge, SearchSpace, build_space

# One cell whose five edges have 2, 3 and 5 candidates, and one whose only edge has 4
CANDIDATES = [('a', 'b'), ('a', 'b', 'c'), ('a', 'b', 'c'), ('a', 'b', 'c', 'd', 'e'), ('b', 'a')]
MIXED = SearchSpace(
    name='mixed',
    cells={
        'normal': CellTopology(
            1, 6, tuple(Edge(0, i + 1, names) for i, names in enumerate(CANDIDATES)), 'concat'
        ),
        'reduce': CellTopology(1, 2, (Edge(0, 1, ('a', 'b', 'c', 'd')),), 'concat'),
    },
)
SPACES = [MIXED, build_space('nas_bench_201'), build_space('darts'), build_space('s1')]


def random_alphas(space, seed, scale=1.0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: (
            scale
            * torch.randn(
                len(group.edges), len(group.candidates), generator=generator, dtype=torch.float64
            )
        ).requires_grad_(grad)
        for group in space.groups
    }


def entropy(row):
    """In plain Python: log-sum-exp, then -sum beta log beta."""
    top = max(row)
    norm = top + math.log(sum(math.exp(a - top) for a in row))
    return -sum(math.exp(a - norm) * (a - norm) for a in row)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('scale', [1e-3, 1.0, 8.0])
@pytest.mark.parametrize('space', SPACES, ids=lambda space: space.name)
def test_value_and_gradient_are_the_closed_form(space, scale, seed):
    alphas = random_alphas(space, seed, scale, grad=True)
    value = BatchEntropyDecay()(alphas, space)
    rows = [row for alpha in alphas.values() for row in alpha.detach().tolist()]
    assert len(rows) == space.num_edges
    assert float(value.detach()) == pytest.approx(
        sum(map(entropy, rows)) / len(rows), rel=1e-12, abs=1e-12
    )
    for alpha, grad in zip(
        alphas.values(), torch.autograd.grad(value, list(alphas.values())), strict=True
    ):
        beta = alpha.detach().softmax(-1)
        h = -(beta * beta.log()).sum(-1, keepdim=True)
        expected = -beta * (beta.log() + h) / len(rows)  # Eq. 19 and 20
        torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('space', SPACES, ids=lambda space: space.name)
def test_gradient_is_that_of_finite_differences(space):
    alphas = random_alphas(space, 3, grad=True)
    value = BatchEntropyDecay()(alphas, space)
    grads = torch.autograd.grad(value, list(alphas.values()))
    step = 1e-6
    plain = {name: alpha.detach() for name, alpha in alphas.items()}
    for (name, alpha), grad in zip(plain.items(), grads, strict=True):
        for index in range(alpha.numel()):
            values = []
            for sign in (1, -1):
                moved = alpha.clone()
                moved.view(-1)[index] += sign * step
                values.append(float(BatchEntropyDecay()({**plain, name: moved}, space)))
            slope = (values[0] - values[1]) / (2 * step)
            assert float(grad.reshape(-1)[index]) == pytest.approx(slope, abs=1e-9)


def test_the_mean_is_over_edges_and_not_over_groups():
    assert [len(group.edges) for group in MIXED.groups] == [1, 2, 1, 1, 1]
    alphas = {group.name: torch.zeros(len(group.edges), len(group.candidates)) for group in
              MIXED.groups}  # fmt: skip
    # six edges, each at its greatest entropy
    expected = (2 * math.log(2) + 2 * math.log(3) + math.log(5) + math.log(4)) / 6
    assert float(BatchEntropyDecay()(alphas, MIXED)) == pytest.approx(expected, rel=1e-6)


def test_a_step_along_the_gradient_decays_the_entropy():
    space = build_space('nas_bench_201')
    alphas = random_alphas(space, 0, 0.1, grad=True)
    rule, values = BatchEntropyDecay(), []
    optimizer = torch.optim.SGD(alphas.values(), lr=1.0)
    for _ in range(200):
        value = rule(alphas, space)
        values.append(float(value.detach()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert all(b < a for a, b in itertools.pairwise(values))
    assert values[0] > 1.6 and values[-1] < 0.5
    # the gradient raises the strongest candidate of an edge and lowers the weakest
    alpha = torch.tensor([[1.0, 0.0, -1.0, 0.0, 0.0]] * 6, requires_grad=True)
    (grad,) = torch.autograd.grad(rule(dict(cell=alpha), space), alpha)
    assert (grad[:, 0] < 0).all() and (grad[:, 2] > 0).all()


def test_the_entropy_is_stationary_where_all_candidates_are_alike():
    space = build_space('darts')
    alphas = {g.name: torch.zeros(14, 8, dtype=torch.float64, requires_grad=True)
              for g in space.groups}  # fmt: skip
    grads = torch.autograd.grad(BatchEntropyDecay()(alphas, space), list(alphas.values()))
    assert all(float(grad.abs().max()) < 1e-16 for grad in grads)


def test_extreme_alphas_give_finite_values_and_gradients():
    space = build_space('nas_bench_201')
    alpha = torch.tensor([[1e4, 0.0, -1e4, 0.0, 0.0]] * 6, requires_grad=True)
    value = BatchEntropyDecay()(dict(cell=alpha), space)
    (grad,) = torch.autograd.grad(value, alpha)
    assert float(value.detach()) == 0.0 and torch.equal(grad, torch.zeros(6, 5))


def test_a_shift_of_alpha_changes_nothing():
    alphas = random_alphas(MIXED, 1)
    shifted = {name: alpha + 7.5 for name, alpha in alphas.items()}
    torch.testing.assert_close(
        BatchEntropyDecay()(alphas, MIXED), BatchEntropyDecay()(shifted, MIXED), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize('value', [-1e-9, -1, math.nan, math.inf, '0.5', None, True, [0.5]])
def test_lambda_must_be_a_number_from_zero(value):
    with pytest.raises(UserError, match='lambda_ of BatchEntropyDecay must be'):
        BatchEntropyDecay(value)


def test_a_signed_lambda_may_be_negative():
    """Eq. 12 rewards entropy where Eq. 15 penalises it."""
    schedule = dict(points=[(0, -0.75), (2, 0.75)], interpolation='step')
    with pytest.raises(UserError, match='must be at least 0, but is -0.75'):
        BatchEntropyDecay(schedule)
    rule = build(dict(type='BatchEntropyDecay', lambda_=schedule, signed=True), REGULARIZERS)
    assert [rule.lambda_.at(epoch) for epoch in range(4)] == [-0.75, -0.75, 0.75, 0.75]
    with pytest.raises(UserError, match='must be a finite number'):
        BatchEntropyDecay(-math.inf, signed=True)


def test_lambda_does_not_enter_the_value():
    alphas = random_alphas(MIXED, 1)
    assert torch.equal(BatchEntropyDecay(0)(alphas, MIXED), BatchEntropyDecay(9)(alphas, MIXED))


def test_it_is_built_by_name():
    for name in ('BatchEntropyDecay', 'rdarts.BatchEntropyDecay'):
        rule = build(dict(type=name, lambda_=0.5), REGULARIZERS)
        assert isinstance(rule, BatchEntropyDecay) and rule.lambda_.at(3) == 0.5
    with pytest.raises(UserError, match="did you mean 'BatchEntropyDecay'"):
        build('BatchEntropyDecy', REGULARIZERS)


def test_a_method_must_say_what_it_adds():
    with pytest.raises(TypeError, match='Regularizer does not override __call__'):
        Regularizer()({}, MIXED)


# Expected cost


def layerwise_with_costs():
    sizes = dict(widths=(8, 16), depths=(2, 3), strides=(2, 2))
    space = build_space(dict(type='mobilenet_like', **sizes))
    edges = space.cells['layerwise'].edges
    layers = [{op: 10.0 * i + k for k, op in enumerate(e.candidates)} for i, e in enumerate(edges)]
    costs = dict(space=space.name, unit='ms', costs=dict(layerwise=layers))
    return build_space(dict(type='mobilenet_like', costs=costs, **sizes))


def test_the_expected_cost_is_that_of_the_weights():
    space = layerwise_with_costs()
    alphas = random_alphas(space, 1)
    for alpha in alphas.values():
        alpha.requires_grad_(True)
    value = ExpectedCost(0.5)(alphas, space)
    expected = 0.0
    for edge, (group, row) in enumerate(space.slots('layerwise')):
        beta = torch.softmax(alphas[group][row], 0).tolist()
        expected += sum(b * (10 * edge + k) for k, b in enumerate(beta))
    assert value.item() == pytest.approx(expected, rel=1e-12)
    grads = torch.autograd.grad(value, list(alphas.values()))
    # d/d alpha_o = beta_o (F_o - sum beta F)
    group, row = space.slots('layerwise')[3]
    beta = torch.softmax(alphas[group][row], 0)
    costs = beta.new_tensor(space.costs['layerwise'][3])
    closed = beta * (costs - (beta * costs).sum())
    torch.testing.assert_close(grads[list(alphas).index(group)][row], closed, rtol=1e-12, atol=0)


def test_the_cheapest_layers_costs_what_its_entries_add_up_to():
    space = layerwise_with_costs()
    alphas = {name: torch.full_like(alpha, -1e4) for name, alpha in random_alphas(space, 0).items()}
    for alpha in alphas.values():
        alpha[:, 0] = 0
    assert ExpectedCost()(alphas, space).item() == 0 + 10 + 20 + 30 + 40


def test_a_space_without_costs():
    message = "the space 'nas_bench_201' has no costs: give it a table.*_delete_=True.*costs.json"
    with pytest.raises(UserError, match=message):
        ExpectedCost()({'cell': torch.zeros(6, 5)}, build_space('nas_bench_201'))
