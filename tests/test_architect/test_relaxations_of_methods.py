"""Relaxations of the field against the published codes, as each method's config builds them."""

from __future__ import annotations

import pytest
import torch
from golden import assert_close, double, golden

from rdarts.architect.relaxations import (
    Dirichlet,
    GumbelSoftmax,
    PerturbedSoftmax,
    ReinMax,
    Relaxation,
)
from rdarts.architect.relaxations.perturbed import project
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import REGULARIZERS, RELAXATIONS, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')
DARTS = build_space('darts')


def relaxation(config: str, **options):
    """That of a config, with arguments of one's own."""
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    return build({**cfg.model.backbone.relaxation, **options}, RELAXATIONS)


def gradient(loss, leaf):
    return torch.autograd.grad(loss, leaf)[0]


def test_gdas_draws_as_published(monkeypatch):
    given, expected, tolerance = golden('gdas', 'relaxation_given_exponentials')
    monkeypatch.setattr(GumbelSoftmax, 'noise', lambda self, alpha: double(given['E']))
    for tau, case in expected.items():
        alpha = double(given['alpha']).requires_grad_()
        own = relaxation('gdas_nb201_c10', temperature=float(tau))
        drawn = own(dict(cell=alpha), NB201, 'weights')['cell']
        hard = torch.zeros_like(alpha).scatter_(1, torch.tensor(case['index'])[:, None], 1.0)
        assert torch.equal(drawn.weights, hard) and torch.equal(drawn.active, hard > 0)
        grad = gradient((double(given['c']) * drawn.weights).sum(), alpha)
        assert_close(grad, case['alpha_grad'], tolerance)


def test_the_temperature_of_gdas():
    given, expected, _tolerance = golden('gdas', 'tau_schedule')
    own = relaxation('gdas_nb201_c10')
    for epoch in given['epochs']:
        own.set_progress(epoch, 250)
        assert abs(own.numbers()['temperature'] - expected['tau'][str(epoch)]) < 1e-11
    cfg = load_config(configs_folder() / 'search' / 'gdas_nb201_c10.py')
    assert cfg.train_cfg.max_epochs == cfg.schedule_epochs == given['total_epochs']


def test_snas_relaxes_as_published(monkeypatch):
    given, expected, tolerance = golden('snas', 'concrete_relaxation')
    monkeypatch.setattr(GumbelSoftmax, 'noise', lambda self, alpha: -double(given['u']).log())
    for tau, case in expected.items():
        alpha = double(given['log_alpha']).requires_grad_()
        own = relaxation('snas_darts_c10', temperature=float(tau))
        weights = own(dict(normal=alpha, reduce=alpha), DARTS, 'weights')['normal']
        assert_close(weights, case['weights'], tolerance)
        assert_close(
            gradient((double(given['c']) * weights).sum(), alpha), case['alpha_grad'], tolerance
        )


def test_the_temperature_of_snas():
    given, expected, tolerance = golden('snas', 'temperature_schedule')
    own = relaxation('snas_darts_c10')
    for epoch in given['epochs']:
        own.set_progress(epoch, 150)
        assert abs(own.numbers()['temperature'] - expected['temp'][str(epoch)]) < tolerance + 1e-12


def test_snas_starts_and_moves_as_published():
    _, expected, _ = golden('snas', 'initialisation')
    cfg = load_config(configs_folder() / 'search' / 'snas_darts_c10.py')
    assert cfg.model.backbone.alpha_std == expected['loc_std']
    assert dict(cfg.arch_optimizer) == dict(type='SGD', lr=3e-4)
    assert cfg.default_hooks.architect.arch_clip_grad == expected['arch_grad_clip']
    assert cfg.optim_wrapper.clip_grad.max_norm == expected['weight_grad_clip']
    assert cfg.train_cfg.max_epochs == cfg.schedule_epochs == 150
    assert cfg.arch_dataloader is None and cfg.train_dataloader.dataset.part == 'both'


