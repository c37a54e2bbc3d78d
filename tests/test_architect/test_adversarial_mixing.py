"""SmoothDARTS, adversarial: PGD against the published code, and what it leaves as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from golden import assert_close, double, golden
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import make_loader, scaled_wrapper

from rdarts.architect.architects.adversarial_mixing import AdversarialMixing
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones import NASBench201Supernet
from rdarts.registry import ARCHITECTS, build

FOUR = dict(
    type='CellSpace',
    name='four',
    cells=dict(
        cell=dict(num_nodes=3, candidates=['none', 'skip_connect', 'avg_pool_3x3', 'nor_conv_1x1'])
    ),
)


class Quadratic(AlphaOwner):
    """L = <B, w> + w' Q w / 2 of the mixing weights of two cells that share alpha."""

    def __init__(self, B, Q):
        super().__init__(FOUR)
        self.cell_types = ['cell', 'cell']
        self.B, self.Q = B.flatten(), Q
        self.scale = torch.nn.Parameter(torch.ones(()))  # the weights
        self.seen = []

    def forward(self):
        losses = []
        for own in self.cell_mixings():
            w = torch.cat([mixing.weights for mixing in own.values()])
            self.seen.append((self.training, self.scale.requires_grad, w.detach()))
            losses.append(self.B @ w + w @ self.Q @ w / 2)
        return self.scale * sum(losses) / 2


class QuadraticModel(BaseModel):
    def __init__(self, *args):
        super().__init__()
        self.backbone = Quadratic(*args)

    def forward(self, inputs, labels, mode='loss'):
        return dict(loss=self.backbone())


def prepared(architect, model, make=OptimWrapper):
    weights = [p for p in model.parameters() if p.requires_grad]
    wrapper = make(torch.optim.SGD(weights, lr=0.1))
    architect.single_level = make is scaled_wrapper  # so that no scaler of alpha is made
    architect.prepare(model.double(), wrapper, make_loader(0), torch.optim.Adam)
    return architect


def of_config(config='sdarts_adv_nb201_c10'):
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    return build(cfg.default_hooks.architect.architect, ARCHITECTS)


BATCH = dict(inputs=torch.zeros(2, 4), labels=torch.zeros(2))


@pytest.mark.parametrize('epsilon', ['0.03', '0.1', '0.3'])
def test_pgd_as_published(epsilon, monkeypatch):
    given, expected, tolerance = golden('sdarts', 'adversarial_pgd')
    case = expected[epsilon]
    monkeypatch.setattr(AdversarialMixing, 'noise', lambda self, weights: double(given['U']))
    model = QuadraticModel(double(given['B']), double(given['Q']))
    architect = prepared(of_config(), model)
    soft = double(given['softmax_alpha'])
    architect.alphas[0].data.copy_(soft.log())
    # the epoch in which the config's epsilon is that of the case
    architect.set_progress(round((float(epsilon) - 0.03) / 0.27 * 100, 9), 100)
    assert architect.ascent_steps == given['steps']
    losses = architect.train_step(model, BATCH)
    assert_close(losses['loss'].detach(), case['loss_after'], tolerance)
    *ascent, first, second = model.backbone.seen
    assert_close(first[2].view(3, 4), case['weights'], tolerance)
    assert torch.equal(first[2], second[2])
    assert_close(architect.row['loss_rise'], case['loss_after'] - case['loss_before'], 1e-9)
    # nine passes over two cells in evaluation mode, the weights frozen; then their step
    assert [seen[:2] for seen in ascent] == 18 * [(False, False)]
    assert [seen[:2] for seen in (first, second)] == 2 * [(True, True)]
    # alpha's step sees the softmax
    model.backbone.seen.clear()
    architect.step(BATCH)
    assert_close(model.backbone.seen[0][2], soft.flatten().tolist(), 1e-12)


def test_epsilon_over_the_epochs():
    given, expected, tolerance = golden('sdarts', 'schedule')
    architect = prepared(of_config(), QuadraticModel(torch.zeros(12), torch.zeros(12, 12)))
    for epoch, value in expected.items():
        architect.set_progress(int(epoch), given['E'])
        assert abs(architect.numbers()['epsilon'] - value) < tolerance


def test_where_the_loss_does_not_rise_nothing_is_shifted(monkeypatch):
    """A maximum at the softmax: every step leads away from it."""
    monkeypatch.setattr(AdversarialMixing, 'noise', lambda self, weights: torch.ones_like(weights))
    model = QuadraticModel(torch.zeros(12).double(), -torch.eye(12).double())
    architect = prepared(AdversarialMixing(0.3, steps=1), model)
    architect.alphas[0].data.zero_()
    shifts = architect.worst(BATCH)
    assert len(shifts) == 2 and all(not shift['cell'].any() for shift in shifts)
    assert float(architect.row['loss_rise']) == 0


class Classifier(BaseModel):
    def __init__(self, execution):
        super().__init__()
        self.backbone = NASBench201Supernet(channels=4, cells_per_stage=1, execution=execution)
        self.head = torch.nn.Linear(16, 3)

    def forward(self, inputs, labels, mode='loss'):
        features = self.backbone(inputs)[0].mean((2, 3))
        return dict(loss=torch.nn.functional.cross_entropy(self.head(features), labels))


def images():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return dict(inputs=inputs, labels=torch.tensor([0, 1, 2, 0, 1, 2]))


def classifier(execution, make=OptimWrapper):
    torch.manual_seed(0)
    return prepared(AdversarialMixing(0.2), Classifier(execution), make)


def test_an_ascent_moves_nothing_but_the_random_state():
    architect = classifier('fused')
    architect.model.backbone.cells[0].eval()  # as frozen batch norms are
    before = copy.deepcopy(architect.model.state_dict())
    modes = [module.training for module in architect.model.modules()]
    shifts = architect.worst(images())
    assert float(architect.row['loss_rise']) > 0
    weights = architect.owner.mixing_weights()['cell'] + shifts[0]['cell']
    assert float(weights.min()) >= 0
    assert_close(weights.sum(-1), [1.0] * 6, 1e-12)
    assert all(torch.equal(shifts[0]['cell'], shift['cell']) for shift in shifts)
    after = architect.model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert [module.training for module in architect.model.modules()] == modes
    assert all(p.grad is None for p in architect.model.parameters())
    assert not any(alpha.requires_grad for alpha in architect.alphas)
    assert all(p.requires_grad for p in architect.weights) and architect.weights


@pytest.mark.parametrize('other', [('fused',), ('plain', scaled_wrapper)])
def test_fused_plain_and_with_a_loss_scale_it_is_the_same(other):
    steps = []
    for arguments in (('plain',), other):
        architect = classifier(*arguments)
        torch.manual_seed(3)
        architect.train_step(architect.model, images())
        steps.append(architect.model.state_dict())
    for key, value in steps[0].items():
        torch.testing.assert_close(steps[1][key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(epsilon=-0.1), 'epsilon of AdversarialMixing must be at least 0, but is -0.1'),
        (dict(steps=0), 'steps must be a positive integer, but is 0'),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        AdversarialMixing(**arguments)


def test_another_relaxation_is_refused():
    model = Classifier('plain')
    model.backbone = NASBench201Supernet(channels=4, relaxation='rdarts.GumbelSoftmax')
    with pytest.raises(
        UserError, match=r'the relaxation must be rdarts.Softmax, but is GumbelSoftmax'
    ):
        prepared(AdversarialMixing(), model)
