"""OLES: scores against the published code and one by one, and what is frozen stands still."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from golden import assert_close, double, golden
from helpers import digits_runner
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import make_loader, scaled_wrapper

from rdarts.architect.architects.operation_early_stopping import OperationEarlyStopping
from rdarts.checkpoint.schema import EntryError
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.models.backbones import BaseSupernet, MobileNetLikeSupernet, NASBench201Supernet
from rdarts.models.layers import EdgeCopies
from rdarts.registry import ARCHITECTS, OPERATIONS, build

BATCH = dict(inputs=torch.zeros(2, 4), labels=torch.zeros(2))


class Given(BaseModel):
    """One operation of two edges; its gradients are what is given, in training and for alpha."""

    def __init__(self, name, channels, train, val):
        super().__init__()
        cells = dict(cell=dict(num_nodes=3, edges=[(0, 1, ['none', name]), (0, 2, ['none', name])]))
        self.backbone = BaseSupernet(dict(type='CellSpace', name='two', cells=cells))
        edges = [edge.candidates for edge in self.backbone.space.cells['cell'].edges]
        self.backbone.edge = self.backbone.build_mixed_op(edges, channels)
        self.grads = dict(weights=train, alpha=val)

    def forward(self, inputs, labels, mode='loss'):
        weights = list(self.backbone.edge.parameters())
        grads = self.grads[self.backbone.phase]
        # the second edge always agrees with itself
        loss = sum(((w[0] * g).sum() + w[1].sum()) for w, g in zip(weights, grads, strict=True))
        return dict(loss=loss + 0 * sum(m.sum() for m in self.backbone.mixing_weights().values()))


def prepared(architect, model, lr=0.1, make=OptimWrapper, **sgd):
    weights = [p for p in model.parameters() if p.requires_grad]
    wrapper = make(torch.optim.SGD(weights, lr=lr, **sgd))
    architect.single_level = make is scaled_wrapper  # so that no scaler of alpha is made
    adam = torch.optim.Adam
    architect.prepare(model.double(), wrapper, make_loader(0), lambda alphas: adam(alphas, lr=3e-3))
    return architect


def of_config(config='oles_darts_c10', **arguments):
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    return build({**cfg.default_hooks.architect.architect, **arguments}, ARCHITECTS)


def iterate(architect, batch=BATCH, steps=1):
    """Alpha first, as published."""
    for _ in range(steps):
        architect.step(batch)
        architect.train_step(architect.model, batch)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ({}, 'cosine_of_flattened_gradients_paper'),
        (dict(cosine='output_channels'), 'score_if_grads_are_clean'),
        (dict(cosine='output_channels', adds_up=True), 'score_as_run'),
    ],
)
def test_the_score_as_published(arguments, name):
    given, expected, tolerance = golden('oles', 'similarity_score')
    train, val = (list(map(double, given[key])) for key in ('train_grads', 'val_grads'))
    model = Given('dil_conv_3x3', 2, train, val)
    architect = prepared(of_config(num_scores=2, **arguments), model)
    iterate(architect)
    assert architect._scores == 0  # there was no step of the weights yet
    architect.step(BATCH)
    assert architect.rows.operations == [('backbone.edge', e, 'dil_conv_3x3') for e in (0, 1)]
    assert_close(architect._sums.tolist(), [expected[name], 1.0], tolerance)
    architect.step(BATCH)
    assert architect.frozen.tolist() == [expected[name] < 0.4, False]


@pytest.mark.parametrize('freezes', ['gradients', 'weights'])
def test_whether_frozen_weights_move(freezes):
    given, expected, tolerance = golden('oles', 'frozen_weights_still_move')
    grad = double(given['grad_of_step_1']).view(2, 1, 1, 1)
    # they disagree, so that the first score freezes the operation
    model = Given('nor_conv_1x1', 1, [grad[:1]], [-grad[:1]])
    model.backbone.edge = model.backbone.build_mixed_op([['none', 'nor_conv_1x1']] * 2, 1, 2)
    model.grads = dict(weights=[grad], alpha=[-grad])
    sgd = {key: given[key] for key in ('lr', 'momentum', 'weight_decay')}
    architect = prepared(of_config(num_scores=1, freezes=freezes), model, **sgd)
    (weight,) = model.backbone.edge.parameters()
    weight.data[0] = double(given['w']).view(2, 1, 1, 1)
    name = dict(gradients='zero_grad_sets_zero', weights='zero_grad_sets_none')[freezes]
    for values in expected[name]:
        other = weight[1].detach().clone()
        iterate(architect)
        assert_close(weight[0].flatten().tolist(), values, tolerance)
        assert not torch.equal(weight[1], other)
    assert architect.frozen.tolist() == [True, False]
    assert architect.numbers() == dict(frozen=1, operations=2)


class Classifier(BaseModel):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(backbone.out_channels, 3)

    def forward(self, inputs, labels, mode='loss'):
        features = self.backbone(inputs)[0].mean((2, 3))
        return dict(loss=torch.nn.functional.cross_entropy(self.head(features), labels))


class Copied(torch.nn.Module):
    """An operation that is an ordinary module: each edge has a copy."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.gain * self.conv(x)