def test_dsnas_has_the_gradient_of_the_score_function(monkeypatch):
    given, expected, tolerance = golden('dsnas', 'alpha_gradient')
    own = relaxation('dsnas_nb201_c10')
    drawn = double(given['sample']).argmax(-1, keepdim=True)
    monkeypatch.setattr(torch, 'multinomial', lambda p, n: drawn)
    alpha = double(given['log_alpha']).requires_grad_()
    relaxed = own.relax(alpha, 'alpha')
    assert torch.equal(relaxed.weights, double(given['sample']))
    assert torch.equal(relaxed.active, relaxed.weights > 0)
    x = double(given['x'])
    for edge, k in enumerate(drawn[:, 0].tolist()):
        x = (torch.tanh(given['k'][edge][k] * x) + x / 2) * relaxed.weights[edge, k]
    logits = x @ double(given['classifier']).T
    assert_close(logits, expected['logits'], tolerance)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(given['target']))
    assert_close(loss, expected['error_loss'], tolerance)
    (rewards,) = torch.autograd.grad(loss, relaxed.weights, retain_graph=True)
    assert_close(rewards.sum(-1), expected['block_reward'], tolerance)
    assert_close(gradient(loss, alpha), expected['alpha_grad'], tolerance)


def test_the_draws_of_the_score_function_follow_the_softmax():
    torch.manual_seed(0)
    own, alpha = relaxation('dsnas_nb201_c10'), torch.tensor([[0.0, 1.0, 2.0]])
    draws = torch.cat([own.relax(alpha, 'weights').weights for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), alpha.softmax(-1)[0], rtol=0, atol=0.03)
    assert own.relax(alpha, 'eval').tolist() == [[0, 0, 1]]


class AsItIs(Relaxation):
    def relax(self, alpha, phase):
        return alpha


def fbnet():
    cfg = load_config(configs_folder() / 'search' / 'fbnet_mobilenet_like_imagenet.py')
    cost = cfg.default_hooks.architect.regularizers.cost
    own = build(cfg.model.backbone.relaxation, RELAXATIONS)
    return cfg, own, cost, build(cost, REGULARIZERS)


def test_fbnet_draws_and_takes_the_latency_of_that_draw(monkeypatch):
    given, expected, tolerance = golden('fbnet', 'gumbel_softmax_and_latency')
    monkeypatch.setattr(
        GumbelSoftmax, 'noise', lambda self, alpha: (-double(given['gumbel'])).exp()
    )
    names = [f'mbconv_k{k}_e{e}' for k in (3, 5, 7) for e in (3, 6)]
    names += ['skip_connect', 'nor_conv_3x3', 'sep_conv_3x3']
    rows = [dict(zip(names, row, strict=True)) for row in given['latency']]
    table = dict(space='two', unit='us', costs=dict(layerwise=rows))
    layers = dict(name='two', layers=[names, names], costs=table)
    space = build_space(dict(type='LayerwiseSpace', **layers))
    for temperature in given['T']:
        _, own, _, cost = fbnet()
        own.schedules['temperature'].points[:] = [(0, float(temperature))]
        theta = double(given['theta']).requires_grad_()
        case = expected[str(float(temperature))]
        weights = own(dict(layerwise=theta), space, 'alpha')['layerwise']
        assert_close(weights.detach(), case['weights'], tolerance)
        grad = gradient((double(given['c']) * weights).sum(), theta)
        assert_close(grad, case['theta_grad_of_c'], tolerance)
        owner = AlphaOwner(space, own)
        cost.prepare(owner)
        owner.mixed = dict(layerwise=Relaxed(weights.detach()))
        latency, reference = cost.costs(dict(layerwise=theta), space)
        assert reference is None
        assert_close(latency.detach(), case['latency'], tolerance)
        again = own.expected(dict(layerwise=theta), space, owner.mixed)['layerwise']
        grad = gradient((double(given['c']) * again).sum(), theta)
        assert_close(grad, case['theta_grad_of_c'], tolerance)


