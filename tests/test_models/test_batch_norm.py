"""Batch norm in channels_last: PyTorch's numbers, and as close to float64 as in NCHW."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rdarts.models.batch_norm import BatchNorm2d


def pair(channels=16, **kwargs):
    torch.manual_seed(0)
    ours = BatchNorm2d(channels, **kwargs)
    if ours.affine:
        nn.init.normal_(ours.weight)
        nn.init.normal_(ours.bias)
    exact = nn.BatchNorm2d(channels, **kwargs).double()
    exact.load_state_dict(ours.state_dict())
    return ours, exact


def images(*shape):
    x = 3 + torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return x.to(memory_format=torch.channels_last)


def distance(one, other):
    return float((one.detach().double() - other.detach()).norm() / other.detach().norm())


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('tracked', [True, False])
@pytest.mark.parametrize('shape', [(8, 16, 12, 12), (3, 5, 7, 9), (64, 16, 32, 32)])
def test_channels_last_is_as_exact_as_nchw(path, shape, tracked, affine):
    ours, exact = pair(shape[1], affine=affine, track_running_stats=tracked)
    x = images(*shape).requires_grad_()
    y = x.detach().double().requires_grad_()
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    out, expected = ours(x), exact(y)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, expected) < 4e-7
    out.backward(grad.to(memory_format=torch.channels_last))
    expected.backward(grad.double())
    assert distance(x.grad, y.grad) < 3e-7
    for one, other in zip(ours.parameters(), exact.parameters(), strict=True):
        assert distance(one.grad, other.grad) < 3e-6
    for (name, one), other in zip(ours.named_buffers(), exact.buffers(), strict=True):
        assert distance(one, other.double()) < 1e-6, name


def test_pytorch_itself_is_further_off():
    x = images(64, 16, 32, 32)
    exact = nn.functional.batch_norm(x.double(), None, None, training=True)
    ours = distance(BatchNorm2d(16)(x).detach(), exact)
    assert distance(nn.BatchNorm2d(16)(x).detach(), exact) > 2 * ours


@pytest.mark.parametrize('case', ['nchw', 'eval', 'float64', 'cumulative', 'one pixel'])
def test_anything_else_is_pytorchs(case, recorder):
    ours = BatchNorm2d(4, momentum=None if case == 'cumulative' else 0.1)
    theirs = nn.BatchNorm2d(4, momentum=ours.momentum)
    x = images(2, 4, 6, 6)
    if case == 'nchw':
        x = x.contiguous()
    if case == 'eval':
        ours.eval(), theirs.eval()
    if case == 'float64':
        ours, theirs, x = ours.double(), theirs.double(), x.double()
    if case == 'one pixel':
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            ours(x[:1, :, :1, :1])
        return
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
    assert not recorder.calls


def test_gradients_of_gradients(path):
    ours, exact = pair(8)
    x = images(4, 8, 6, 6)

    def second(norm, x):
        x = x.clone(memory_format=torch.preserve_format).requires_grad_()
        (first,) = torch.autograd.grad(norm(x).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), [x, norm.weight])

    for one, other in zip(second(ours, x), second(exact, x.double()), strict=True):
        assert distance(one, other) < 1e-4


def test_the_state_is_that_of_pytorchs():
    ours, _ = pair()
    assert list(ours.state_dict()) == list(nn.BatchNorm2d(16).state_dict())
    ours(images(2, 16, 4, 4))
    assert int(ours.num_batches_tracked) == 1
    assert isinstance(
        nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(ours)), nn.SyncBatchNorm
    )
