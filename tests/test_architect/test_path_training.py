"""Supernets without alpha: paths that are drawn, strict fairness, and the weights' step."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from helpers import digits_runner, log_text
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from ranks import on_ranks
from same_runs import assert_same_state, rows, same
from test_architect.tiny_search import scaled_wrapper

from rdarts.architect.alpha_step import StepFailed
from rdarts.architect.architects.path_training import divided
from rdarts.architect.relaxations.single_path import path_of
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.errors import UserError
from rdarts.genotypes import form_named, load_genotype
from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import ARCHITECTS, RELAXATIONS, build
from rdarts.search_spaces import build_space

SPACES = ('darts', 'mobilenet_like', 'nas_bench_201', 's4')
SGD = dict(lr=0.1, momentum=0.9, weight_decay=0.01)


class Model(BaseModel):
    """A supernet and a linear classifier over images [N, 3, 8, 8]."""

    def __init__(self, relaxation, kind=NASBench201Supernet, **sizes):
        super().__init__()
        self.backbone = kind(channels=4, relaxation=relaxation, **sizes)
        self.head = torch.nn.Linear(self.backbone.out_channels, 3)

    def forward(self, inputs, labels, mode='loss'):
        (features,) = self.backbone(inputs)
        scores = self.head(features.mean((2, 3)))
        return dict(loss=torch.nn.functional.cross_entropy(scores, labels))


def make(relaxation='FairPaths', wrapper=OptimWrapper, batches='same', **sizes):
    """Model in double precision, architect and a batch."""
    torch.manual_seed(0)
    sizes = sizes or dict(cells_per_stage=1)
    model = Model(relaxation, **sizes).double()
    architect = build(dict(type='PathTraining', batches=batches), ARCHITECTS)
    weights = wrapper(torch.optim.SGD(model.parameters(), **SGD))
    weights.initialize_count_status(model, 0, 100)
    architect.prepare(model, weights, None, lambda alphas: torch.optim.SGD(alphas, lr=1.0))
    batch = dict(inputs=torch.randn(10, 3, 8, 8).double(), labels=torch.randint(3, (10,)))
    return model, architect, batch


def draws_of(relaxation, space, count=1):
    space = build_space(space)
    return [build(relaxation, RELAXATIONS).draws(space) for _ in range(count)], space


@pytest.mark.parametrize('space', SPACES)
def test_a_path_is_a_genotype_of_the_space(space):
    draws, space = draws_of('SinglePath', space, 40)
    form = form_named(space.genotype)
    seen = set()
    for (draw,) in draws:
        active = {name: one.active for name, one in draw.items()}
        assert {name: one.weights.int().tolist() for name, one in draw.items()} == {
            name: one.int().tolist() for name, one in active.items()
        }
        seen.add(str({name: one.tolist() for name, one in active.items()}))
    assert len(seen) > 35
    one = form.of_choices(space, [0] * len(form.choices(space)))
    path = path_of(one, space, torch.zeros(()))
    rows_of = one.encode(space)
    for group in space.groups:
        found = path[group.name].active.int().tolist()
        assert found == [rows_of[group.cell][edge] for edge in group.edges]


def test_paths_are_uniform():
    torch.manual_seed(0)
    draws, space = draws_of('SinglePath', 'nas_bench_201', 1000)
    shares = sum(draw['cell'].active.double() for (draw,) in draws) / 1000
    torch.testing.assert_close(shares, torch.full((6, 5), 0.2).double(), rtol=0, atol=0.05)
    assert build('SinglePath', RELAXATIONS).passes(space) == 1


@pytest.mark.parametrize('space', SPACES)
def test_each_candidate_runs_once_in_a_step(space):
    (draws,), space = draws_of('FairPaths', space)
    most = max(len(group.candidates) for group in space.groups)
    assert len(draws) == most
    for group in space.groups:
        active = torch.stack([draw[group.name].active for draw in draws])
        assert (active.sum(2) == 1).all()  # one an edge and pass
        count = len(group.candidates)
        assert (active[:count].sum(0) == 1).all()  # and each of them once
        assert active.sum(0).max() - active.sum(0).min() <= 1


def plain_gradient(model, batch, draws):
    """The sum of the paths' gradients, each by itself."""
    twin = copy.deepcopy(model)
    twin.backbone.execution = 'plain'
    for draw in draws:
        with twin.backbone.mixed_by(draw):
            twin(**batch)['loss'].backward()
    return {name: p.grad for name, p in twin.named_parameters()}


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize(
    ('relaxation', 'sizes'),
    [
        ('FairPaths', dict(cells_per_stage=1)),
        ('SinglePath', dict(cells_per_stage=1)),
        ('FairPaths', dict(kind=DARTSSupernet, space='s2', num_cells=3)),
        ('SinglePath', dict(kind=DARTSSupernet, space='darts', num_cells=3)),
    ],
)
def test_a_step_is_along_the_sum_of_the_paths(relaxation, sizes, execution, monkeypatch):
    model, architect, batch = make(relaxation, **sizes)
    model.backbone.execution = execution
    own = model.backbone.relaxation
    draws = own.draws(model.backbone.space)
    monkeypatch.setattr(own, 'draws', lambda space: draws)
    expected, before = plain_gradient(model, batch, draws), copy.deepcopy(model.state_dict())
    seen = {}
    monkeypatch.setattr(
        architect.optim_wrapper, 'step',
        lambda: seen.update({name: p.grad for name, p in model.named_parameters()}),
    )  # fmt: skip
    logged = architect.train_step(model, batch)
    assert seen.keys() == expected.keys()
    for name, grad in expected.items():
        wanted = torch.zeros(()) if grad is None else grad
        found = torch.zeros(()) if seen[name] is None else seen[name]
        torch.testing.assert_close(
            found, wanted.expand_as(found).to(found), rtol=1e-8, atol=1e-11, msg=name
        )
    losses = []
    twin = copy.deepcopy(model)
    twin.load_state_dict(before)
    for draw in draws:
        with twin.backbone.mixed_by(draw):
            losses.append(twin(**batch)['loss'].item())
    assert logged['loss'].item() == pytest.approx(sum(losses) / len(draws))


