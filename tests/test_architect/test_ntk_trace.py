"""NASI, as its config builds it: the trace of the kernel, its bound, and alpha's steps."""

from __future__ import annotations

import json

import pytest
import torch
from golden import assert_close, double, golden
from helpers import digits_runner
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS

from rdarts.architect.architects.ntk_trace import NTKTrace
from rdarts.architect.relaxations import GumbelSoftmax
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner, find_alpha_owner
from rdarts.registry import HOOKS


class Network(BaseModel):
    """h = tanh(x t0) z0 + x t1 z1 and logits (t2 h) V', z the mixing weights of one edge."""

    def __init__(self, given):
        super().__init__()
        cell = dict(num_nodes=2, candidates=['none', 'skip_connect'], output='last')
        space = dict(type='CellSpace', name='one', cells=dict(cell=cell), discretizer='Argmax')
        self.owner = AlphaOwner(
            space, relaxation=dict(type='rdarts.GumbelSoftmax', hard=False, temperature=1.0)
        )
        self.owner.arch_parameters['cell'].data = double(given['alpha'])
        self.theta = torch.nn.Parameter(double(given['theta']))
        self.last = double(given['V']).T

    def forward(self, x, y, mode='loss'):
        z = self.owner.mixing()['cell'][0].weights
        h = torch.tanh(x * self.theta[0]) * z[0] + x * self.theta[1] * z[1]
        logits = self.theta[2] * h @ self.last
        return dict(loss=torch.nn.functional.cross_entropy(logits, y))


def make(config='nasi_nb201_c10', model=None, **options):
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    cfg.default_hooks.architect.architect.update(options)
    architect = HOOKS.build(cfg.default_hooks.architect).architect
    assert isinstance(architect, NTKTrace)
    if model is not None:
        wrapper = OptimWrapper(torch.optim.SGD(list(model.parameters())[-1:], lr=0.1))
        optimizer = dict(cfg.arch_optimizer)
        architect.prepare(
            model, wrapper, None, lambda alphas: OPTIMIZERS.build(dict(optimizer, params=alphas))
        )
    return architect


def test_the_trace_and_its_gradient(monkeypatch):
    given, expected, tolerance = golden('nasi', 'trace_and_alpha_gradient')
    noise = torch.exp(-double(given['gumbel']))
    monkeypatch.setattr(GumbelSoftmax, 'noise', lambda self, alpha: noise)
    architect = make(model=Network(given))
    batch = dict(x=double(given['x']), y=torch.tensor(given['y']))
    start = [weight.detach().clone() for weight in architect.weights]
    grads, loss = architect.gradient(batch, batch)
    assert_close(architect.row['trace'], expected['trace'], tolerance)
    expected = double(expected['alpha_grad'])
    # it is climbed, over its largest norm so far
    assert_close(-grads[0] * expected.norm(), expected.tolist(), tolerance)
    assert loss.shape == () and not loss.requires_grad
    assert architect.train_step(architect.model, batch) == {}
    for weight, before in zip(architect.weights, start, strict=True):
        assert torch.equal(weight, before) and weight.grad is None


@pytest.mark.parametrize('mu', [1, 2])
@pytest.mark.parametrize('trace', [80, 100, 130])
def test_the_bound(trace, mu):
    given, expected, tolerance = golden('nasi', 'penalised_objective')
    architect = make(mu=float(mu), nu=float(given['nu']))
    slope = double([[1.0, 0.0]])
    (found,) = architect.climb([slope], torch.tensor(float(trace)).double())
    case = expected[f'trace {trace} mu {mu}']
    assert_close(found, (slope * case['dR_dtrace']).tolist(), tolerance)


def test_steps_over_the_largest_norm():
    given, expected, tolerance = golden('nasi', 'one_step_update')
    architect = make()
    alpha = torch.nn.Parameter(torch.zeros(2, 3).double())
    steps = len(given['G'])
    optimizer = torch.optim.SGD([alpha], lr=given['xi'] / steps)
    for step, grad in enumerate(given['G']):
        (found,) = architect.climb([double(grad)], torch.zeros(()).double())
        assert_close(architect._largest, expected['running_max'][step], tolerance)
        alpha.grad = -found
        optimizer.step()
    assert_close(alpha.detach(), expected['alpha'], tolerance)
    assert alpha.argmax(-1).tolist() == expected['argmax']


def test_the_settings():
    _, expected, _ = golden('nasi', 'settings')
    own = expected['darts']
    cfg = load_config(configs_folder() / 'search' / 'nasi_darts_c10.py')
    hook = cfg.default_hooks.architect
    assert (hook.max_steps, cfg.arch_dataloader.batch_size) == (own['T'], own['batch'])
    assert (hook.architect.mu, hook.architect.nu) == (own['mu'], own['nu_fixed'])
    assert cfg.model.backbone.alpha_std == expected['alpha0']
    assert cfg.arch_optimizer.lr == expected['xi'] / own['T']
    ada = load_config(configs_folder() / 'search' / 'nasi_ada_darts_c10.py')
    assert ada.default_hooks.architect.architect.nu == own['nu_adaptive_start']


def test_nu_is_the_mean_of_what_was_drawn():
    architect = make('nasi_ada_nb201_c10')
    one = double([[1.0]])
    signs = []
    for trace in (400.0, 300.0, 380.0):  # nu is 500, then 400, then 350
        (grad,) = architect.climb([one], torch.tensor(trace).double())
        architect.steps += 1
        signs.append(float(grad))
    assert signs == [1.0, 1.0, -1.0]
    assert float(architect.row['nu']) == 350


def test_a_step_that_overflows_bounds_none_after_it():
    architect = make()
    slope, trace = double([[1.0, 0.0]]), torch.tensor(2.0).double()
    architect.climb([slope * torch.inf], trace)
    architect.climb([slope], trace * torch.inf)
    (found,) = architect.climb([slope], trace)
    assert_close(found, slope.tolist(), 0)
    assert float(architect._sum) == 2


def test_a_search_trains_no_weight_and_ends_alpha_after_its_steps(tmp_path):
    options = {
        'default_hooks.architect.max_steps': 3,
        'default_hooks.search_log.interval': 1,
        'train_cfg.max_epochs': 2,
    }
    runner = digits_runner(tmp_path, options, config='nasi_nb201_digits')
    names = {id(alpha) for alpha in find_alpha_owner(runner.model).arch_parameters.values()}
    start = {k: p.clone() for k, p in runner.model.named_parameters() if id(p) not in names}
    runner.train()
    for key, value in runner.model.named_parameters():
        if key in start:
            assert torch.equal(value, start[key]), key
    lines = (tmp_path / 'search_log.jsonl').read_text().splitlines()
    found = [row for row in map(json.loads, lines) if row['kind'] == 'iter']
    told = [row['architect'] for row in found if 'architect' in row]
    assert len(found) == 4 and len(told) == 3
    assert all(one['trace'] > 0 and one['nu'] == 100 for one in told)


@pytest.mark.parametrize('options', [dict(mu=-1.0), dict(nu=0.0)])
def test_options(options):
    with pytest.raises(UserError, match='NTKTrace: mu must be 0 or more and nu more than 0'):
        NTKTrace(**options)
