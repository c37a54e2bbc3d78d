"""What the methods of the field keep, against the published codes, as their configs derive it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from golden import double, golden

from rdarts.apis import build_net
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.models import AlphaOwner
from rdarts.registry import DISCRETIZERS, HOOKS, RELAXATIONS, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')
DARTS = build_space('darts')


def test_what_snas_keeps():
    given, expected, _ = golden('snas', 'genotype')
    assert tuple(given['primitives']) == DARTS.candidates
    alphas = {cell: double(given[f'{cell}_log_alpha']) for cell in ('normal', 'reduce')}
    cfg = load_config(configs_folder() / 'search' / 'snas_darts_c10.py')
    every = build(cfg.default_hooks.genotype.discretizer, DISCRETIZERS)(alphas, DARTS)
    kept = [pair for node in every.nodes['normal'] for pair in node]
    wanted = [tuple(pair) for pair in expected['edge_all_normal']]
    # the published list is by node, its edges by source, as alpha's rows
    assert [name for name, _ in kept] == [name for name, _ in sorted_by_node(wanted)]
    two = build('rdarts.TopEdges', DISCRETIZERS)(alphas, DARTS)
    for cell in ('normal', 'reduce'):
        found = [pair for node in two.nodes[cell] for pair in node]
        assert found == [tuple(pair) for pair in expected[cell]]


def sorted_by_node(pairs):
    """Edges of the nodes 2 to 5, which have 2, 3, 4 and 5, each node's by source."""
    ends = (0, 2, 5, 9, 14)
    nodes = [pairs[a:b] for a, b in itertools.pairwise(ends)]
    return [pair for node in nodes for pair in sorted(node, key=lambda pair: pair[1])]


def test_edges_are_ranked_by_the_product():
    given, expected, _ = golden('pc_darts', 'genotype_alpha_times_beta')
    assert given['primitives'] == list(DARTS.cells['normal'].edges[0].candidates)
    alphas = {cell: double(given[f'alphas_{cell}']) for cell in ('normal', 'reduce')}
    edges = {f'{c}_edges': double(given[f'betas_{c}'])[:, None] for c in ('normal', 'reduce')}
    cfg = load_config(configs_folder() / 'search' / 'pc_darts_darts_c10.py')
    found = derived(cfg, cfg.model.backbone.relaxation, {**alphas, **edges}).nodes
    for cell in ('normal', 'reduce'):
        pairs = [list(edge) for node in found[cell] for edge in node]
        assert pairs == expected[cell], cell
    found = derived(cfg, 'rdarts.Softmax', alphas).nodes
    pairs = [list(edge) for node in found['normal'] for edge in node]
    assert pairs == expected['normal_if_beta_ignored']


def derived(cfg, relaxation, alphas):
    """What the hook of a config derives from alpha."""
    owner = AlphaOwner(cfg.model.backbone.space, relaxation).double()
    for name, alpha in alphas.items():
        owner.arch_parameters[name].data.copy_(alpha)
    hook, runner = HOOKS.build(cfg.default_hooks.genotype), SimpleNamespace(model=owner)
    hook.before_train(runner)
    return Facts.of(runner).derive()


def test_beta_darts_keeps_the_largest_alpha_none_included():
    given, expected, _ = golden('beta_darts', 'genotype_nb201')
    cfg = load_config(configs_folder() / 'search' / 'beta_darts_nb201_c10.py')
    assert given['op_names'] == list(NB201.candidates)
    assert list(given['edge2index'].values()) == list(range(6))
    found = derived(cfg, cfg.model.backbone.relaxation, dict(cell=double(given['alpha'])))
    assert found.to_string() == expected['genotype']


@pytest.mark.parametrize('by', ['node', 'edge'])
def test_what_reaches_the_threshold_is_kept(by):
    given, expected, _ = golden('fairdarts', 'genotype_threshold')
    cfg = load_config(configs_folder() / 'search' / 'fairdarts_darts_c10.py')
    space = build_space(cfg.model.backbone.space)
    assert list(space.candidates) == given['primitives']
    weights = double(given['sigmoid_weights'])
    rule = build(dict(cfg.default_hooks.genotype.discretizer, by=by), DISCRETIZERS)
    assert rule.threshold == given['op_threshold']
    rule.relaxation = build(cfg.model.backbone.relaxation, RELAXATIONS)
    alpha = torch.logit(weights, eps=1e-15)
    found = rule(dict(normal=alpha, reduce=alpha), space)
    entries = [
        [name, target, source]
        for target, edges in enumerate(found.nodes['normal'], 2)
        for name, source in edges
    ]
    assert entries == expected['threshold_sparse' if by == 'node' else 'threshold_edge']
    # a genotype of the whole space, which can be retrained
    assert found.validate(build_space('darts')) == load_genotype(found.to_string())
    assert build_net(found, channels=4, num_cells=3)(torch.randn(2, 3, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(threshold=0), 'threshold must be between 0 and 1, but is 0'),
        (dict(threshold=1.0), 'threshold must be between 0 and 1, but is 1.0'),
        (dict(by='cell'), "by must be 'node' or 'edge', but is 'cell'"),
        (dict(k=0), 'k must be a positive integer, but is 0'),
    ],
)
def test_thresholds_that_are_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        build(dict(type='Threshold', **arguments), DISCRETIZERS)