def test_weights_of_what_did_not_run_stand_still():
    model, architect, batch = make('SinglePath')
    backbone = model.backbone
    convolutions = backbone.cells[0].mixed['0'].operations['nor_conv_3x3']
    weight = next(convolutions.parameters())
    moved = []
    for _ in range(12):
        before = weight.detach().clone()
        architect.train_step(model, batch)
        (active,) = (one for one in backbone.drawn)
        place = backbone.space.candidates.index('nor_conv_3x3')
        into = [active[edge, place] for edge in (0, 1, 3)]  # edges that leave the first node
        changed = [(row != old).any() for row, old in zip(weight, before, strict=True)]
        assert [bool(one) for one in changed] <= [bool(one) for one in into]
        moved += changed
    assert any(moved) and not all(moved)


def test_a_batch_for_each_path():
    model, architect, batch = make('FairPaths', batches='different')
    seen = []
    forward = model.forward
    model.forward = lambda inputs, labels, mode: (
        seen.append((inputs, labels)), forward(inputs, labels, mode))[1]  # fmt: skip
    architect.train_step(model, batch)
    assert [len(labels) for _, labels in seen] == [2] * 5
    assert torch.equal(torch.cat([inputs for inputs, _ in seen]), batch['inputs'])
    parts = divided(dict(inputs=list('abcdefg'), data_samples=list('1234567')), 3)
    assert [''.join(one['inputs']) for one in parts] == ['ab', 'cd', 'efg']
    with pytest.raises(UserError, match='each of 5 paths images of its own, but a batch has 3'):
        divided(dict(inputs=torch.zeros(3)), 5)


def test_float16_scales_all_paths_alike(monkeypatch):
    model, architect, batch = make('FairPaths')
    torch.manual_seed(1)
    architect.train_step(model, batch)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    model, architect, batch = make('FairPaths', wrapper=scaled_wrapper)
    assert isinstance(architect.optim_wrapper, AmpOptimWrapper)
    torch.manual_seed(1)
    architect.train_step(model, batch)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-8, atol=1e-10, msg=name)


