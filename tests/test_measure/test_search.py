"""A step of a benchmark is one of a search, in every execution."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace

import pytest
import torch
from helpers import TOOLS, digits_config, digits_runner, methods_of, run_tool
from mmengine.hooks import Hook
from test_architect.tiny_search import architect_of
from test_measure.tiny_settings import settings_of

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, set_amp
from rdarts.errors import RunFailed
from rdarts.measure.counts import count_work
from rdarts.measure.describe import heading
from rdarts.measure.search import Search
from rdarts.registry import SEARCH_SPACES


class Iteration(Hook):
    """Notes what an iteration starts from, its batch, and what it leaves."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        self.start = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batch, self.architect = data_batch, architect_of(runner)
        optimizers = (self.architect.optimizer, runner.optim_wrapper.optimizer)
        self.gradients = note_gradients(*optimizers)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.end = {key: value.clone() for key, value in runner.model.state_dict().items()}


def note_gradients(*optimizers):
    """A list that gets the gradients of every step of the optimizers."""
    found = []
    for optimizer in optimizers:
        optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: found.append(
                [p.grad.clone() for group in optimizer.param_groups for p in group['params']]
            )
        )
    return found


@pytest.mark.parametrize(
    ('order', 'amp'),
    [
        (1, False),
        pytest.param(2, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_a_step_is_an_iteration_of_a_real_search(tmp_path, order, amp):
    cifar = load_config(configs_folder() / 'search' / 'rdarts_nb201_c10.py')
    options = {
        'model.backbone.execution': 'plain',
        'arch_optimizer': cifar.arch_optimizer,
        'data_preprocessor.mean': cifar.data_preprocessor.mean,
        'data_preprocessor.std': cifar.data_preprocessor.std,
        'default_hooks.architect.order': order,
    }
    cfg = digits_config(tmp_path, options)
    if amp:
        set_amp(cfg, 'bf16')
    real = Iteration()
    runner = digits_runner(
        tmp_path, options, images=16, hooks=[real], optim_wrapper=cfg.optim_wrapper
    )
    runner.train()
    settings = settings_of(width=2, order=order)
    search = Search(settings, 'plain', amp, real.start)
    search.batches.update(train=real.batch, val=real.architect.last_batch)
    gradients = note_gradients(search.architect.optimizer, search.optim_wrapper.optimizer)
    took = search.step()
    assert 0 < took.regularizers < took.whole - took.weights < took.whole
    assert [len(step) for step in gradients] == [1, len(search.weights)]
    torch.testing.assert_close(gradients, real.gradients)
    assert search.model.state_dict().keys() == real.end.keys()
    for key, value in search.model.state_dict().items():
        torch.testing.assert_close(value, real.end[key], rtol=1e-6, atol=1e-7)
    assert not torch.equal(search.alphas['cell'], real.start['backbone.arch_parameters.cell'])


def test_a_step_is_timed_by_its_clock():
    search = Search(settings_of(), 'plain')
    search.clock = itertools.count().__next__
    # the start, regularisers from and to, the weights' start, the end
    assert search.step() == (4, 1, 1)


@pytest.mark.parametrize('method', methods_of('nb201'))
def test_every_method_takes_a_step(method):
    search = Search(settings_of(method=method, width=8), 'fused')
    before = {key: value.clone() for key, value in search.model.state_dict().items()}
    took = search.step()
    assert 0 < took.weights < took.whole
    assert any(not torch.equal(v, before[k]) for k, v in search.model.state_dict().items())


def test_a_third_of_the_search_has_passed():
    search = Search(settings_of(method='gdas'), 'plain')
    numbers = search.supernet.relaxation.numbers()
    assert numbers == dict(temperature=pytest.approx(10 - 9.9 * 83 / 249))
    settings = settings_of(space='s2', method='pc_darts', width=8)
    start = settings.config().default_hooks.architect.start_epoch
    assert Search(settings, 'plain').architect.epoch == 16 > start


def test_a_step_without_a_loss_is_no_measurement():
    search = Search(settings_of(), 'plain')
    search.step()
    with torch.no_grad():
        search.model.head.fc.bias.fill_(torch.nan)
    with pytest.raises(RunFailed, match='L_val became nan'):
        search.step()


@pytest.mark.parametrize('space', ['nb201', 's4'])
def test_every_execution_takes_the_same_step(space):
    settings = settings_of(space=space)
    plain = Search(settings, 'plain')
    start = {key: value.clone() for key, value in plain.model.state_dict().items()}
    other = Search(settings, 'plain_channels_last', state=start)
    assert not plain.batches['train']['inputs'].is_contiguous(memory_format=torch.channels_last)
    for name in ('train', 'val'):
        images = other.batches[name]['inputs']
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, plain.batches[name]['inputs'])
    weights = [p for p in other.model.parameters() if p.dim() > 3]
    for weight in weights:
        rows = weight.unbind(0) if weight.dim() == 5 else [weight]
        assert all(row.is_contiguous(memory_format=torch.channels_last) for row in rows)
    for search in (plain, other):
        torch.manual_seed(1)  # S4's noise
        search.step()
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[key], value, rtol=1e-3, atol=1e-4)
    changed = {
        key for key, value in plain.model.state_dict().items() if (value != start[key]).any()
    }
    assert {f'backbone.arch_parameters.{name}' for name in plain.alphas} <= changed
    assert {'backbone.stem.0.weight', 'head.fc.weight'} <= changed


def test_a_space_of_ones_own_is_named_by_a_config_that_searches_it():
    folder = TOOLS.parent / 'docs' / 'en' / 'examples' / 'three_nodes'
    try:
        settings = settings_of(space=str(folder / 'search.py'), depth=None)
        assert settings.depth == 1  # the config's
        search = Search(settings, 'plain')
        assert search.supernet.space.name == 'three_nodes'
        assert search.supernet.stem[0].out_channels == settings.width
        search.step()
        assert 'search.py, C 4, N 1, batch 2' in heading(settings)
    finally:
        sys.modules.pop('three_nodes', None)
        SEARCH_SPACES.module_dict.pop('three_nodes', None)


@pytest.mark.slow
def test_layers_computed_anew_are_the_same_step():
    settings = settings_of(space='mobilenet_like', width=8, depth=2)
    again = replace(settings, checkpoint=True)
    searches = [Search(one, 'plain') for one in (settings, again)]
    assert [search.supernet.checkpoint for search in searches] == [False, True]
    assert [len(search.supernet.layers) for search in searches] == [11, 11]
    assert searches[0].supernet.space.stages[-1].width == 160
    for search in searches:
        search.step()
    first, second = (search.model.state_dict() for search in searches)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-5, atol=1e-6)
    assert count_work(again) == count_work(settings)
    assert 'each computed anew' in heading(again)


@pytest.mark.slow
def test_layers_computed_anew_take_less_memory():
    settings = settings_of(space='mobilenet_like', width=8, depth=2)
    again = replace(settings, checkpoint=True)
    large = dict(batch_size=16, image_size=32, executions=['plain'])
    peaks = []
    for one in (settings, again):  # each in a fresh process
        options = replace(one, **large).options('amp')
        done = run_tool(['benchmarks/memory.py', '--child', 'plain', *options])
        assert done.code == 0, done.err
        peaks.append(json.loads(done.out.splitlines()[-1])['mb'])
    assert peaks[1] < 0.6 * peaks[0]


def test_amp_runs_convolutions_in_bfloat16():
    settings = settings_of()
    for amp, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        search = Search(settings, 'plain', amp)
        seen = []
        search.supernet.stem[0].register_forward_hook(
            lambda *io, seen=seen: seen.append(io[2].dtype)
        )
        search.step()
        assert seen == [dtype, dtype]
        assert all(p.dtype == torch.float32 for p in search.model.parameters())
