"""Lambda-DARTS against the published code, and by a gradient of the gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from golden import assert_close, double, golden
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import make_loader, scaled_wrapper

from rdarts.architect.architects.layer_alignment import LayerAlignment, layer_alignment
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones import NASBench201Supernet
from rdarts.registry import ARCHITECTS, build

THREE = ['none', 'skip_connect', 'nor_conv_1x1']
RATE = 1.0


def space(nodes):
    kinds = ('normal', 'reduce')
    cells = {kind: dict(num_nodes=nodes, candidates=THREE) for kind in kinds}
    return dict(type='CellSpace', name='three', cells=cells)


class Owner(AlphaOwner):
    def __init__(self, nodes, cell_types):
        super().__init__(space(nodes))
        self.cell_types = cell_types
        self.seen = []

    def weights_of_cells(self):
        """[edges, candidates] of each cell."""
        found = [
            torch.cat([mixing.weights for mixing in own.values()]).view(-1, len(THREE))
            for own in self.cell_mixings()
        ]
        self.seen.append([one.detach() for one in found])
        return found


class Linear(BaseModel):
    """Its layer gradients are what is given: L = sum_l <G_l, p_l>."""

    def __init__(self, given):
        super().__init__()
        kinds = [dict(N='normal', R='reduce')[kind] for kind in given['cells'].split()]
        self.backbone = Owner(3, kinds)
        self.scale = torch.nn.Parameter(torch.ones(()))
        normal = iter(double(given['normal_gradients']))
        self.slopes = [next(normal) if kind == 'normal' else torch.ones(2, 3) for kind in kinds]

    def forward(self, inputs, labels, mode='loss'):
        pairs = zip(self.slopes, self.backbone.weights_of_cells(), strict=True)
        # two of the three edges have a slope
        return dict(loss=self.scale * sum((slope * p[:2]).sum() for slope, p in pairs))


class TwoCells(BaseModel):
    """The network of the golden case."""

    def __init__(self, given):
        super().__init__()
        self.backbone = Owner(2, ['normal', 'normal'])
        self.w = torch.nn.Parameter(double(given['w']))
        self.x, self.y = double(given['x']), given['y']

    def forward(self, inputs, labels, mode='loss'):
        (p,), (q,) = self.backbone.weights_of_cells()
        w, x = self.w, self.x
        h1 = torch.tanh(w[0] * x) * p[0] + torch.sin(w[1] * x) * p[1]
        h2 = torch.tanh(w[2] * h1) * q[0] + h1 * q[1] + w[3] * h1.square() * q[2]
        return dict(loss=(h2.sum() - self.y).square() + 0.1 * w.square().sum())


def prepared(architect, model, make=OptimWrapper, **options):
    weights = [p for p in model.parameters() if p.requires_grad]
    wrapper = make(torch.optim.SGD(weights, lr=RATE), **options)
    architect.single_level = make is scaled_wrapper  # so that no scaler of alpha is made
    architect.prepare(model.double(), wrapper, make_loader(0), torch.optim.Adam)
    return architect


def of_config(config='lambda_darts_darts_c10', **arguments):
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    return build({**cfg.default_hooks.architect.architect, **arguments}, ARCHITECTS)


BATCH = dict(inputs=torch.zeros(2, 4), labels=torch.zeros(2))


def test_the_perturbation_of_cells():
    given, expected, tolerance = golden('lambda_darts', 'perturbation_corr')
    model = Linear(given)
    architect = prepared(of_config(epsilon=given['epsilon_0']), model)
    architect.set_progress(49, 50)
    architect.train_step(model, BATCH)
    assert_close(float(architect.row['layer_alignment']), expected['Lambda'], tolerance)
    base, below, above = model.backbone.seen
    normal = iter(expected['perturbation_of_normal_cells'])
    for kind, at, low, high in zip(model.backbone.cell_types, base, below, above, strict=True):
        if kind == 'reduce':
            assert torch.equal(low, at) and torch.equal(high, at)
            continue
        u = double(next(normal))
        for found, sign in ((low - at, -1), (high - at, 1)):
            assert_close(found[:2].tolist(), (sign * u).tolist(), tolerance)
            assert not found[2].any()


def test_the_correction_of_the_weights_gradient():
    given, expected, tolerance = golden('lambda_darts', 'weight_gradient_correction')
    for epoch, name in ((0, 'loss_grad'), (49, 'corrected_grad')):
        model = TwoCells(given)
        architect = prepared(of_config(), model)
        assert architect.epsilon == given['epsilon_0']
        architect.alphas[0].data.copy_(double(given['alpha']))
        architect.set_progress(epoch, 50)
        assert architect.numbers()['lambda_'] == (given['lambda_'] if epoch else 0)
        start = model.w.detach().clone()
        architect.train_step(model, BATCH)
        found = (start - model.w.detach()) / RATE
        assert_close(found.tolist(), expected[name], tolerance if epoch else 1e-12)
        assert len(model.backbone.seen) == (3 if epoch else 1)
        assert_close(float(architect.row['layer_alignment']), expected['Lambda'], tolerance)
    exact = double(expected['exact_grad_of_Lambda'])
    corrected = double(expected['loss_grad']) - given['lambda_'] * exact
    assert_close(found.tolist(), corrected.tolist(), tolerance)


@pytest.mark.parametrize('config', ['lambda_darts_darts_c10', 'lambda_darts_nb201_c10'])
def test_lambda_over_the_epochs(config):
    given, expected, tolerance = golden('lambda_darts', 'lambda_schedule')
    architect = of_config(config)
    if 'nb201' in config:  # its own length and factor
        given, expected = dict(epochs=100), {0: 0.0, 33: 0.25 / 3, 99: 0.25}
    cfg = load_config(configs_folder() / 'search' / f'{config}.py')
    assert cfg.train_cfg.max_epochs == given['epochs']
    for epoch, value in expected.items():
        assert abs(architect.schedules['lambda_'].at(int(epoch)) - value) < tolerance


def test_the_alignment_and_its_gradient():
    torch.manual_seed(0)
    grads = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    pairs = list(itertools.combinations(grads, 2))
    mean = sum(torch.cosine_similarity(a, b, dim=0) for a, b in pairs) / len(pairs)
    (slope,) = torch.autograd.grad(mean, grads)
    found = layer_alignment(grads.detach())
    torch.testing.assert_close(found[0], mean.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found[1], slope, rtol=1e-12, atol=1e-14)
    alike = layer_alignment(torch.ones(3, 2).double())
    assert float(alike[0]) == pytest.approx(1) and float(alike[1].abs().max()) < 1e-15
    none = layer_alignment(torch.zeros(3, 2))
    assert float(none[0]) == 0 and not none[1].any()


class Classifier(BaseModel):
    """With noise, which all passes must share."""

    def __init__(self, execution='plain'):
        super().__init__()
        self.backbone = NASBench201Supernet(channels=4, cells_per_stage=1, execution=execution)
        self.head = torch.nn.Linear(16, 3)
        self.drawn = []

    def forward(self, inputs, labels, mode='loss'):
        noise = torch.rand_like(inputs)
        self.drawn.append(noise)
        features = self.backbone(inputs + noise)[0].mean((2, 3))
        return dict(loss=torch.nn.functional.cross_entropy(self.head(features), labels))


def images():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return dict(inputs=inputs, labels=torch.tensor([0, 1, 2, 0, 1, 2]))


def stepped(execution='plain', lambda_=5.0, make=OptimWrapper, **arguments):
    torch.manual_seed(0)
    model = Classifier(execution)
    architect = LayerAlignment(lambda_, cell='cell', epsilon=1e-4, **arguments)
    torch.manual_seed(1)
    prepared(architect, model, make).train_step(model, images())
    return architect, torch.get_rng_state()


def of(architect, running):
    """The state dict of running statistics, or of the rest."""
    state = architect.model.state_dict().items()
    marks = ('running', 'num_batches')
    return {k: v for k, v in state if any(mark in k for mark in marks) == running}


def test_the_weights_move_along_the_gradient_of_the_gradient():
    """The exact one, of all cells' mixing weights, by two backward passes."""
    architect, _ = stepped()
    torch.manual_seed(0)
    twin = Classifier().double()
    zeros = twin.backbone.zero_shifts()
    for own in zeros:
        own['cell'].requires_grad_(True)
    weights = [p for p in twin.parameters() if p.requires_grad]
    torch.manual_seed(1)
    with twin.backbone.shifted(zeros):
        loss = twin(**images())['loss']
    grads = torch.autograd.grad(loss, [own['cell'] for own in zeros], create_graph=True)
    flat = [grad.flatten() for grad in grads]
    pairs = list(itertools.combinations(flat, 2))
    value = sum(torch.cosine_similarity(a, b, dim=0) for a, b in pairs) / len(pairs)
    assert float(architect.row['layer_alignment']) == pytest.approx(value.item(), rel=1e-9)
    expected = torch.autograd.grad(loss - 5.0 * value, weights)
    for weight, before, grad in zip(architect.weights, weights, expected, strict=True):
        torch.testing.assert_close(weight, before - RATE * grad, rtol=1e-5, atol=1e-6)