@pytest.fixture
def copied():
    OPERATIONS.register_module(name='copied', module=Copied)
    yield
    OPERATIONS.module_dict.pop('copied')


def backbone(space, execution='plain'):
    torch.manual_seed(0)
    if space == 'mobilenet_like':
        space = dict(type='mobilenet_like', widths=[8, 8], depths=[2, 1], strides=[1, 2])
        sizes = dict(stem_channels=4, first_channels=4, last_channels=8, stem='cifar')
        return MobileNetLikeSupernet(space, execution=execution, **sizes)
    candidates = ['none', 'skip_connect', 'nor_conv_1x1', 'copied' if space == 'own' else space]
    cells = dict(cell=dict(num_nodes=3, candidates=candidates))
    space = dict(type='CellSpace', name='own', cells=cells)
    return NASBench201Supernet(space, channels=4, cells_per_stage=1, execution=execution)


def images(seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return dict(inputs=inputs, labels=torch.tensor([0, 1, 2, 0, 1, 2]))


def searched(execution='plain', space='nor_conv_3x3', make=OptimWrapper, **arguments):
    """An architect whose batches for alpha are others than those for the weights."""
    architect = OperationEarlyStopping(**arguments)
    sgd = dict(momentum=0.9, weight_decay=1e-2, make=make)
    prepared(architect, Classifier(backbone(space, execution)), **sgd)
    architect.next_batch = lambda: images(100 + architect.steps)
    return architect


def by_hand(model, batch, operation):
    """The gradients of an operation's tensors."""
    path, edge, name = operation
    mixed = model.get_submodule(path)
    row, own = dict(mixed.slots[edge])[name], mixed.operations[name]
    if isinstance(own, EdgeCopies):
        return [p.grad for p in own[row].parameters()]
    return [p.grad[row] for p in own.parameters()]


def backward(model, batch):
    twin = copy.deepcopy(model)
    twin(**batch)['loss'].backward()
    return twin


@pytest.mark.parametrize('cosine', ['operation', 'output_channels'])
@pytest.mark.parametrize('space', ['nor_conv_3x3', 'own', 'mobilenet_like'])
def test_scores_are_those_of_each_operation_by_itself(space, cosine, copied):
    architect = searched(space=space, cosine=cosine)
    model, batch = architect.model, images()
    architect.step(batch)
    trained = backward(model, batch)
    architect.train_step(model, batch)
    valued = backward(model, images(101))
    architect.step(batch)
    operations = architect.rows.operations
    for operation, found in zip(operations, architect._sums.tolist(), strict=True):
        pairs = list(
            zip(*(by_hand(twin, batch, operation) for twin in (trained, valued)), strict=True)
        )
        if cosine == 'operation':
            a, b = (torch.cat([grad.flatten() for grad in one]) for one in zip(*pairs, strict=True))
            expected = float(torch.cosine_similarity(a, b, dim=0))
        else:
            each = [torch.cosine_similarity(*map(torch.atleast_1d, p), dim=0).mean() for p in pairs]
            expected = float(torch.stack(each).mean())
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), operation
    names = {name for _, _, name in operations}
    if space == 'mobilenet_like':
        assert names == set(model.backbone.space.candidates) - {'skip_connect'}
        assert len(operations) == sum(
            len(names - {'skip_connect'})
            for layer in model.backbone.layers
            for names in map(set, layer.candidates)
        )
    else:
        assert names == {'nor_conv_1x1', 'copied' if space == 'own' else space}
        assert len(operations) == 3 * 3 * 2  # cells, edges


