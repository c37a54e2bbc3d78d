from __future__ import annotations

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from rdarts.engine import BFloat16OptimWrapper, SearchOptimWrapperConstructor
from rdarts.engine.optimizers import note_norms, step_together, take_norms


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


OPTIMIZERS = [
    (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=3e-4)),
    (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=3e-4, nesterov=True)),
    (torch.optim.SGD, dict(lr=0.1)),
    (torch.optim.Adam, dict(lr=0.1, betas=(0.5, 0.999), weight_decay=1e-3)),
    (torch.optim.AdamW, dict(lr=0.1)),
]


def steps(optimizer, weights, seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for weight in weights[:-1]:  # the last took no part
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize(('kind', 'options'), OPTIMIZERS)
def test_steps_together_are_steps_one_by_one(kind, options):
    """Bit by bit, and resumed from each other's state dicts, which are alike."""
    found = []
    for together in (False, True):
        torch.manual_seed(0)
        weights = [nn.Parameter(torch.randn(size)) for size in (3, 17, 1, 8)]
        runs = [kind(weights, **options) for _ in range(2)]
        if together:
            for optimizer in runs:
                step_together(optimizer)
        steps(runs[0], weights, 1)
        first = copy.deepcopy(runs[0].state_dict())
        # the other one's where there is one
        runs[1].load_state_dict(copy.deepcopy(found[0][0] if found else first))
        steps(runs[1], weights, 2)
        assert runs[1].param_groups[0]['foreach'] is (True if together else None)
        found.append((first, runs[1].state_dict(), weights))
    for one, other in zip(*found, strict=True):
        assert str(one) == str(other)  # with all entries of groups and states
    assert all(torch.equal(*pair) for pair in zip(found[0][2], found[1][2], strict=True))


@pytest.mark.parametrize('options', [dict(foreach=False), dict(fused=True)])
def test_what_a_config_says_of_steps_is_kept(options):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, **options)
    before = dict(optimizer.param_groups[0])
    step_together(optimizer)
    assert optimizer.param_groups[0] == before


def test_an_optimizer_that_knows_no_foreach_is_kept():
    optimizer = torch.optim.LBFGS([nn.Parameter(torch.ones(2))])
    step_together(optimizer)
    assert 'foreach' not in optimizer.param_groups[0]


def clipped(device, note=True, **clip):
    """A wrapper that has stepped once, and its parameter."""
    weight = nn.Parameter(torch.arange(1.0, 4.0).to(device))
    weight.grad = torch.tensor([2.0, 3.0, 6.0]).to(device)
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0), clip_grad=clip or None)
    if note:
        note_norms(wrapper)
    wrapper.step()
    return wrapper, weight


def test_a_norm_is_that_of_mmengine():
    hub = MessageHub.get_current_instance()
    hub.log_scalars.pop('train/grad_norm', None)
    wrapper, weight = clipped('cpu', max_norm=1.0)
    ((name, norm),) = take_norms(wrapper).items()
    assert norm == 7 and name not in hub.log_scalars
    assert take_norms(wrapper) == {}  # until the next step
    _, other = clipped('cpu', note=False, max_norm=1.0)
    assert torch.equal(weight, other)
    assert hub.get_scalar(name).current() == 7


def test_norms_of_a_dict_of_wrappers():
    wrappers = {}
    for name, value in dict(one=2.0, other=3.0, free=4.0).items():
        weight = nn.Parameter(torch.zeros(4))
        weight.grad = torch.full((4,), value)
        clip = None if name == 'free' else dict(max_norm=1.0)
        wrappers[name] = OptimWrapper(torch.optim.SGD([weight], lr=1.0), clip_grad=clip)
    wrappers['other'].grad_name = 'other_norm'
    both = OptimWrapperDict(**wrappers)
    note_norms(both)
    assert take_norms(both) == {}
    for wrapper in wrappers.values():
        wrapper.step()
    assert take_norms(both) == {'train/grad_norm': 4.0, 'train/other_norm': 6.0}
    assert take_norms(both) == {}  # until the next step


def test_a_norm_is_kept_of_a_wrapper_that_keeps_it_already():
    wrapper, weight = clipped('cpu', max_norm=1.0)
    note_norms(wrapper)  # as where its loop runs once more
    weight.grad = torch.full_like(weight, 2.0)
    wrapper.step()
    assert take_norms(wrapper)['train/grad_norm'] == 2 * weight.numel() ** 0.5


def test_no_step_waits_for_a_norm():
    wrapper, _ = clipped('meta', max_norm=1.0)  # on which no number can be read
    assert take_norms(wrapper)['train/grad_norm'].is_meta
    with pytest.raises(RuntimeError, match='meta'):
        clipped('meta', note=False, max_norm=1.0)


def test_there_is_no_norm_without_a_clip_of_mmengines():
    assert take_norms(clipped('cpu')[0]) == {}
    assert take_norms(clipped('cpu', type='value', clip_value=1.0)[0]) == {}

    class Own(OptimWrapper):
        def _clip_grad(self) -> None:
            self.own = self.clip_func

    weight = nn.Parameter(torch.ones(2))
    wrapper = Own(torch.optim.SGD([weight], lr=1.0), clip_grad=dict(max_norm=1.0))
    note_norms(wrapper)
    wrapper.step()
    assert wrapper.own is nn.utils.clip_grad_norm_ and take_norms(wrapper) == {}
