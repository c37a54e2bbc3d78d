"""Fused against plain with every relaxation and mixed operation, whatever is masked."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from test_models.fused_nets import assert_executions_agree, image, make, ours, with_alpha

from rdarts.models import BaseSupernet
from rdarts.registry import MIXED_OPS

ARGUMENTS = dict(  # where the defaults would do little
    AuxiliarySkip=dict(beta=0.3),
    DropPath=dict(prob=0.3),
    GumbelSoftmax=dict(temperature=2.0),
    PartialChannels=dict(share=2),
    SkipDropout=dict(rate=0.3),
)


def named(kind: str) -> dict:
    return dict(type=f'rdarts.{kind}', **ARGUMENTS.get(kind, {}))


def make_net(space: str, relaxation: str, mixed_op: str) -> BaseSupernet:
    net = make(space, relaxation=named(relaxation), mixed_op=named(mixed_op))
    for group in net.groups:
        if 'none' in group.candidates:  # drawn alone it would leave nothing to compare
            net.arch_parameters[group.name].data[:, group.candidates.index('none')] -= 5
    return net


def masked(net: BaseSupernet, mask: str) -> ExitStack:
    """The first edge keeps one candidate, the next all but their second, the third all, ..."""
    stack = ExitStack()
    for cell, topology in net.space.cells.items():
        for number, edge in enumerate(topology.edges):
            names = edge.candidates
            gone = (names[1:], names[1:2], (), names[:1])[number % 4]
            if mask == 'pruned':
                net.prune(cell, number, gone)
            elif mask == 'hidden':
                stack.enter_context(net.hide(cell, number, gone))
    return stack


def check(net: BaseSupernet, mask: str, phase: str) -> None:
    with masked(net, mask) as stack:
        if phase == 'alpha':
            stack.enter_context(net.alpha_phase())
        found = assert_executions_agree(net, image(3, 12), phase)
    if phase == 'alpha' and not net.relaxation.no_gradient:
        assert any(found[f'arch_parameters.{g.name}.grad'].any() for g in net.groups)


@pytest.mark.slow
@pytest.mark.parametrize('phase', ['alpha', 'weights'])
@pytest.mark.parametrize('mask', ['none', 'pruned', 'hidden'])
@pytest.mark.parametrize('relaxation', with_alpha())
def test_every_relaxation(relaxation, mask, phase):
    check(make_net('nas_bench_201', relaxation, 'MixedOp'), mask, phase)


@pytest.mark.slow
@pytest.mark.parametrize('mixed_op', ours(MIXED_OPS))
@pytest.mark.parametrize('relaxation', with_alpha())
def test_every_relaxation_with_every_mixed_operation(relaxation, mixed_op):
    check(make_net('nas_bench_201', relaxation, mixed_op), 'pruned', 'alpha')


@pytest.mark.slow
@pytest.mark.parametrize('phase', ['alpha', 'weights'])
@pytest.mark.parametrize('mask', ['none', 'pruned', 'hidden'])
@pytest.mark.parametrize('mixed_op', ours(MIXED_OPS))
def test_every_mixed_operation_in_cells_that_reduce(mixed_op, mask, phase):
    check(make_net('darts', 'Softmax', mixed_op), mask, phase)
