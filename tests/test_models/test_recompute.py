"""Activation checkpointing of cells: every number stays the same, and memory is given back."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from helpers import digits_runner
from same_runs import assert_same_state, rows

from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.models.backbones.recompute import recomputed
from rdarts.models.layers import StackedBatchNorm2d

SIZES = dict(channels=8, alpha_std=0.5)
CELLS = {
    # the second and the third cell reduce
    'darts': lambda **args: DARTSSupernet('darts', num_cells=3, **SIZES, **args),
    's4': lambda **args: DARTSSupernet('s4', num_cells=3, **SIZES, **args),
    'nb201': lambda **args: NASBench201Supernet(cells_per_stage=1, **SIZES, **args),
}
MIXED_OPS = [
    dict(type='rdarts.DropPath', prob=0.4),
    dict(type='rdarts.SkipDropout', rate=0.3),
    dict(type='rdarts.AuxiliarySkip'),
    dict(type='rdarts.TwoPaths', fixed_gates=True),
    dict(type='rdarts.PartialChannels', share=2),
    dict(type='rdarts.EntangledMixedOp'),
]


def step_of(net, image):
    """Gradients of a step in which alpha and the weights learn, its output, and what it moved."""
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_(True)
    out = net(image)[0]
    out.tanh().square().sum().backward()
    found = {name: p.grad for name, p in net.named_parameters()}
    return dict(found, **dict(net.named_buffers()), out=out, random=torch.get_rng_state())


def assert_the_same_with_checkpoint(net, size=8):
    image = torch.randn(2, 3, size, size, dtype=torch.float64)
    results = []
    for checkpoint in (False, True):
        twin = copy.deepcopy(net)
        twin.checkpoint = checkpoint
        torch.manual_seed(1)
        step_of(twin, image)
        results.append(step_of(twin, image))
    expected, found = results
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] is None and value is None) or torch.equal(found[name], value), name
    return found


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('space', list(CELLS))
def test_checkpoint_changes_no_number(space, execution):
    torch.manual_seed(0)
    net = CELLS[space](execution=execution).double()
    found = assert_the_same_with_checkpoint(net)
    assert all(found[f'arch_parameters.{name}'].any() for name in net.arch_parameters)
    for name, module in net.named_modules():
        if isinstance(module, StackedBatchNorm2d):
            assert found[f'{name}.running_mean'].any(), name


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('mixed_op', MIXED_OPS, ids=lambda spec: spec['type'])
def test_mixed_operations_that_draw(mixed_op, execution):
    torch.manual_seed(0)
    net = CELLS['s4'](execution=execution, mixed_op=mixed_op).double()
    assert_the_same_with_checkpoint(net)


@pytest.mark.parametrize('relaxation', ['rdarts.GumbelSoftmax', 'rdarts.BinaryGates'])
def test_candidates_that_are_drawn(relaxation):
    torch.manual_seed(0)
    net = CELLS['nb201'](execution='fused', relaxation=relaxation).double()
    assert_the_same_with_checkpoint(net)


@pytest.mark.parametrize('space', ['darts', 'nb201'])
def test_a_forward_keeps_nothing_of_the_inside_of_cells(space):
    torch.manual_seed(0)
    net, image = CELLS[space](), torch.randn(2, 3, 8, 8)
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_(True)  # its gradient needs what candidates give
    for net.checkpoint in (False, True):
        given = []

        def note(path, edge, name, out, given=given):
            if name != 'skip_connect':  # which gives what it reads
                given.append(weakref.ref(out))

        with net.observe(note):
            out = net(image)[0]
        alive = [ref for ref in given if ref() is not None]
        assert len(given) > 20 and len(alive) == (0 if net.checkpoint else len(given))
        assert out.requires_grad


def test_without_gradients_nothing_is_kept_for_later():
    layer = torch.nn.BatchNorm2d(3)
    with torch.no_grad():
        out = recomputed([layer], layer, torch.randn(2, 3, 4, 4))
    assert out.grad_fn is None and layer.num_batches_tracked == 1


OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'epochs': 1,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}


def test_a_search_is_the_same_and_resumes_bit_equal(tmp_path):
    def run(name, checkpoint, **keys):
        options = {**OPTIONS, 'model.backbone.checkpoint': checkpoint}
        runner = digits_runner(tmp_path / name, options, config='rdarts_nb201_digits', **keys)
        runner.train()
        last = f'epoch_1_iter_{len(runner.train_dataloader)}.pth'
        return tmp_path / name / last, rows(tmp_path / name)[1:]

    expected, log = run('without', False)
    found, same_log = run('with', True)
    assert_same_state(found, expected)
    assert same_log == log
    resumed, rest = run('resumed', True, resume=str(tmp_path / 'with' / 'iter_1.pth'))
    assert_same_state(resumed, expected)
    assert rest == log[-len(rest) :]
