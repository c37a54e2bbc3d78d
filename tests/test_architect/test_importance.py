"""IS-DARTS, as its config builds it: scores of candidates, shrinks, and what is found."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager

import pytest
import torch
from golden import double, golden
from helpers import digits_runner
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS

from rdarts.architect.architects.importance import ImportanceShrinking, scores_of
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS, DISCRETIZERS, HOOKS, MODELS, RELAXATIONS, build
from rdarts.search_spaces import build_space

SMALL = dict(
    nb201=dict(channels=4, cells_per_stage=1),
    darts=dict(channels=4, num_cells=3),
    s2=dict(channels=4, num_cells=3),
)


class Network(BaseModel):
    """A supernet of a method's config."""

    def __init__(self, cfg, space, **options):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = MODELS.build(
            dict(cfg.model.backbone, **{**SMALL[space], **options})
        ).double()

    def forward(self, inputs, mode='tensor'):
        return self.backbone(inputs)


def make(space='nb201', arguments=None, **options):
    """The architect that a search has, its supernet, and its rule from alpha to genotype."""
    cfg = load_config(configs_folder() / 'search' / f'is_darts_{space}_c10.py')
    cfg.default_hooks.architect.architect.update(arguments or {})
    model = Network(cfg, space, **options)
    architect = HOOKS.build(cfg.default_hooks.architect).architect
    assert isinstance(architect, ImportanceShrinking)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    adam = dict(cfg.arch_optimizer)
    architect.prepare(model, wrapper, None, lambda a: OPTIMIZERS.build(dict(adam, params=a)))
    rule = build(
        cfg.default_hooks.genotype.discretizer or model.backbone.space.discretizer, DISCRETIZERS
    )
    rule.relaxation = model.backbone.relaxation
    return architect, model.backbone, rule


def images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64))


def give(monkeypatch, net, architect, batches):
    """Let every candidate that runs give these outputs, batch by batch, in a pass."""

    @contextmanager
    def observe(add):
        for path, edge, name in architect._places:
            if name != 'none':
                add(path, edge, name, output)
        yield

    monkeypatch.setattr(net, 'observe', observe)
    for k, output in enumerate(batches):
        architect.after_epoch(images(len(output)), last=k + 1 == len(batches))


def test_the_score_of_an_operation(monkeypatch):
    given, expected, tolerance = golden('is_darts', 'operation_score')
    batches = [double(given[f'output_batch_{k}']) for k in (0, 1)]
    found = torch.cat([scores_of(output) for output in batches])
    torch.testing.assert_close(found, double(expected['per_sample']), rtol=tolerance, atol=0)
    architect, net, _ = make()
    architect.set_progress(0, 30)
    give(monkeypatch, net, architect, batches)
    alpha = net.arch_parameters['cell']
    score = torch.full((6, 4), expected['score'], dtype=torch.float64)
    torch.testing.assert_close((-alpha[:, 1:]).exp(), score, rtol=tolerance, atol=0)
    assert (alpha[:, 0] == -80).all()  # none


def test_the_score_of_equal_channels():
    given, expected, _ = golden('is_darts', 'operation_score_degenerate')
    assert expected == dict(score_none='inf', score_one_constant_position='inf')
    for output in (torch.zeros(given['zeros_shape']), torch.tensor(given['output'])):
        assert scores_of(output).tolist() == [math.inf]
        assert scores_of(output.double()).tolist() == [math.inf]


def test_the_shrinks_of_nas_bench_201():
    given, expected, _ = golden('is_darts', 'nb201_shrink')
    architect, net, rule = make()
    assert list(net.space.candidates) == given['op_names']
    for scores, mask in zip(given['scores_per_shrink'], expected['mask_after_each'], strict=True):
        architect.shrink(dict(cell=[[float(score) for score in edge] for edge in scores]))
        assert net.alive == dict(cell=[[bool(flag) for flag in edge] for edge in mask])
        # the number of the whole space, for good
        weights = net.mixing_weights()
        assert all((one == 1 / 5).all() for one in weights.values())
    nodes = expected['genotype']
    text = '+'.join('|' + '|'.join(f'{name}~{i}' for name, i in node) + '|' for node in nodes)
    assert rule(*net.view()).to_string() == text


