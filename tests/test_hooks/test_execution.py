"""Which execution a search takes that leaves it open."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
from helpers import digits_runner

from rdarts.architect.architects.unrolled import Unrolled
from rdarts.errors import UserError
from rdarts.hooks import ExecutionHook
from rdarts.hooks.execution import choose_execution
from rdarts.models.kernels.backends import choose, get_backend, has_cpp
from rdarts.utils.memory import Memory
from rdarts.utils.random_state import get_random_state

AUTO = {'model.backbone.execution': 'auto'}
NATIVE = {**AUTO, 'model.backbone.channels': 8, 'model.head.in_channels': 32}


def clock_of(plain: float, fused: float):
    """A clock by which an iteration of each takes so long; they take turns."""
    now = itertools.accumulate(itertools.cycle((0.0, fused, 0.0, plain)))
    return lambda: next(now)


def first_batch(runner):
    return next(iter(runner.build_dataloader(copy.deepcopy(runner.cfg.train_dataloader))))


def flat(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flat(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


@pytest.mark.parametrize(('seconds', 'expected'), [((2.0, 3.0), 'plain'), ((3.0, 2.0), 'fused')])
def test_the_quicker_is_taken_and_nothing_of_the_search_is_spent(tmp_path, seconds, expected):
    runner = digits_runner(tmp_path, AUTO)
    model = runner.model
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    batch = first_batch(runner)
    given, state = copy.deepcopy(batch), copy.deepcopy(model.state_dict())
    before = get_random_state()
    found, why = choose_execution(model, model.backbone, batch, wrapper, None, clock_of(*seconds))
    assert found == expected
    line = f'fused {seconds[1]:g} s an iteration, plain {seconds[0]:g} s an iteration (native '
    assert why.startswith(f'{line}kernels decline: ')
    if has_cpp():
        assert why.endswith(': 2 channels are no multiple of 8)')
    for one, other in zip(flat(get_random_state()), flat(before), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert torch.equal(batch['inputs'], given['inputs'])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    assert all(p.grad is None for p in model.parameters())
    assert model.backbone.execution == 'auto' and model.backbone.phase == 'weights'
    assert not any(a.requires_grad for a in model.backbone.arch_parameters.values())


@pytest.mark.skipif(not has_cpp(), reason='there are no native kernels here')
def test_where_native_kernels_fit_nothing_is_timed(tmp_path):
    runner = digits_runner(tmp_path, NATIVE)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    args = (runner.model, runner.model.backbone, None, wrapper)
    assert choose_execution(*args) == ('fused', 'native kernels take the images of every node')


def test_what_does_not_fit_into_memory_is_not_taken(tmp_path, monkeypatch):
    runner = digits_runner(tmp_path, AUTO)
    supernet = type(runner.model.backbone)
    forward = supernet.forward

    def narrow(self, x):
        if self.execution == 'plain':
            raise torch.OutOfMemoryError('CUDA out of memory')
        return forward(self, x)

    monkeypatch.setattr(supernet, 'forward', narrow)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    args = (runner.model, runner.model.backbone, first_batch(runner), wrapper)
    found, why = choose_execution(*args)
    assert found == 'fused' and ', plain needs more memory than there is (native ' in why


@pytest.mark.parametrize('runs', [True, False])
def test_triton_is_timed_where_it_takes_the_images(tmp_path, monkeypatch, runs):
    """And left out where it fails on the machine."""
    triton = get_backend('triton')
    monkeypatch.setattr(triton, 'unsupported_reasons', lambda *kind: [])
    monkeypatch.setattr(choose, '_chosen', {})

    def fail(*args):
        raise RuntimeError('no driver\nis there')

    for name in ('mix', 'mix_sums', 'pool_forward', 'pool_backward'):
        monkeypatch.setattr(triton, name, getattr(get_backend('torch'), name) if runs else fail)
    runner = digits_runner(tmp_path, AUTO)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    args = (runner.model, runner.model.backbone, first_batch(runner), wrapper, None)
    seconds = (0.0, 3.0, 0.0, 1.0, 0.0, 2.0) if runs else (0.0, 3.0, 0.0, 0.0, 2.0)
    later = seconds if runs else (0.0, 3.0, 0.0, 2.0)
    now = itertools.accumulate(itertools.chain(seconds, itertools.cycle(later)))
    found, why = choose_execution(*args, lambda: next(now))
    assert found == ('fused_triton' if runs else 'plain')
    own = '1 s an iteration' if runs else 'fails (no driver)'
    timed = f'fused 3 s an iteration, fused_triton {own}, plain 2 s an iteration (native '
    assert why.startswith(timed)


def run(work_dir, options, clock, monkeypatch, **keys) -> tuple[str, list[str]]:
    """Search: the execution at its end, and what the logs say of it."""
    monkeypatch.setattr(ExecutionHook, 'clock', staticmethod(clock))
    runner = digits_runner(work_dir, {**AUTO, **options}, **keys)
    runner.train()
    lines = [
        line.partition('INFO - ')[2]
        for log in sorted(work_dir.rglob('*.log'))
        for line in log.read_text().splitlines()
        if 'INFO - execution ' in line
    ]
    return runner.model.backbone.execution, lines


def last(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def test_a_resumed_run_keeps_the_choice(tmp_path, monkeypatch):
    choice, lines = run(tmp_path, {}, clock_of(1, 2), monkeypatch)
    assert choice == 'plain'
    assert len(lines) == 1
    assert lines[0].startswith('execution plain: fused 2 s an iteration, plain 1 s an iteration (')
    assert torch.load(last(tmp_path), weights_only=True)['execution'] == 'plain'
    longer = {'train_cfg.max_epochs': 2}
    assert run(tmp_path, longer, clock_of(2, 1), monkeypatch, resume=True) == ('plain', lines)
    own = {'train_cfg.max_epochs': 3, 'model.backbone.execution': 'fused'}
    assert run(tmp_path, own, clock_of(1, 2), monkeypatch, resume=True) == ('fused', lines)


def test_runs_that_must_not_differ_are_not_timed(tmp_path, monkeypatch):
    options = {'randomness.deterministic': True}
    choice, lines = run(tmp_path, options, clock_of(1, 2), monkeypatch)
    assert choice == 'fused'
    assert lines == ['execution fused: not timed, as randomness.deterministic is set']


def test_a_checkpoint_of_no_execution_is_refused(tmp_path, monkeypatch):
    run(tmp_path, {}, clock_of(1, 2), monkeypatch)
    checkpoint = torch.load(last(tmp_path), weights_only=True)
    torch.save({**checkpoint, 'execution': 'quick'}, last(tmp_path))
    longer = {'train_cfg.max_epochs': 2}
    with pytest.raises(UserError, match=r"execution is 'quick', but must be 'auto' or 'plain' or"):
        run(tmp_path, longer, clock_of(1, 2), monkeypatch, resume=True)


def test_what_would_take_too_much_memory_is_not_tried(tmp_path, monkeypatch):
    """Without a GPU the system may kill what asks for more than there is."""
    import rdarts.hooks.execution as module

    runner = digits_runner(tmp_path, AUTO)
    monkeypatch.setattr(module, 'main_memory', lambda: Memory('the machine', 2**30, 0))
    monkeypatch.setattr(module, 'peak_memory', lambda: 2**40)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    args = (runner.model, runner.model.backbone, first_batch(runner), wrapper)
    found, why = choose_execution(*args)
    assert found == 'fused' and ', plain needs more memory than there is (native ' in why


def test_a_module_whose_forward_was_replaced_is_not_copied(tmp_path):
    """As mmengine's activation checkpointing does it: a copy would run the search's own module."""
    runner = digits_runner(tmp_path, AUTO)
    stem = runner.model.backbone.stem
    stem.forward = stem.forward
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    args = (runner.model, runner.model.backbone, first_batch(runner), wrapper)
    found, why = choose_execution(*args)
    assert found == 'fused'
    assert why.startswith('not timed, as a module has a forward of its own, no copy (native ')


def test_alphas_step_is_timed_as_the_search_takes_it(tmp_path, monkeypatch):
    """Second order too, and its optimizer stays as it is."""
    monkeypatch.setattr(ExecutionHook, 'clock', staticmethod(clock_of(1, 2)))
    given = []
    gradient = Unrolled.gradient

    def noted(self, train_batch, val_batch):
        given.append((self.model, len(self.optim_wrapper.optimizer.state)))
        return gradient(self, train_batch, val_batch)

    monkeypatch.setattr(Unrolled, 'gradient', noted)
    runner = digits_runner(tmp_path, {**AUTO, 'default_hooks.architect.order': 2})
    runner.train()
    twins = [model for model, _ in given if model is not runner.model]
    assert len(twins) == 8 and len(given) == 8 + runner.iter
    # momentum is there from the second iteration of the copy on, and from the search's own
    assert [bool(state) for _, state in given] == [False, *[True] * 7, False, True]


ARCHITECTS = (
    *('darts', 'darts_2nd', 'snas', 'idarts', 'lambda_darts', 'sdarts_adv', 'oles'),
    *('proxylessnas', 'proxylessnas_rl', 'nasi'),
)


@pytest.mark.slow
@pytest.mark.parametrize('method', ARCHITECTS)
def test_timing_spends_nothing_of_a_search_of_any_architect(tmp_path, method):
    """What it ends with is what it ends with where the execution was given."""
    found = {}
    for execution in ('auto', 'plain'):
        options = {
            'model.backbone.execution': execution,
            'model.backbone.channels': 4,
            'model.head.in_channels': 16,
            'default_hooks.architect.start_epoch': 0,
            'default_hooks.architect.every': 1,
        }
        work_dir = tmp_path / execution
        runner = digits_runner(work_dir, options, config=f'{method}_nb201_digits')
        (hook,) = (hook for hook in runner.hooks if isinstance(hook, ExecutionHook))
        hook.clock = clock_of(2.0, 3.0)
        runner.train()
        assert runner.model.backbone.execution == 'plain'
        found[execution] = runner.model.state_dict()
    for key, value in found['plain'].items():
        assert torch.equal(found['auto'][key], value), key
