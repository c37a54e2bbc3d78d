"""The relaxation of FP-DARTS, as its config builds it."""

from __future__ import annotations

import itertools

import pytest
import torch

from rdarts.architect.relaxations import PathGates
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.registry import DISCRETIZERS, MODELS, RELAXATIONS, build
from rdarts.search_spaces import build_space

DARTS, NB201 = build_space('darts'), build_space('nas_bench_201')


def config_of(name: str):
    return load_config(configs_folder() / 'search' / f'{name}.py')


def relaxation() -> PathGates:
    return build(config_of('fp_darts_darts_c10').model.backbone.relaxation, RELAXATIONS)


def alphas_of(own: PathGates, space, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: torch.randn(
            len(group.edges), len(group.candidates), generator=generator, dtype=torch.float64
        )
        for group in own.groups(space)
    }


def test_weights_are_sigmoids_of_operations_and_of_edges():
    own = relaxation()
    alphas = alphas_of(own, DARTS)
    assert alphas.keys() == {'normal', 'reduce', 'normal_edges', 'reduce_edges'}
    for phase in ('weights', 'alpha', 'eval'):
        found = own(alphas, DARTS, phase)
        factors = own.edge_factors(alphas, DARTS, phase)
        for cell in ('normal', 'reduce'):
            weights = getattr(found[cell], 'weights', found[cell])
            torch.testing.assert_close(weights, 1 / (1 + (-alphas[cell]).exp()))
            edges = alphas[f'{cell}_edges'][:, 0]
            torch.testing.assert_close(factors[cell], 1 / (1 + (-edges).exp()))
    expected = own.expected(alphas, DARTS)['normal']
    assert torch.equal(expected, alphas['normal'].sigmoid())


@pytest.mark.parametrize('phase', ['weights', 'alpha'])
def test_gates_are_path_0_path_1_or_both_alike(phase):
    torch.manual_seed(0)
    own = relaxation()
    alphas = alphas_of(own, DARTS)
    counts = {pair: 0 for pair in [(True, False), (False, True), (True, True)]}
    before = None
    for _ in range(100):
        active = own(alphas, DARTS, phase)['normal'].active
        assert before is None or not torch.equal(active, before)
        before = active
        for row in active:
            assert len(set(row[::2].tolist())) == len(set(row[1::2].tolist())) == 1
            counts[row[0].item(), row[1].item()] += 1
    assert all(abs(count / 1400 - 1 / 3) < 0.05 for count in counts.values()), counts
    torch.manual_seed(3)
    first = own(alphas, DARTS, phase)['reduce'].active
    torch.manual_seed(3)
    assert torch.equal(first, own(alphas, DARTS, phase)['reduce'].active)


def test_no_gate_in_evaluation_nor_where_the_mixed_operation_has_them():
    own = relaxation()
    alphas = alphas_of(own, DARTS)
    state = torch.get_rng_state()
    fixed = PathGates(draw=False)
    for found in (own(alphas, DARTS, 'eval'), fixed(alphas, DARTS, 'weights')):
        assert torch.equal(found['normal'], alphas['normal'].sigmoid())
    assert torch.equal(state, torch.get_rng_state())


def test_the_inner_relaxation_decides_beside_the_gate():
    torch.manual_seed(0)
    own = PathGates('rdarts.GumbelSoftmax')
    alphas = alphas_of(own, NB201)
    for _ in range(20):
        drawn = own(alphas, NB201, 'weights')['cell']
        assert not drawn.active[drawn.weights == 0].any()


def test_paths_stay_where_candidates_are_pruned():
    torch.manual_seed(0)
    kwargs = dict(relaxation='rdarts.PathGates', mixed_op='rdarts.TwoPaths')
    net = NASBench201Supernet(channels=4, cells_per_stage=1, **kwargs)
    names = NB201.candidates
    net.prune('cell', 1, [names[0], names[3]])  # 1, 2 and 4 stay: paths 1, 0 and 0
    found = set()
    for _ in range(40):
        mixing = net.mixing()['cell'][0]
        assert all(k in (1, 2, 4) for k in mixing.active[1])
        found.add(tuple(mixing.active[1]))
    assert found == {(1,), (2, 4), (1, 2, 4)}


def test_what_is_found_is_ranked_by_the_product():
    cfg = config_of('fp_darts_darts_c10')
    own = relaxation()
    alphas = alphas_of(own, DARTS, seed=5)
    rule = build(cfg.default_hooks.genotype.get('discretizer') or DARTS.discretizer, DISCRETIZERS)
    rule.relaxation = own
    found = rule(alphas, DARTS).nodes
    for cell in ('normal', 'reduce'):
        names = DARTS.cells[cell].edges[0].candidates
        beta = alphas[cell].sigmoid()[:, 1:].max(-1)  # none is the first
        score = beta.values * alphas[f'{cell}_edges'][:, 0].sigmoid()
        starts = itertools.accumulate([0, 2, 3, 4])
        for node, (start, count) in enumerate(zip(starts, (2, 3, 4, 5), strict=True)):
            order = score[start : start + count].sort(descending=True).indices[:2].tolist()
            expected = [(names[1 + int(beta.indices[start + i])], i) for i in order]
            assert list(found[cell][node]) == expected


def test_each_edge_of_a_supernet_has_a_gate_and_no_gradient_where_it_is_shut():
    torch.manual_seed(0)
    kwargs = dict(relaxation='rdarts.PathGates', mixed_op='rdarts.TwoPaths', num_cells=3)
    net = DARTSSupernet('s2', channels=4, **kwargs).double()
    alphas = [alpha.requires_grad_() for alpha in net.arch_parameters.values()]
    with net.alpha_phase():
        (out,) = net(torch.randn(2, 3, 8, 8).double())
    grads = torch.autograd.grad(out.square().mul(torch.randn_like(out)).sum(), alphas)
    named = dict(zip(net.arch_parameters, grads, strict=True))
    assert len(net.drawn) == 2
    for active, cell in zip(net.drawn, ('normal', 'reduce'), strict=True):
        assert active.any(1).all() and not active.all()
        assert torch.equal(named[cell] != 0, active)
        assert named[f'{cell}_edges'].all()


def test_the_config_of_the_published_draw():
    cfg = config_of('fp_darts_nb201_digits')
    cfg.model.backbone.update(
        mixed_op=dict(type='rdarts.TwoPaths', fixed_gates=True),
        relaxation=dict(type='rdarts.PathGates', draw=False),
        channels=4,
    )
    net = build(cfg.model.backbone, MODELS).double()
    x = torch.randn(2, 3, 8, 8).double()
    net.eval()
    assert torch.equal(net(x)[0], net(x)[0])