def test_the_loss_of_fbnet():
    given, expected, tolerance = golden('fbnet', 'latency_loss')
    logits, target = double(given['logits']), torch.tensor(given['target'])
    ce = torch.nn.functional.cross_entropy(logits, target)
    assert_close(ce, expected['ce'], tolerance)
    _, _, config, _ = fbnet()
    for name, arguments in (('paper', {}), ('reimplementation', dict(power_inside=True))):
        term = build({**config, **arguments, 'drawn': False}, REGULARIZERS)
        row = [dict(skip_connect=given['LAT'] / 1000)]  # ms
        table = dict(space='one', unit='ms', costs=dict(layerwise=row))
        layers = dict(name='one', layers=[['skip_connect']], costs=table)
        space = build_space(dict(type='LayerwiseSpace', **layers))
        # the weight of the one candidate is 1; d / d weight is LAT times d / d LAT
        term.relaxation = AsItIs()
        alpha = double([[1.0]]).requires_grad_()
        value = term(dict(layerwise=alpha), space)
        slope = gradient(value, alpha) / given['LAT']
        factor = term.lambda_.at(0)
        assert_close(ce * factor * value.detach(), expected[f'{name}_loss'], tolerance)
        assert_close(float(ce * factor * slope), expected[f'{name}_dLAT'], tolerance)


def test_the_temperature_of_fbnet():
    given, expected, tolerance = golden('fbnet', 'temperature_schedule')
    cfg, own, _, _ = fbnet()
    start = cfg.default_hooks.architect.start_epoch
    assert (start, cfg.train_cfg.max_epochs) == (10, 90)
    for epoch, value in expected.items():
        own.set_progress(start + int(epoch), 90)
        assert abs(own.numbers()['temperature'] - value) < tolerance
    own.set_progress(0, 90)
    assert own.numbers()['temperature'] == given['T0']


@pytest.mark.parametrize('phase', ['weights', 'alpha'])
def test_a_draw_is_exactly_one_and_zero_and_follows_the_softmax(phase):
    torch.manual_seed(0)
    alpha = torch.randn(6, 5)
    counts = torch.zeros(6, 5)
    own = GumbelSoftmax(dict(points=[(0, 10.0), (9, 0.1)]))
    for _ in range(4000):
        drawn = own(dict(cell=alpha), NB201, phase)['cell']
        assert set(drawn.weights.unique().tolist()) == {0.0, 1.0}
        counts += drawn.weights
    assert (counts / 4000 - alpha.softmax(-1)).abs().max() < 0.04
    evaluated = own(dict(cell=alpha), NB201, 'eval')['cell']
    assert torch.equal(evaluated.argmax(-1), alpha.argmax(-1))
    assert torch.equal(own.expected(dict(cell=alpha), NB201)['cell'], alpha.softmax(-1))


def test_reinmax_against_its_formula(monkeypatch):
    """Algorithm 2 by hand: D sampled, pi_0, pi_1; the gradient is that of 2 pi_1' - pi_0 / 2."""
    torch.manual_seed(1)
    alpha, c = torch.randn(6, 5).double(), torch.randn(6, 5).double()
    noise = torch.empty(6, 5).double().exponential_()
    monkeypatch.setattr(ReinMax, 'noise', lambda self, alpha: noise)
    for tau in (1.0, 1.7):
        leaf = alpha.clone().requires_grad_()
        drawn = ReinMax(tau)(dict(cell=leaf), NB201, 'weights')['cell']
        found = gradient((c * drawn.weights).sum(), leaf)
        hard = torch.zeros_like(alpha).scatter_(1, (alpha - noise.log()).argmax(1)[:, None], 1.0)
        assert torch.equal(drawn.weights, hard)
        zero, one = alpha.softmax(1), (hard + (alpha / tau).softmax(1)) / 2

        def through(p):  # the Jacobian of a softmax, times c
            return p * (c - (p * c).sum(1, keepdim=True))

        torch.testing.assert_close(found, 2 * through(one) - 0.5 * through(zero))


def test_sigmoid():
    given, expected, tolerance = golden('fairdarts', 'sigmoid_relaxation')
    alpha = double(given['alpha']).requires_grad_()
    space = build_space(dict(type='darts', leave_out=['none']))
    own = relaxation('fairdarts_darts_c10')
    weights = own(dict(normal=alpha, reduce=alpha), space, 'weights')['normal']
    assert_close(weights, expected['weights'], tolerance)
    grad = gradient((double(given['c']) * weights).sum(), alpha)
    assert_close(grad, expected['alpha_grad'], tolerance)