def test_it_rehearses_on_a_copy():
    model, architect, batch = make('FairPaths')
    before = copy.deepcopy(model.state_dict())
    twin, wrapper = copy.deepcopy((model, architect.optim_wrapper))
    architect.of_copy(twin, wrapper).rehearse(batch)
    assert same(model.state_dict(), before)
    assert any((a != b).any() for a, b in zip(twin.parameters(), model.parameters(), strict=True))


def test_ranks_that_draw_apart_are_told(monkeypatch):
    model, architect, batch = make('SinglePath')
    monkeypatch.setattr('rdarts.architect.architect.get_dist_info', lambda: (0, 2))
    monkeypatch.setattr('rdarts.architect.architect.all_reduce', lambda one, op: one.fill_(1))
    with pytest.raises(StepFailed, match='the ranks drew different candidates'):
        architect.train_step(model, batch)


def test_what_does_not_go_together_is_one_line():
    with pytest.raises(UserError, match='PathTraining needs a relaxation that draws paths'):
        make('Softmax')
    with pytest.raises(UserError, match=r"FirstOrder takes .*architect.type='rdarts.PathTraining'"):
        build('FirstOrder', ARCHITECTS).prepare(
            Model('SinglePath', cells_per_stage=1), None, None, None
        )
    with pytest.raises(UserError, match='gradients of 5 paths in each step: set .*counts=1'):
        make(wrapper=lambda optimizer: OptimWrapper(optimizer, accumulative_counts=2))
    with pytest.raises(UserError, match="batches of PathTraining must be one of .* not 'own'"):
        build(dict(type='PathTraining', batches='own'), ARCHITECTS)
    with pytest.raises(UserError, match='is of the space'):
        space = build_space('nas_bench_201')
        path_of(load_genotype('DARTS_V2'), space, torch.zeros(()))


OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'train_cfg.max_epochs': 2,
    'arch_dataloader': None,
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
    'default_hooks.architect.architect': 'rdarts.PathTraining',
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
}


@pytest.mark.parametrize('relaxation', ['SinglePath', 'FairPaths'])
def test_training_resumes_bit_equal(relaxation, tmp_path):
    options = {**OPTIONS, 'model.backbone.relaxation.type': f'rdarts.{relaxation}'}
    whole = digits_runner(tmp_path / 'whole', options, config='darts_nb201_digits')
    whole.train()
    length = len(whole.train_dataloader)
    assert length >= 2
    log = rows(tmp_path / 'whole')
    assert [row['alpha'] for row in log if row['kind'] == 'epoch'] == [{}, {}]
    assert 'arch_loss' not in str(log)
    text = log_text(tmp_path / 'whole')
    assert re.search(r'method: +ArchitectHook, sampled paths, ' + relaxation, text)
    assert 'nas_bench_201: 6 edges' in text and 'alpha moves in no' not in text
    assert not list(tmp_path.glob('whole/**/genotype*'))
    last = f'epoch_2_iter_{2 * length}.pth'
    found = read_checkpoint(tmp_path / 'whole' / last)
    assert found['arch']['optimizer'] is None
    assert not any('arch_parameters' in key for key in found['state_dict'])
    again = tmp_path / 'again'
    first = str(tmp_path / 'whole' / 'iter_1.pth')
    digits_runner(again, options, config='darts_nb201_digits', resume=first).train()
    assert_same_state(again / last, tmp_path / 'whole' / last)


def test_relaxed_says_what_runs():
    (draws,), _ = draws_of('FairPaths', 'nas_bench_201')
    assert all(isinstance(one, Relaxed) and one.active.device.type == 'cpu'
               for draw in draws for one in draw.values())  # fmt: skip


@pytest.mark.slow
def test_two_ranks_step_along_the_mean_of_their_sums():
    """Also weights that the last path of a step does not have."""
    from test_architect.path_worker import path_worker  # which imports this file

    found = on_ranks(path_worker, timeout=120)
    assert found[0]['own'] != found[1]['own']
    assert found[0]['weights'] == found[1]['weights']
    for place, one in enumerate(found[0]['seen']):
        both = [torch.tensor(found[rank]['own'][place]) for rank in range(2)]
        torch.testing.assert_close(torch.tensor(one), sum(both) / 2, rtol=1e-6, atol=1e-8)
