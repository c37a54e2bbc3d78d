"""ProxylessNAS-R: rewards, baseline and gradient, computed a second time by hand."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from golden import double
from helpers import digits_runner, log_text
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import make_loader
from torch import nn

from rdarts.architect.architects.reinforce import Reinforce
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.registry import ARCHITECTS, build

NAMES = ['skip_connect', 'mbconv_k3_e3', 'mbconv_k5_e3']
COSTS = [[1.0, 20.0, 30.0], [2.0, 40.0, 50.0]]
RIGHT = [[1, 4, 6], [2, 5, 3]]  # images of 8 that a candidate of each layer gets right


class Sample:
    def __init__(self, label):
        self.gt_label = torch.tensor([label])


class Table(BaseModel):
    """Two layers: a network is right on as many images as the better of its candidates."""

    def __init__(self, relaxation='BinaryGates', costs=True):
        super().__init__()
        rows = [dict(zip(NAMES, row, strict=True)) for row in COSTS]
        table = dict(space='two', unit='ms', costs=dict(layerwise=rows))
        space = dict(type='LayerwiseSpace', name='two', layers=[NAMES, NAMES])
        if costs:
            space['costs'] = table
        paths = dict(paths='one', zero=[]) if relaxation == 'BinaryGates' else {}
        self.backbone = AlphaOwner(space, dict(type=relaxation, **paths), alpha_std=0.5)
        self.weight = nn.Parameter(torch.ones(()))
        self.modes = []

    def forward(self, inputs, data_samples, mode='loss'):
        self.modes.append((mode, self.training, torch.is_grad_enabled(), self.backbone.phase))
        (mixing,) = self.backbone.mixing().values()
        chosen = [mixing[i].active[0][0] for i in range(2)]
        right = max(RIGHT[layer][k] for layer, k in enumerate(chosen))
        labels = torch.cat([one.gt_label for one in data_samples])
        guess = torch.where(torch.arange(8) < right, labels, (labels + 1) % 2)
        return self.weight * nn.functional.one_hot(guess, 2).double()


BATCH = dict(inputs=torch.zeros(8, 1), data_samples=[Sample(i % 2) for i in range(8)])


def of_config(config='proxylessnas_rl_nb201_c10', **arguments):
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    return build({**cfg.default_hooks.architect.architect, **arguments}, ARCHITECTS)


def prepared(model=None, **arguments):
    torch.manual_seed(0)
    architect, model = of_config(**arguments), (model or Table()).double()
    wrapper = OptimWrapper(torch.optim.SGD([model.weight], lr=0.1))
    architect.prepare(model, wrapper, make_loader(0), torch.optim.Adam)
    return architect


def reward(chosen):
    accuracy = max(RIGHT[layer][k] for layer, k in enumerate(chosen)) / 8
    cost = sum(COSTS[layer][k] for layer, k in enumerate(chosen))
    reference = (1 + 20 + 30) / 3 + (2 + 40 + 50) / 3
    return accuracy * (reference / cost) ** 0.1


def slope(alpha, chosen):
    """d (-sum log p) / d alpha."""
    p = alpha.softmax(-1)
    return p - nn.functional.one_hot(torch.tensor(chosen), 3)


def stacked(architect):
    """Alpha of both layers; they have the same candidates, and so one group."""
    (alpha,) = architect.alphas
    return alpha


def test_the_gradient_and_the_baseline_by_hand():
    architect = prepared()
    assert architect.samples == 10 and str(architect) == 'REINFORCE over 10 networks'
    baseline = None
    for step in range(3):
        torch.manual_seed(step)
        with torch.no_grad(), architect.owner.alpha_phase():
            draws = []
            for _ in range(10):
                (mixing,) = architect.owner.mixing().values()
                draws.append([mixing[i].active[0][0] for i in range(2)])
        torch.manual_seed(step)
        (found,), loss, scale = architect.loss_gradient(None, BATCH)
        rewards = double([reward(chosen) for chosen in draws])
        mean = rewards.mean()
        baseline = mean if baseline is None else baseline + 0.99 * (mean - baseline)
        expected = sum(
            (r - baseline) * slope(stacked(architect), chosen)
            for r, chosen in zip(rewards, draws, strict=True)
        )
        torch.testing.assert_close(found, expected / 10, rtol=1e-10, atol=1e-13)
        assert float(architect.row['reward']) == pytest.approx(float(mean), rel=1e-12)
        assert float(architect.row['baseline']) == pytest.approx(float(baseline), rel=1e-12)
        assert loss.isfinite() and scale == 1
        architect.steps += 1
    assert set(architect.model.modes) == {('tensor', True, False, 'alpha')}
    assert not stacked(architect).requires_grad


def test_the_gradient_is_that_of_the_expected_reward():
    """Against the sum over all nine networks; any baseline that the draws do not know is right."""
    architect = prepared(samples=3000, decay=0.0)
    architect.steps, architect._baseline = 1, double(0.6)
    (found,), _, _ = architect.loss_gradient(None, BATCH)
    leaf = stacked(architect).detach().clone().requires_grad_()
    p = leaf.softmax(-1)
    whole = sum(
        p[0, i] * p[1, j] * reward((i, j)) for i, j in itertools.product(range(3), range(3))
    )
    (expected,) = torch.autograd.grad(-whole, leaf)
    assert float((found - expected).norm() / expected.norm()) < 0.2


def test_it_learns_the_best_network():
    architect = prepared()
    architect.optimizer = torch.optim.Adam(architect.alphas, lr=0.1, betas=(0.0, 0.999))
    architect.next_batch = lambda: BATCH
    for _ in range(150):
        architect.step(None)
    best = max(itertools.product(range(3), range(3)), key=reward)
    assert stacked(architect).argmax(-1).tolist() == list(best)


def test_without_a_power_no_cost_is_asked_for():
    architect = prepared(Table(costs=False), power=0.0)
    architect.loss_gradient(None, BATCH)
    with pytest.raises(UserError, match="the space 'two' has no costs"):
        prepared(Table(costs=False)).loss_gradient(None, BATCH)


def test_a_network_that_costs_nothing_has_a_finite_reward():
    architect = prepared()
    active = torch.zeros(2, 3, dtype=torch.bool)
    (factor,) = architect._factors([dict(layerwise=active)])
    assert float(factor) == pytest.approx(100**0.1)


def test_its_state():
    architect = prepared()
    for _ in range(2):
        architect.loss_gradient(None, BATCH)
        architect.steps += 1
    saved = architect.state_dict()
    other = prepared()
    other.check_state(saved, other.optimizer, torch.device('cpu'))
    other.load_state_dict(saved)
    for one in (architect, other):
        torch.manual_seed(7)
        one.loss_gradient(None, BATCH)
    assert torch.equal(architect._baseline, other._baseline) and other.steps == 2
    saved['own'] = dict(baseline='much')
    with pytest.raises(UserError, match=r'entry arch\.own\.baseline is .much., but must be'):
        other.check_state(saved, other.optimizer, torch.device('cpu'))


def test_what_it_does_not_fit(monkeypatch):
    def forward(self, inputs, data_samples, mode='loss'):
        self.backbone.mixing()
        return torch.zeros(8, 2)

    monkeypatch.setattr(Table, 'forward', forward)
    line = 'needs a relaxation that draws one candidate an edge.*but Softmax draws none'
    with pytest.raises(UserError, match=line):
        prepared(Table('Softmax')).loss_gradient(None, BATCH)
    line = 'rewards the accuracy of a classifier of one label an image, but Table gives no scores'
    with pytest.raises(UserError, match=line):
        prepared().loss_gradient(None, dict(BATCH, data_samples=[]))


@pytest.mark.parametrize(
    'arguments', [dict(samples=0), dict(power=-1.0), dict(reference='mean'), dict(decay=1.5)]
)
def test_what_is_refused(arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f'^{name} of Reinforce must not be'):
        Reinforce(**arguments)


def test_a_search(tmp_path):
    """Rewards are in the log; a copy whose execution is timed counts costs of its own, untold."""
    options = {'model.backbone.execution': 'auto'}
    runner = digits_runner(tmp_path, options, config='proxylessnas_rl_nb201_digits')
    runner.train()
    lines = (tmp_path / 'search_log.jsonl').read_text().splitlines()
    (row, *_) = [row for row in map(json.loads, lines) if row['kind'] == 'iter']
    assert 0 <= row['architect']['reward'] < 2 and 'baseline' in row['architect']
    assert 'cost' not in row.get('regularizers', {})
    text = log_text(tmp_path)
    assert 's an iteration' in text and text.count('millions of multiply-adds') == 1


def test_published_on_imagenet():
    cfg = load_config(configs_folder() / 'search' / 'proxylessnas_rl_mobilenet_like_imagenet.py')
    hook = cfg.default_hooks.architect
    assert (hook.every, hook.evenly, hook.start_epoch) == (1, 300, 41)
    assert cfg.arch_dataloader.batch_size == 1000
    relaxation = cfg.model.backbone.relaxation
    assert (relaxation.paths, list(relaxation.zero)) == ('one', [])
