"""The largest eigenvalue of the Hessian in alpha, against the whole Hessian."""

from __future__ import annotations

import pytest
import torch
from test_architect.tiny_search import make_batch, make_model

from rdarts.architect.gradients import only_learning
from rdarts.architect.hessian import largest_eigenvalue
from rdarts.models import DARTSSupernet


@pytest.mark.parametrize('values', [(3.0, 1.0, -0.5), (1.0, -4.0, 0.5), (-1.0, -2.0, -7.0)])
def test_quadratic_forms_of_any_sign(values):
    """Also where the eigenvalue of largest magnitude is negative."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T
    parts = [torch.randn(2, dtype=torch.float64), torch.randn(1, dtype=torch.float64)]
    for part in parts:
        part.requires_grad_()
    x = torch.cat(parts)
    found = largest_eigenvalue(0.5 * x @ matrix @ x, parts, 1000, tolerance=1e-12)
    assert found == pytest.approx(max(values), rel=1e-6)


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
    with only_learning(alphas, weights):
        hessian = full_hessian(model.loss(**make_batch(seed)), alphas)
        assert torch.allclose(hessian, hessian.T)
        found = largest_eigenvalue(model.loss(**make_batch(seed)), alphas, 2000, tolerance=1e-10)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-4)


@pytest.mark.parametrize('execution', ['plain', 'fan_out'])
def test_of_a_supernet(execution):
    torch.manual_seed(0)
    net = DARTSSupernet('s3', channels=8, num_cells=1, execution=execution).double()
    x, head = torch.randn(4, 3, 6, 6).double(), torch.randn(net.out_channels, 3).double()
    labels = torch.tensor([0, 1, 2, 0])
    alphas = list(net.arch_parameters.values())
    weights = [p for p in net.parameters() if p.requires_grad]

    def loss():
        return torch.nn.functional.cross_entropy(net(x)[0].mean((2, 3)) @ head, labels)

    with only_learning(alphas, weights):
        found = largest_eigenvalue(loss(), alphas, 500, tolerance=1e-9)
        used = [
            a for a in alphas if torch.autograd.grad(loss(), a, allow_unused=True)[0] is not None
        ]
        hessian = full_hessian(loss(), used)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-4)


def test_a_loss_without_curvature():
    alpha = torch.randn(3, requires_grad=True)
    assert largest_eigenvalue((2 * alpha).sum(), [alpha]) == 0.0