def test_the_epochs_of_the_shrinks():
    given, expected, _ = golden('is_darts', 'schedule')
    for space, epochs in expected.items():
        cfg = load_config(configs_folder() / 'search' / f'is_darts_{space}_c10.py')
        assert cfg.default_hooks.architect.architect.shrink_epochs == epochs
        assert cfg.train_cfg.max_epochs == given[space]['total']
        assert cfg.train_dataloader.dataset.part == 'both' and cfg.arch_dataloader is None
        backbone = cfg.model.backbone
        assert backbone.relaxation == dict(type='rdarts.EqualWeights', of='space')
        half = load_config(cfg.filename, {'epochs': given[space]['total'] // 2})
        found = half.default_hooks.architect.architect.shrink_epochs
        assert found == [int(epoch / 2 + 0.5) for epoch in epochs]


def test_scores_are_means_over_images_and_cells_in_evaluation_mode():
    """Against the published running mean, of what the candidates give."""
    architect, net, _ = make(track_running_stats=True, cells_per_stage=2)
    architect.set_progress(0, 30)
    net(images(8)['inputs'])  # so that running statistics are no longer 0 and 1
    state = copy.deepcopy(net.state_dict())
    batches, means, counts = [images(5, 1), images(2, 2)], {}, {}
    net.eval()
    for batch in batches:

        def add(path, edge, name, y):
            key = (path, edge, name)
            sd = y.std(1, keepdim=True)
            score = (3 * (y - y.mean(1, keepdim=True)) ** 2 / sd**6).mean((1, 2, 3))
            before, n = means.get(key, 0.0), counts.get(key, 0)
            means[key] = (before * n + float(score.sum())) / (n + len(y))
            counts[key] = n + len(y)

        with torch.no_grad(), net.observe(add):
            net(batch['inputs'])
    net.train()
    before = [module.training for module in net.modules()]
    for k, batch in enumerate(batches):
        assert architect.pass_from() is None  # none is due in this epoch
        architect.after_epoch(batch, last=k == 1)
    assert [module.training for module in net.modules()] == before
    alpha = (-net.arch_parameters['cell']).exp()
    for index, edge in enumerate(net.space.cells['cell'].edges):
        for k, name in enumerate(edge.candidates[1:], 1):
            label = f'{edge.source}_{edge.target}'
            own = [mean for key, mean in means.items() if key[1:] == (label, name)]
            assert len(own) == 6  # cells
            assert float(alpha[index, k]) == pytest.approx(sum(own) / 6, rel=1e-9)
    after = net.state_dict()
    assert all(torch.equal(after[key], state[key]) for key in state if 'arch' not in key)


def random_scores(space, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        cell: [
            [
                math.inf if name == 'none' else float(torch.rand((), generator=generator))
                for name in edge.candidates
            ]
            for edge in topology.edges
        ]
        for cell, topology in space.cells.items()
    }


@pytest.mark.parametrize('space', ['darts', 's2'])
def test_the_candidates_of_a_node_compete(space):
    architect, net, rule = make(space)
    shrinks = len(architect.shrink_epochs)
    for shrink in range(shrinks):
        before, scores = net.alive, random_scores(net.space, shrink)
        architect.shrink(scores)
        for cell, topology in net.space.cells.items():
            for node in range(2, 6):
                edges = topology.edges_into(node)
                had = [(e, k) for e in edges for k, flag in enumerate(before[cell][e]) if flag]
                left = [(e, k) for e in edges for k, flag in enumerate(net.alive[cell][e]) if flag]
                gone = math.ceil((len(had) - 2) / (shrinks - shrink))
                ranked = sorted(had, key=lambda place: scores[cell][place[0]][place[1]])
                assert set(left) == set(ranked[: len(had) - gone])
    genotype = rule(*net.view())
    for cell, topology in net.space.cells.items():
        for node, found in enumerate(genotype.nodes[cell], 2):
            left = [
                (topology.edges[e].candidates[k], topology.edges[e].source)
                for e in topology.edges_into(node)
                for k, flag in enumerate(net.alive[cell][e])
                if flag
            ]
            assert len(left) == 2 and list(found) == left
    x = images(2)['inputs']
    outputs = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        outputs.append(net(x)[-1])
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)
    weights = net.mixing()['normal'][0].weights
    count = len(net.space.cells['normal'].edges[0].candidates)
    assert set(weights.tolist()) <= {0.0, 1 / count}


def test_both_of_a_node_may_be_of_one_edge():
    architect, net, rule = make('darts')
    scores = random_scores(net.space, 0)
    into = net.space.cells['normal'].edges_into(4)
    scores['normal'][into[1]][3:5] = [-1.0, -2.0]  # less than any other
    for _ in architect.shrink_epochs:
        architect.shrink(scores)
    names = net.space.candidates[3:5]
    assert rule(*net.view()).nodes['normal'][2] == tuple((name, 1) for name in names)
    alive = net.alive['normal']
    assert [sum(alive[edge]) for edge in into] == [0, 2, 0, 0]


def test_before_the_last_shrink_the_best_of_a_node_are_found():
    architect, net, rule = make('darts')
    scores = random_scores(net.space, 3)
    architect._remember(scores)
    genotype = rule(*net.view())
    for cell, topology in net.space.cells.items():
        for node, found in enumerate(genotype.nodes[cell], 2):
            ranked = sorted(
                (score, edge, k)
                for edge in topology.edges_into(node)
                for k, score in enumerate(scores[cell][edge])
            )[:2]
            places = sorted((edge, k) for _, edge, k in ranked)
            edges = topology.edges
            assert list(found) == [(edges[e].candidates[k], edges[e].source) for e, k in places]
    weights = net.expected_weights()['normal']
    for node in range(2, 6):
        into = net.space.cells['normal'].edges_into(node)
        good = 1 / double(scores['normal'])[into]
        torch.testing.assert_close(weights[into], good / good.sum(), rtol=1e-9, atol=1e-30)


def test_an_epoch_named_twice_prunes_twice_by_one_pass():
    architect, net, _ = make(arguments=dict(shrink_epochs=[1, 1, 2, 3]))
    assert architect.passes(2) == 2 and architect.passes(9) == 3
    architect.set_progress(0, 30)
    assert architect.pass_from() == 0
    architect.after_epoch(images(4), last=False)
    assert architect.pass_from() == 1 and all(map(all, net.alive['cell']))
    architect.after_epoch(images(4), last=True)
    assert architect.pass_from() is None
    assert [sum(edge) for edge in net.alive['cell']] == [3] * 6
    assert not any(edge[0] for edge in net.alive['cell'])


def test_its_state_goes_on_within_a_pass():
    first, net, _ = make(arguments=dict(shrink_epochs=[1, 2]))
    second, twin, _ = make(arguments=dict(shrink_epochs=[1, 2]))
    for architect in (first, second):
        architect.set_progress(0, 30)
    first.after_epoch(images(4, 1), last=False)
    second.load_own_state(copy.deepcopy(first.own_state()))
    second.own_spec()
    assert second.pass_from() == 1
    for architect in (first, second):
        architect.after_epoch(images(3, 2), last=True)
    assert net.alive == twin.alive and first.shrinks == second.shrinks == 1
    assert torch.equal(net.arch_parameters['cell'], twin.arch_parameters['cell'])


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(shrink_epochs=[]), r'shrink_epochs must be epochs, .* but is \[\]'),
        (dict(shrink_epochs=[3, 2]), r'shrink_epochs must be epochs, .* but is \[3, 2\]'),
        (dict(shrink_epochs=[0]), r'shrink_epochs must be epochs, from 1 on and in order'),
        (dict(shrink_epochs=[1], per='cell'), "per must be 'edge' or 'node', but is 'cell'"),
        (dict(shrink_epochs=[1], keep=0), 'keep must be a positive integer, but is 0'),
    ],
)
def test_arguments_that_are_no_good(arguments, line):
    with pytest.raises(UserError, match=line):
        build(dict(type='ImportanceShrinking', **arguments), ARCHITECTS)