def operations_of(architect):
    """The weights of each operation."""
    return [
        torch.cat([p.flatten() for p in by_weights(architect.model, operation)])
        for operation in architect.rows.operations
    ]


def by_weights(model, operation):
    path, edge, name = operation
    mixed = model.get_submodule(path)
    candidate = mixed.candidates[edge].index(name)
    own = dict(mixed.named_parameters())
    entries = mixed.entries(edge, candidate)
    return [own[key][index].detach().clone() for _, key, index in entries if key in own]


@pytest.mark.parametrize('space', ['nor_conv_3x3', 'own'])
def test_what_is_frozen_stands_still_and_nothing_else(space, copied):
    architect = searched(space=space, threshold=0.0, num_scores=2)
    iterate(architect, images(), steps=3)
    frozen = architect.frozen.tolist()
    assert 0 < sum(frozen) < len(frozen) and architect.num_frozen == sum(frozen)
    before = operations_of(architect)
    architect.train_step(architect.model, images(7))
    for flag, old, new in zip(frozen, before, operations_of(architect), strict=True):
        assert torch.equal(old, new) == flag
    # the gradient of what is frozen is in no clip
    architect.optim_wrapper.clip_grad_kwargs, norms = dict(max_norm=1.0), []
    architect.optim_wrapper.clip_func = lambda parameters, **_: norms.append(
        torch.cat([p.grad.flatten() for p in parameters]).norm()
    )
    twin = backward(architect.model, images(8))
    architect.train_step(architect.model, images(8))
    known = {id(p) for p in twin.parameters() if p.grad is not None}
    for flag, operation in zip(frozen, architect.rows.operations, strict=True):
        for grad in by_hand(twin, None, operation):
            grad.mul_(not flag)
    grads = [p.grad.flatten() for p in twin.parameters() if id(p) in known]
    assert float(norms[0]) == pytest.approx(float(torch.cat(grads).norm()), rel=1e-9)


