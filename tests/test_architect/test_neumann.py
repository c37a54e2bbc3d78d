"""The implicit gradient of iDARTS, as its config builds it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from golden import assert_close, double, golden
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import architect_of, make_batch, make_model, make_runner

from rdarts.architect.architects.neumann import Neumann, neumann
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.registry import HOOKS

DEFINITION = golden('idarts', 'official_as_published')[0]


class Quadratic(BaseModel):
    """w'Hw/2 - w'(Ba + b) + q|a|^2/2 + c'a + k a_0 (s.w)^3, of the part that a batch names."""

    def __init__(self, w):
        super().__init__()
        names = ['none', 'skip_connect']
        edges = [(0, 1, names), (1, 2, names)]
        cell = dict(num_nodes=3, edges=edges, output='last')
        self.owner = AlphaOwner(
            dict(type='CellSpace', name='two', cells=dict(cell=cell), discretizer='Argmax')
        )
        self.owner.arch_parameters['cell'].data = double(DEFINITION['alpha'])
        self.w = torch.nn.Parameter(double(w))

    def forward(self, inputs, mode='loss'):
        part = {key: double(value) for key, value in DEFINITION[inputs].items()}
        a, w = self.owner.arch_parameters['cell'].flatten(), self.w
        loss = w @ part['H'] @ w / 2 - w @ (part['B'] @ a + part['b']) + part['q'] * a @ a / 2
        return dict(loss=loss + part['c'] @ a + part['k'] * a[0] * (part['s'] @ w) ** 3)


TRAIN, VAL = dict(inputs='train'), dict(inputs='val')


def make(w=DEFINITION['w'], **options):
    """The architect of the method's own config over the function of the golden cases."""
    cfg = load_config(configs_folder() / 'search' / 'idarts_nb201_c10.py')
    hook = cfg.default_hooks.architect
    hook.architect.update(options)
    architect = HOOKS.build(hook).architect
    assert isinstance(architect, Neumann)
    model = Quadratic(w)
    sgd = torch.optim.SGD([model.w], lr=0.1, momentum=0.9, weight_decay=5e-4)
    wrapper = OptimWrapper(sgd, clip_grad=dict(max_norm=5.0))
    architect.prepare(model, wrapper, None, partial(torch.optim.Adam, lr=3e-4))
    return architect


def test_the_gradient_after_inner_steps():
    _, expected, tolerance = golden('idarts', 'with_inner_steps_as_the_paper')
    architect = make()
    assert architect.terms == DEFINITION['K']
    for _ in range(DEFINITION['inner_steps']):
        architect.train_step(architect.model, TRAIN)
    after = architect.model.w.detach().clone()
    assert_close(after, expected['w_after_4_steps'], tolerance)
    grads, _ = architect.gradient(TRAIN, VAL)
    assert_close(grads[0], expected['alpha_grad'], tolerance)
    assert torch.equal(architect.model.w.detach(), after)
    model = architect.model
    *_, series = neumann(
        partial(architect.loss, TRAIN),
        partial(architect.loss, VAL),
        architect.alphas,
        [model.w],
        [0.1],
        terms=2,
    )
    for (found,), term in zip(series, expected['neumann_terms'], strict=True):
        assert_close(found, term, tolerance)


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
@pytest.mark.parametrize('terms', [0, 1, 2, 5])
def test_the_series(terms, hessian):
    given, expected, tolerance = golden('idarts', 'neumann_terms_formula')
    architect = make(given['w'], terms=terms, hessian=hessian)
    grads, _ = architect.gradient(TRAIN, VAL)
    assert_close(grads[0], expected['alpha_grad'][str(terms)], tolerance)


def test_the_limit_is_the_implicit_gradient():
    given, expected, _ = golden('idarts', 'neumann_terms_formula')
    architect = make(given['w'], terms=400, hessian='autograd')
    assert_close(architect.gradient(TRAIN, VAL)[0][0], expected['limit'], 1e-6)


def test_what_the_published_notebook_does():
    _, expected, tolerance = golden('idarts', 'official_as_published')
    architect = make(as_published=True)
    assert architect.train_step(architect.model, TRAIN) == {}
    assert_close(architect.model.w.detach(), DEFINITION['w'], 0)
    grads, _ = architect.gradient(TRAIN, VAL)
    assert_close(grads[0], expected['alpha_grad'], tolerance)
    assert_close(architect.model.w.detach(), expected['w_after'], tolerance)


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_no_terms_are_the_mixed_derivative_alone(hessian):
    """Of a network with batch norm and noise, against a graph through both losses."""
    model = make_model(noise=0.1)
    alphas, weights = model.split()
    train, val = make_batch(1), make_batch(2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    grads, loss, _ = neumann(
        lambda: model(**train)['loss'],
        lambda: model(**val)['loss'],
        alphas,
        weights,
        [0.05] * len(weights),
        terms=0,
        buffers=list(model.buffers()),
        hessian=hessian,
    )
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    torch.manual_seed(3)
    for alpha in alphas:
        alpha.requires_grad_(True)
    value = model.loss(**val)
    direct = torch.autograd.grad(value, alphas, retain_graph=True)
    v = torch.autograd.grad(value, weights)
    torch.manual_seed(3)
    slopes = torch.autograd.grad(model.loss(**train), weights, create_graph=True)
    product = sum((a * b).sum() for a, b in zip(slopes, v, strict=True))
    mixed = torch.autograd.grad(product, alphas)
    assert float(loss) == pytest.approx(float(value), rel=1e-12)
    for found, d, m in zip(grads, direct, mixed, strict=True):
        torch.testing.assert_close(found, d - 0.05 * m, rtol=1e-4, atol=1e-8)


def test_a_search_moves_alpha_after_every_so_many_steps(tmp_path):
    options = dict(architect='Neumann', every=2, step_order='weights_first', batches=4, epochs=2)
    runner = make_runner(tmp_path, **options)
    runner.train()
    assert architect_of(runner).steps == 4
    assert str(architect_of(runner)) == 'implicit gradient (2 terms, finite_difference)'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(terms=-1), 'terms of Neumann must be a number, 0 or more, but is -1'),
        (dict(hessian='exact'), "hessian must be 'finite_difference' or 'autograd'"),
    ],
)
def test_options(options, message):
    with pytest.raises(UserError, match=message):
        Neumann(**options)
