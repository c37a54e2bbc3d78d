from __future__ import annotations

import pytest
import torch
from torch import nn

from rdarts.engine import BFloat16OptimWrapper, SearchOptimWrapperConstructor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.arch_parameters = nn.ParameterDict(
            dict(cell=nn.Parameter(torch.ones(2, 2), requires_grad=False))
        )

    def forward(self, x):
        return self.norm(self.body(x))


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0)])
def test_alpha_is_not_among_the_weights(paramwise):
    net = Net()
    optimizer = dict(type='SGD', lr=0.1, weight_decay=0.5)
    constructor = SearchOptimWrapperConstructor(dict(optimizer=optimizer), paramwise)
    wrapper = constructor(net)
    # mmengine adds a group with a scalar of its own
    held = {id(p) for group in wrapper.param_groups for p in group['params'] if p.dim()}
    assert id(net.arch_parameters['cell']) not in held
    assert held == {id(p) for p in (*net.body.parameters(), *net.norm.parameters())}
    decays = {group['weight_decay'] for group in wrapper.param_groups}
    assert decays == ({0.5} if paramwise is None else {0.0, 0.5})
    # an open alpha, and a gradient that was left on it, change nothing
    net.arch_parameters['cell'].requires_grad_(True)
    net.arch_parameters['cell'].grad = torch.ones(2, 2)
    wrapper.update_params(net(torch.randn(4, 3)).square().sum() + net.norm.weight.sum())
    assert torch.equal(net.arch_parameters['cell'].detach(), torch.ones(2, 2))


def test_bfloat16():
    net = nn.Linear(3, 2)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    with wrapper.optim_context(net):
        out = net(torch.randn(4, 3))
    assert out.dtype == torch.bfloat16
    bias = net.bias.detach().clone()
    wrapper.update_params(out.float().sum())
    assert net.weight.dtype == torch.float32
    assert torch.allclose(net.bias.detach(), bias - 0.1 * 4)