@pytest.mark.parametrize('other', [dict(execution='fused'), dict(make=scaled_wrapper)])
def test_fused_plain_and_with_a_loss_scale_the_same_is_frozen(other):
    found = []
    for arguments in ({}, other):
        architect = searched(threshold=0.35, num_scores=2, adds_up=True, **arguments)
        iterate(architect, images(), steps=6)
        found.append(architect)
    plain, also = found
    assert torch.equal(plain.frozen, also.frozen) and 0 < plain.num_frozen < len(plain.frozen)
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(also.model.state_dict()[key], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('steps', [1, 2, 3, 4])
def test_it_goes_on_from_its_state(steps):
    whole = searched(threshold=0.0, num_scores=2)
    iterate(whole, images(), steps=5)
    begun = searched(threshold=0.0, num_scores=2)
    iterate(begun, images(), steps=steps)
    resumed = searched(threshold=0.0, num_scores=2)
    resumed.model.load_state_dict(begun.model.state_dict())
    resumed.optim_wrapper.load_state_dict(copy.deepcopy(begun.optim_wrapper.state_dict()))
    state = copy.deepcopy(begun.state_dict())
    begun.check_state(state, begun.optimizer, torch.device('cpu'))
    resumed.load_state_dict(state)
    assert resumed.num_frozen == begun.num_frozen
    iterate(resumed, images(), steps=5 - steps)
    assert torch.equal(whole.frozen, resumed.frozen) and whole.num_frozen
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


def test_a_search_that_freezes_goes_on_bit_equal(tmp_path):
    options = {
        'model.backbone.channels': 8,
        'model.head.in_channels': 32,
        'epochs': 2,
        'default_hooks.checkpoint.iter_interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'default_hooks.architect.architect.num_scores': 1,
    }
    searches = {}
    for start in ('', 'iter_2.pth', 'iter_3.pth'):
        resume = str(tmp_path / start) if start else None
        folder = tmp_path / 'resumed' / start if start else tmp_path
        runner = digits_runner(folder, options, config='oles_nb201_digits', resume=resume)
        runner.train()
        searches[start] = runner
        rows = [json.loads(line) for line in (folder / 'search_log.jsonl').read_text().splitlines()]
        found = [row['architect'] for row in rows if row['kind'] == 'epoch'][-1]
        assert found['frozen'] == Facts.of(runner).architect.num_frozen > 0
        assert found['operations'] == 36
    whole = searches.pop('')
    for resumed in searches.values():
        for key, value in whole.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[key], value), key


def test_what_does_not_run_has_no_score():
    architect = searched(num_scores=1, threshold=0.99)
    architect.owner.prune('cell', 0, ['nor_conv_3x3'])
    iterate(architect, images(), steps=3)
    gone = [
        (path.endswith('mixed.0'), edge, name) == (True, 0, 'nor_conv_3x3')
        for path, edge, name in architect.rows.operations
    ]
    assert sum(gone) == 3  # of each cell
    assert architect.frozen.tolist() == [not one for one in gone]


def test_the_gradient_of_a_copy_is_its_own():
    """As the hook that chooses an execution takes it."""
    architect = searched()
    twin = copy.deepcopy(architect.model)
    wrapper = OptimWrapper(torch.optim.SGD(twin.parameters(), lr=0.1))
    other = architect.of_copy(twin, wrapper)
    with other.owner.alpha_phase():
        grads, _ = other.gradient(images(), images(2))
    assert len(grads) == 1 and architect._val is None and other._val is not None
    assert all(p.requires_grad for p in architect.weights)
    assert len(architect.weights) == len(other.weights)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(threshold=1.0), 'threshold must be between -1 and 1, but is 1.0'),
        (dict(num_scores=0), 'num_scores must be a positive integer, but is 0'),
        (dict(cosine='dim0'), "cosine must be one of .*, but is 'dim0'"),
        (dict(freezes='all'), "freezes must be one of .*, but is 'all'"),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        OperationEarlyStopping(**arguments)


def test_networks_that_do_not_fit():
    cells = dict(cell=dict(num_nodes=3, candidates=['none', 'skip_connect']))
    space = dict(type='CellSpace', name='free', cells=cells)
    free = NASBench201Supernet(space, channels=4, cells_per_stage=1)
    with pytest.raises(UserError, match='^no operation of the network has weights'):
        prepared(OperationEarlyStopping(), Classifier(free))
    mixed_op = 'rdarts.EntangledMixedOp'
    entangled = NASBench201Supernet(channels=4, cells_per_stage=1, mixed_op=mixed_op)
    with pytest.raises(UserError, match='^operations that stop one by one share no weights, but'):
        prepared(OperationEarlyStopping(), Classifier(entangled))
    architect, other = searched(), searched(space='sep_conv_3x3')
    iterate(other, images())
    with pytest.raises(EntryError, match=r'arch\.own\.train is a float64 tensor of shape'):
        architect.load_own_state(other.own_state())
    with pytest.raises(EntryError, match=r'arch\.own\.train is missing'):
        architect.check_state(
            dict(architect.state_dict(), own={}), architect.optimizer, torch.device('cpu')
        )