def test_passes_share_the_noise_and_leave_no_trace():
    (plain, state), (aligned, after) = stepped(lambda_=0.0), stepped()
    assert len(plain.model.drawn) == 1 and len(aligned.model.drawn) == 3
    assert all(torch.equal(plain.model.drawn[0], draw) for draw in aligned.model.drawn)
    assert torch.equal(state, after)
    other = of(aligned, running=True)
    assert other and all(torch.equal(v, other[k]) for k, v in of(plain, running=True).items())
    moved = of(aligned, running=False)
    assert any(not torch.equal(v, moved[k]) for k, v in of(plain, running=False).items())


def test_running_statistics_as_published():
    (plain, _), (thrice, _) = stepped(), stepped(moves_statistics=True)
    once, three = (architect.model.state_dict() for architect in (plain, thrice))
    key = 'backbone.stem.1.num_batches_tracked'
    assert (int(once[key]), int(three[key])) == (1, 3)
    own = of(thrice, running=False)
    assert all(torch.equal(v, own[k]) for k, v in of(plain, running=False).items())


def test_fused_and_plain_find_the_same():
    (plain, _), (fused, _) = stepped('plain'), stepped('fused')
    found = fused.model.state_dict()
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-8)


def test_a_loss_scale_changes_nothing():
    (plain, _), (scaled, _) = stepped(), stepped(make=scaled_wrapper)
    found = scaled.model.state_dict()
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(lambda_=-1.0), 'lambda_ of LayerAlignment must be at least 0, but is -1.0'),
        (dict(epsilon=0.0), 'epsilon must be more than 0, but is 0.0'),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        LayerAlignment(**arguments)


def test_networks_and_optimizers_that_do_not_fit():
    with pytest.raises(UserError, match=r"has 0 of the type 'normal': set cell to one of cell$"):
        prepared(LayerAlignment(), Classifier())
    with pytest.raises(UserError, match=r'set optim_wrapper\.accumulative_counts=1$'):
        prepared(LayerAlignment(cell='cell'), Classifier(), accumulative_counts=2)
