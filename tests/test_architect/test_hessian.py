"""The largest eigenvalue of the Hessian in alpha, against the whole Hessian."""

from __future__ import annotations

import math

import pytest
import torch
from test_architect.tiny_search import make_batch, make_model

from rdarts.architect.gradients import only_training
from rdarts.architect.hessian import largest_eigenvalue
from rdarts.models import DARTSSupernet


def eigenvalue_of(values, seed=0, dtype=torch.float64, **kwargs):
    """Of a quadratic form with this spectrum, in a random basis, over two groups of alpha."""
    torch.manual_seed(0)
    values = torch.tensor(values, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))[0]
    matrix = (basis @ torch.diag(values) @ basis.T).to(dtype)
    parts = list(torch.randn(len(values), dtype=dtype).split([2, len(values) - 2]))
    for part in parts:
        part.requires_grad_()
    x = torch.cat(parts)
    return largest_eigenvalue(0.5 * x @ matrix @ x, parts, seed=seed, **kwargs)


CROWD = [0.9 * i / 100 for i in range(-100, 101)]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    'values',
    [
        (3.0, 1.0, -0.5),
        (1.0, -4.0, 0.5),
        (1.0, -1.0, 0.1) + (0.0,) * 9,
        (1.0, -0.999, 0.2),
        (1.0, 0.99, -0.99),
        (1.0, 0.99, -0.99, *CROWD),
        (0.1, *CROWD[:100]),
        (-1.0, -2.0, -7.0),
        (-0.5, -0.6, *(value - 1.6 for value in CROWD)),
        (1.0,) * 5,
        (0.0,) * 5,
    ],
)
def test_spectra_of_any_sign(values, dtype):
    """Also where magnitudes are alike, and where the largest magnitude is negative."""
    for seed in range(5):
        found = eigenvalue_of(values, seed, dtype)
        assert found == pytest.approx(max(values), rel=1e-4, abs=1e-12)
        assert found.converged and found.products <= min(len(values), 40)
        assert found.residual <= 1e-4 * max(abs(found), 0.01 * max(map(abs, values)))


def test_a_tighter_tolerance():
    found = eigenvalue_of((1.0, 0.99, -0.99, *CROWD), tolerance=1e-10)
    assert found == pytest.approx(1.0, rel=1e-12) and found.residual <= 1e-10


def test_too_few_products_are_told():
    full = eigenvalue_of((1.0, 0.99, -0.99, *CROWD))
    found = eigenvalue_of((1.0, 0.99, -0.99, *CROWD), iterations=6)
    assert (found.converged, found.products) == (False, 6)
    assert 1e-2 < found.residual < 1 and 0.8 < found < full
    # an eigenvalue is no further off than the residual
    assert min(abs(found - value) for value in (1.0, 0.99, *CROWD)) <= found.residual


def test_a_hessian_that_is_not_finite():
    alpha = torch.tensor([0.0, 1.0], requires_grad=True)
    found = largest_eigenvalue(alpha.abs().pow(1.5).sum(), [alpha])
    assert math.isnan(found) and not found.converged


def full_hessian(loss, alphas):
    """All second derivatives, one row at a time."""
    grads = torch.autograd.grad(loss, alphas, create_graph=True)
    flat = torch.cat([grad.flatten() for grad in grads])
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, alphas, retain_graph=True)])
        for one in flat
    ]
    return torch.stack(rows)


@pytest.mark.parametrize('seed', range(4))
def test_of_a_small_search(seed):
    model = make_model(seed=seed)
    alphas, weights = model.split()
    with only_training(alphas, weights):
        hessian = full_hessian(model.loss(**make_batch(seed)), alphas)
        assert torch.allclose(hessian, hessian.T)
        found = largest_eigenvalue(model.loss(**make_batch(seed)), alphas, 2000, tolerance=1e-10)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_of_a_supernet(execution):
    torch.manual_seed(0)
    net = DARTSSupernet('s3', channels=8, num_cells=1, execution=execution).double()
    x, head = torch.randn(4, 3, 6, 6).double(), torch.randn(net.out_channels, 3).double()
    labels = torch.tensor([0, 1, 2, 0])
    alphas = list(net.arch_parameters.values())
    weights = [p for p in net.parameters() if p.requires_grad]

    def loss():
        return torch.nn.functional.cross_entropy(net(x)[0].mean((2, 3)) @ head, labels)

    with only_training(alphas, weights):
        found = largest_eigenvalue(loss(), alphas, 500, tolerance=1e-9)
        used = [
            a for a in alphas if torch.autograd.grad(loss(), a, allow_unused=True)[0] is not None
        ]
        hessian = full_hessian(loss(), used)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_of_a_supernet_in_bfloat16(execution):
    found = []
    for amp in (False, True):
        torch.manual_seed(0)
        net = DARTSSupernet('s3', channels=8, num_cells=1, execution=execution, alpha_std=0.5)
        x, head = torch.randn(4, 3, 6, 6), torch.randn(net.out_channels, 3)
        alphas = list(net.arch_parameters.values())
        weights = [p for p in net.parameters() if p.requires_grad]
        with only_training(alphas, weights):
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
                logits = net(x)[0].mean((2, 3)) @ head
            assert logits.dtype == (torch.bfloat16 if amp else torch.float32)
            loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0]))
            found.append(largest_eigenvalue(loss, alphas, 5))
    assert found[1] == pytest.approx(float(found[0]), rel=0.1)


def test_a_loss_without_curvature():
    alpha = torch.randn(3, requires_grad=True)
    assert largest_eigenvalue((2 * alpha).sum(), [alpha]) == 0.0


def test_the_loss_scale_of_float16_is_in_no_eigenvalue():
    alpha = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def found(scale):
        loss = 1e-9 * alpha.half().pow(3).float().sum()  # its gradient is below float16's numbers
        return largest_eigenvalue(loss, [alpha], scale=scale)

    assert found(1.0) == 0.0
    assert found(2.0**30) == pytest.approx(6e-9 * 3, rel=1e-2)
    assert found(2.0**30).residual < 1e-10


def test_a_phase_within_the_architects_ends_with_it():
    supernet = make_model().backbone
    with supernet.alpha_phase():
        with supernet.alpha_phase():
            assert supernet.phase == 'alpha'
        assert supernet.phase == 'alpha'
    assert supernet.phase == 'weights'
