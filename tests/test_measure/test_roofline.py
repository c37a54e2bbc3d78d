"""Arithmetic and bytes of calls, against counts by hand; rooflines, and profiles that have them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure import step_profile
from rdarts.measure.counts import Rates, count_work
from rdarts.measure.roofline import Call, count_calls, count_step, rooflines
from rdarts.measure.search import Search
from rdarts.measure.step_profile import (
    BETWEEN,
    CLIP,
    NODE,
    Parts,
    Row,
    StepProfile,
    by_loss,
    parts_of,
    rows_of,
)
from rdarts.models.kernels.backends import has_cpp


def counted(function):
    with count_calls() as calls:
        function()
    return [tuple(call) for call in calls if call.flop or call.bytes]


def test_each_input_is_read_once_and_each_result_written_once():
    left, right = torch.randn(2, 3), torch.randn(3, 4)
    assert counted(lambda: left @ right) == [('aten::mm', 48, 4 * (6 + 12 + 8))]
    assert counted(lambda: left.relu()) == [('aten::relu', 0, 4 * 12)]
    assert counted(lambda: left * left) == [('aten::mul', 0, 4 * 12)]
    assert counted(lambda: left.double()) == [('aten::_to_copy', 0, (4 + 8) * 6)]
    # what is expanded is in memory once
    assert counted(lambda: left + torch.ones(()).expand(2, 3))[-1] == ('aten::add', 0, 4 * 13)


def test_views_and_memory_that_is_set_aside_cost_nothing():
    x = torch.randn(4, 6)
    assert counted(lambda: (x.t(), x.view(24), x[1:], x.unbind(), x.detach())) == []
    assert counted(lambda: (torch.empty(5), torch.empty_like(x), x.new_empty(3))) == []
    assert counted(lambda: torch.zeros_like(x)) == [('aten::zeros_like', 0, 4 * 24)]


def test_what_is_written_over_is_not_read():
    into, x = torch.zeros(8), torch.ones(8)
    assert counted(lambda: into.copy_(x)) == [('aten::copy_', 0, 4 * 16)]
    assert counted(lambda: into.zero_()) == [('aten::zero_', 0, 4 * 8)]
    assert counted(lambda: into.add_(x)) == [('aten::add_', 0, 4 * 24)]
    assert counted(lambda: torch.add(into, x, out=into)) == [('aten::add', 0, 4 * 24)]


def test_gradients_of_a_convolution():
    x, w = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3, requires_grad=True)
    y = F.conv2d(x, w, padding=1)
    (found,) = [
        call for call in counted(lambda: y.backward(torch.ones_like(y))) if 'convolution' in call[0]
    ]
    numbers = y.numel() + 2 * (x.numel() + w.numel())  # read: y's gradient, x and w
    assert found == ('aten::convolution_backward', 2 * 2 * y.numel() * 27, 4 * numbers)


def test_a_step_of_an_optimizer_is_one_call():
    weights = [torch.nn.Parameter(torch.randn(size)) for size in (6, 10, 3)]
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=1e-3)
    for weight in weights[:2]:  # the last one stands still
        weight.grad = torch.ones_like(weight)
    name = 'Optimizer.step#SGD.step'
    assert counted(optimizer.step) == [(name, 0, 4 * 16 * 5)]
    assert [call[0] for call in counted(lambda: weights[0] + 1)] == ['aten::add']


@pytest.mark.skipif(not has_cpp(), reason='no C++ compiler: the C++ back end does not run')
def test_native_kernels():
    g = [torch.randn(2, 4, 4, 8) for _ in range(2)]
    outs = [torch.randn(2, 4, 4, 8) for _ in range(2)]
    scales = torch.randn(3, 8)
    image = 4 * 2 * 4 * 4 * 8
    terms = [g[0], g[1], g[1]]  # a pool's image is that of several edges
    mix = torch.ops.rdarts.mix
    args = (terms, [0, 0, 1], scales, None, None, None)
    assert counted(lambda: mix(outs, [0, 1], *args)) == [
        ('rdarts::mix', 0, (2 + 1 + 2) * image + 4 * 24)
    ]
    x, depthwise, pointwise = g[0], torch.randn(3, 8, 1, 3, 3), torch.randn(3, 8, 8, 1, 1)
    forward = torch.ops.rdarts.separable_forward
    weights = 4 * 3 * (8 * 9 + 8 * 8)
    ((name, flop, size),) = counted(lambda: forward(x, None, depthwise, pointwise, 1, 1, 1))
    assert (name, flop) == ('rdarts::separable_forward', 2 * 3 * 32 * 8 * (9 + 8))
    assert size == (1 + 3) * image + weights + 8 * 3 * 2 * 8  # moments are in float64
    assert counted(lambda: torch.ops.rdarts.empty_images([2, 8, 4, 4], x)) == []
    gradient, y, into = torch.randn_like(x), torch.randn(3, 2, 4, 4, 8), torch.zeros_like(x)
    args = ([gradient] * 3, y, torch.randn(3, 3, 8), x, None, depthwise, pointwise, 1, 1, 1, into)
    backward = torch.ops.rdarts.separable_backward
    for accumulate in (False, True):
        ((_, flop, size),) = counted(partial(backward, *args, accumulate, False))
        read = (2 + 3 + accumulate) * image + weights + 4 * 3 * 3 * 8
        assert (flop, size) == (2 * 3 * 32 * 8 * (9 + 8), read + image)


def test_the_calls_of_a_step_have_its_work():
    settings = settings_of()
    calls = count_step(Search(settings, 'plain'))
    assert sum(call.flop for call in calls) == count_work(settings)
    names = {call.name for call in calls}
    assert {'aten::convolution', 'Optimizer.step#SGD.step', 'Optimizer.step#Adam.step'} <= names
    assert not any('_foreach_addcdiv' in name for name in names)


def test_the_roofline_is_the_larger_of_both_times_call_by_call():
    rates = Rates(matrix=100.0, copy=10.0)
    calls = [Call('a', 200, 10), Call('a', 100, 50), Call('b', 0, 20)]
    assert rooflines(calls, rates) == {'a': 2 + 5, 'b': 2}
    assert rates.or_better(Rates(90.0, 20.0)) == Rates(100.0, 20.0)


@dataclass
class Event:
    """Of a profile, in microseconds."""

    name: str
    cpu_time_total: float
    self_cpu_time_total: float = 0.0
    cpu_children: list[Event] = field(default_factory=list)
    cpu_parent: Event | None = None

    def __post_init__(self):
        for child in self.cpu_children:
            child.cpu_parent = self


def with_children(event):
    return [event, *(one for child in event.cpu_children for one in with_children(child))]


def test_rows_of_a_profile():
    inner = Event('aten::fill_', 3e6, 3e6)
    zeros = Event('aten::zeros', 4e6, 1e6, [inner])
    function = Event('_FusedBackward', 9e6, 5e6, [zeros])
    node = Event(f'{NODE}_FusedBackward', 10e6, 1e6, [function])
    alone = Event('aten::fill_', 2e6, 2e6)
    found = rows_of([*with_children(node), alone], {'aten::zeros': 1.5, 'aten::fill_': 0.5}, 2)
    # the inside of an operator is that operator's time
    assert sorted(found) == [
        Row('_FusedBackward', 3.0, 0.5),
        Row('aten::fill_', 1.0, 0.5, 0.5),
        Row('aten::zeros', 2.0, 0.5, 1.5),
    ]
    assert [row.loss for row in by_loss(found)] == [3.0, 0.5, 0.5]


def test_parts_of_a_profile():
    backward = Event(f'{NODE}_FusedBackward', 10e6, 1e6, [Event('_FusedBackward', 9e6, 9e6)])
    step = Event('Optimizer.step#SGD.step', 3e6, 1e6, [Event('aten::add', 2e6, 2e6)])
    outer = Event('around', 8e6, 1e6, [Event('_Fused', 5e6, 5e6), Event(CLIP, 2e6, 2e6)])
    events = [one for root in (backward, step, outer) for one in with_children(root)]
    assert parts_of(events, 2) == Parts(nodes=7.5, optimizers=2.5)


def test_a_profile_is_sorted_by_loss(monkeypatch, capsys):
    rows = by_loss([Row('a', 3.0, 10, 2.5), Row('b', 2.0, 4), Row('c', 5.0, 1, 4.0)])
    found = StepProfile(rows, Parts(6.0, 1.5), 10.0, 8.0, 6.5, Rates(9.1e10, 2.25e10))
    monkeypatch.setattr(step_profile, 'profile_step', lambda settings: found)
    step_profile.print_profile(settings_of(), top=2)
    out = capsys.readouterr().out
    assert 'matrix products (91.0 GFLOP/s)' in out and 'a copy (22.5 GB/s)' in out
    lines = out.splitlines()
    assert [line.split() for line in lines if line.startswith(('a ', 'b ', 'c '))] == [
        ['b', '2000.0', '20.0%', '0.00', '-', '4'],
        ['c', '5000.0', '50.0%', '4000.00', '0.80', '1'],
    ]
    assert lines[-2] == (
        'nodes 60.0%, outside of them 40.0%, of which optimizers and clips 15.0%; '
        'in all of it 20.0% are Python, views and fresh memory'
    )
    expected = 'whole step, without the profiler: 8000.0 ms, roofline 6500.0 ms, quotient 0.81'
    assert lines[-1] == expected


def test_a_step_taken_apart(monkeypatch):
    monkeypatch.setattr(step_profile, 'measure_rates', lambda: Rates(1e9, 1e9))
    found = step_profile.profile_step(settings_of(executions=['fused']))
    names = {row.name for row in found.rows}
    assert {'_Fused', '_FusedBackward', 'Optimizer.step#SGD.step', BETWEEN} <= names
    assert [row.loss for row in found.rows] == sorted((r.loss for r in found.rows), reverse=True)
    assert sum(row.seconds for row in found.rows) == pytest.approx(found.profiled)
    # autograd adds gradients up in place only where nobody looks
    assert sum(row.roofline for row in found.rows) == pytest.approx(found.roofline, rel=1e-3)
    assert all(row.roofline == 0 for row in found.rows if not is_operator(row.name))
    assert 0 < found.parts.nodes < found.profiled
    assert CLIP in names and 0 < found.parts.optimizers < found.profiled - found.parts.nodes


def is_operator(name):
    return name.startswith(('aten::', 'rdarts::', 'Optimizer.step'))


@pytest.mark.parametrize('name', ['amp', 'processor_time'])
def test_what_a_profile_does_not_measure_is_refused(name):
    with pytest.raises(UserError, match=f'^--profile .* leave out --{name.replace("_", "-")}$'):
        step_profile.profile_step(settings_of(executions=['plain'], **{name: True}))


def test_the_roofline_of_a_profile_has_nothing_twice(monkeypatch):
    monkeypatch.setattr(step_profile, 'measure_rates', lambda: Rates(1e9, 1e9))
    once, anew = (
        step_profile.profile_step(settings_of(executions=['plain'], checkpoint=checkpoint))
        for checkpoint in (False, True)
    )
    assert anew.roofline == once.roofline > 0