def test_dirichlet_draws_with_the_pathwise_gradient(monkeypatch):
    given, expected, tolerance = golden('drnas', 'dirichlet_pathwise_gradient')
    own = relaxation('drnas_nb201_c10')
    x = double(given['x'])

    def draw(self, concentration):
        assert_close(concentration, given['concentration'], 1e-10)
        total = concentration.sum(-1, keepdim=True).expand_as(concentration)
        return Given.apply(x, concentration, total)

    monkeypatch.setattr(Dirichlet, 'draw', draw)
    alpha = double(given['alpha']).requires_grad_()
    weights = own(dict(cell=alpha), NB201, 'weights')['cell']
    assert_close(weights, expected['weights'], 1e-9)
    grad = gradient((double(given['c']) * weights).sum(), alpha)
    assert_close(grad, expected['alpha_grad'], tolerance)


class Given(torch.autograd.Function):
    """A draw that is given, with PyTorch's pathwise gradient of a Dirichlet draw."""

    @staticmethod
    def forward(ctx, x, concentration, total):
        ctx.save_for_backward(x, concentration, total)
        return x

    @staticmethod
    def backward(ctx, grad):
        x, concentration, total = ctx.saved_tensors
        own = torch._dirichlet_grad(x, concentration, total)
        return None, own * (grad - (x * grad).sum(-1, keepdim=True)), None


def test_a_perturbed_softmax(monkeypatch):
    given, expected, tolerance = golden('sdarts', 'random_smoothing')
    own = relaxation('sdarts_rs_nb201_c10')
    own.set_progress(100, 100)  # where epsilon would be that of the case
    assert own.numbers()['epsilon'] == given['eps']
    with monkeypatch.context() as patch:
        patch.setattr(PerturbedSoftmax, 'noise', lambda self, weights: double(given['U']))
        weights = own(dict(cell=double(given['softmax_alpha']).log()), NB201, 'weights')['cell']
    assert_close(weights, expected['weights'], tolerance)
    row = project(double([[-0.2, -0.1, -0.3]]))  # an all-negative row becomes one-hot
    assert row.tolist() == [[0.0, 1.0, 0.0]]
    alphas = dict(cell=torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    own.set_progress(50, 100)
    torch.manual_seed(3)
    found = own(alphas, NB201, 'weights')['cell']
    torch.manual_seed(3)
    u = torch.rand(6, 5) * 2 - 1
    torch.testing.assert_close(found, project(alphas['cell'].softmax(-1) + 0.165 * u))
    for phase in ('alpha', 'eval'):
        assert torch.equal(own(alphas, NB201, phase)['cell'], alphas['cell'].softmax(-1))


def test_epsilon_of_smooth_darts():
    given, expected, tolerance = golden('sdarts', 'schedule')
    own = relaxation('sdarts_rs_nb201_c10')
    for epoch, value in expected.items():
        own.set_progress(int(epoch), given['E'])
        assert abs(own.numbers()['epsilon'] - value) < tolerance


def test_edge_weights():
    given, expected, tolerance = golden('pc_darts', 'edge_normalisation')
    own = relaxation('pc_darts_darts_c10')
    beta = double(given['beta'])[:, None].requires_grad_()
    alphas = dict(normal_edges=beta, reduce_edges=torch.zeros(14, 1).double())
    factor = own.edge_factors(alphas, DARTS, 'weights')['normal']
    assert_close(factor, expected['edge_weights'], tolerance)
    grad = gradient((double(given['c']) * factor).sum(), beta)
    assert_close(grad[:, 0], expected['beta_grad'], tolerance)


@pytest.mark.parametrize(
    ('build_one', 'line'),
    [
        (lambda: GumbelSoftmax(0.0), 'temperature of GumbelSoftmax must be more than 0, but is 0'),
        (lambda: GumbelSoftmax(dict(points=[(0, 1.0), (5, -1.0)])), 'must be more than 0'),
        (lambda: GumbelSoftmax(hard=False, constant=True), 'goes with hard=True'),
        (lambda: Dirichlet('median'), "must be 'mean' or 'softmax', not 'median'"),
    ],
)
def test_what_is_refused(build_one, line):
    with pytest.raises(UserError, match=line):
        build_one()


def test_a_constant_is_asked_for():
    drawn = GumbelSoftmax(constant=True)(dict(cell=torch.zeros(6, 5)), NB201, 'alpha')['cell']
    assert isinstance(drawn, Relaxed) and drawn.constant
