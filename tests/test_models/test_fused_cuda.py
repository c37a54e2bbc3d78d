"""Fused on a GPU."""

from __future__ import annotations

import pytest
import torch
from test_models.fused_nets import (
    SPACES,
    amp_results,
    assert_executions_agree,
    image,
    make,
    space_of,
)

pytestmark = pytest.mark.usefixtures('swish')
no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no NVIDIA GPU')


@pytest.mark.cuda
@no_gpu
@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('name', SPACES)
def test_every_space_on_cuda(name, mode):
    net = make(space_of(name)).train(mode == 'train').cuda()
    assert_executions_agree(net, image(3, 9).cuda())
    assert_executions_agree(net, image(2, (7, 10)).cuda(), 'alpha')


@pytest.mark.cuda
@no_gpu
@pytest.mark.parametrize(
    'options',
    [
        dict(mixed_op='rdarts.EntangledMixedOp'),
        dict(mixed_op='rdarts.EntangledMixedOp', relaxation='rdarts.GumbelSoftmax'),
        dict(mixed_op='rdarts.TwoPaths', relaxation='rdarts.PathGates'),
    ],
    ids=str,
)
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts'])
def test_other_mixed_operations_on_cuda(name, options):
    assert_executions_agree(make(name, **options).cuda(), image(3, 9).cuda())


@pytest.mark.cuda
@no_gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input'])
def test_amp_on_cuda(name, dtype):
    net = make(space_of(name)).float().cuda()
    x = image(8, 8).float().cuda()
    exact = amp_results(net, x, 'plain', None)
    errors = []
    for execution in ('plain', 'fused'):
        results = amp_results(net, x, execution, dtype)
        assert all(result.isfinite().all() for result in results)
        errors.append([(r - e).norm() / e.norm() for r, e in zip(results, exact, strict=True)])
    for plain, found in zip(*errors, strict=True):
        assert found <= 1.5 * plain