def test_a_rule_over_nodes_needs_cells():
    rule = build(dict(type='TopOperations'), DISCRETIZERS)
    space = build_space('nas_bench_201')
    alphas = {group.name: torch.zeros(6, 5) for group in space.groups}
    with pytest.raises(UserError, match="TopOperations does not fit the space 'nas_bench_201'"):
        rule(alphas, space)
    with pytest.raises(UserError, match='k must be a positive integer, but is 0'):
        build(dict(type='TopOperations', k=0), DISCRETIZERS)


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        ({'default_hooks.architect.lambda_': 0.5}, r"'ber' could be added to: .*\.lambda_=0$"),
        (
            {'default_hooks.architect.regularizers.kl': dict(type='rdarts.DirichletKL')},
            r"'kl' could be added to: set default_hooks.architect.regularizers.kl.lambda_=0$",
        ),
        (
            {'default_hooks.architect.architect.shrink_epochs': [2, 1]},
            r'shrink_epochs must be in order, but is \[2, 1\]',
        ),
        (
            {'model.backbone.relaxation': dict(_delete_=True, type='rdarts.GumbelSoftmax')},
            'needs all candidates to run, but GumbelSoftmax draws some: set model.backbone.relax',
        ),
        (
            {'default_hooks.architect.architect.keep': 5},
            'keep is 5, but no edge has more than 5 candidates: nothing would be pruned',
        ),
    ],
)
def test_what_does_not_go_with_it(options, line, tmp_path):
    with pytest.raises(UserError, match=line):
        digits_runner(tmp_path, options, config='is_darts_nb201_digits').train()


def test_its_relaxation_gives_alpha_no_gradient(tmp_path):
    options = {'model.backbone.relaxation': dict(type='rdarts.EqualWeights')}
    line = 'FirstOrder takes the gradient .* EqualWeights gives none: all candidates weigh alike'
    with pytest.raises(UserError, match=line):
        digits_runner(tmp_path, options).train()
    with pytest.raises(UserError, match="of of EqualWeights must be 'alive' or 'space', but is"):
        build(dict(type='EqualWeights', of='all'), RELAXATIONS)
