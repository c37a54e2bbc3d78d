"""From a config to a runner, and what it says when the machine fails."""

from __future__ import annotations

import copy
import errno
import gc
import logging
import sys
from typing import ClassVar

import pytest
import torch
from helpers import digits_runner, run_tool, write_small_search
from mmengine.hooks import Hook

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.runner import OwnRunner
from rdarts.errors import RunFailed
from rdarts.models import NASBench201Supernet
from rdarts.models.kernels import release_memory
from rdarts.models.kernels.backends import get_backend, has_cpp
from rdarts.utils.memory import resident_memory

# Weights learn; what goes with alpha's steps, or is of the search as a whole, is left out
ALONE = {
    f'default_hooks.{name}': None
    for name in ('genotype', 'alpha_statistics', 'search_log', 'report')
}


@pytest.mark.slow
def test_bfloat16_leaves_alpha_in_float32(tmp_path):
    small = write_small_search(tmp_path, dict(type='RecordAlpha'), images=48, batch_size=8)
    alphas = {}
    for name, args in dict(bf16=['--amp'], fp32=[], seed=['--seed', '3']).items():
        options = ['--cfg-options', 'train_cfg.max_epochs=1', 'arch_optimizer.lr=3e-4']
        done = run_tool(['train.py', small, '--work-dir', tmp_path / name, *args, *options])
        assert done.code == 0, done.err
        saved = torch.load(tmp_path / name / 'alpha_0_3.pt')
        assert saved['dtypes'] == ['torch.float32']
        alphas[name] = saved['alpha']['cell']
        state = read_checkpoint(tmp_path / name / 'epoch_1_iter_3.pth')
        arch = state['arch']['optimizer']['state'][0]
        assert arch['exp_avg'].dtype == torch.float32
    assert alphas['bf16'].dtype == torch.float32
    # it is another arithmetic, but the same search: three steps of Adam of 3e-4, either way where
    # a gradient is about 0
    assert not torch.equal(alphas['bf16'], alphas['fp32'])
    assert torch.allclose(alphas['bf16'], alphas['fp32'], atol=2 * 3 * 3e-4)
    assert (alphas['bf16'] - alphas['fp32']).abs().mean() < 3e-4
    # alpha's start is of size 1e-3, three steps of Adam of 3e-4
    assert (alphas['seed'] - alphas['fp32']).abs().mean() > 6e-4


@pytest.mark.slow
def test_deterministic(tmp_path):
    small = write_small_search(tmp_path, images=48, batch_size=8)
    states = []
    for name in ('first', 'second'):
        args = ['--deterministic', '--cfg-options', 'train_cfg.max_epochs=1']
        done = run_tool(['train.py', small, '--work-dir', tmp_path / name, *args])
        assert done.code == 0, done.err
        assert 'deterministic=True' in (tmp_path / name / 'config.py').read_text()
        states.append(read_checkpoint(tmp_path / name / 'epoch_1_iter_3.pth')['state_dict'])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_log_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    runner = digits_runner(tmp_path)
    handler = next(h for h in runner.logger.handlers if isinstance(h, logging.FileHandler))

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, 'No space left on device')

        flush = close = lambda self: None

    handler.stream.close()
    handler.stream = Full()
    for _ in range(2):
        runner.logger.warning('a line')
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if 'lacks lines of the log: no space left on the disk' in line]
    assert len(said) == 1 and not any('Traceback' in line for line in lines)


class _OutOfMemory(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == 1:
            raise MemoryError


def test_an_error_of_the_machine_names_the_last_checkpoint(tmp_path):
    options = {'default_hooks.checkpoint.iter_interval': 1}
    runner = digits_runner(tmp_path, options, hooks=[_OutOfMemory()])
    with pytest.raises(RunFailed, match=r'^out of memory: .*Last good checkpoint: .*iter_1.pth'):
        runner.train()


def test_norms_of_gradients_are_logged_in_a_loop_of_mmengine_as_in_ours(tmp_path):
    logged = []
    for name in ('rdarts.SearchTrainLoop', 'EpochBasedTrainLoop'):
        options = {'train_cfg.type': name, 'default_hooks.architect': None}
        runner = digits_runner(tmp_path / name, {**options, **ALONE})
        runner.train()
        logged.append(runner.message_hub.get_scalar('train/grad_norm').data[0])
    assert len(logged[0]) == 2 and (logged[0] > 0).all()
    assert (logged[1] == logged[0]).all()


# What mmengine is asked to wrap a model with: on a GPU, and on a CPU by cli.set_launcher
WRAPPERS = (None, dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False))


@pytest.mark.parametrize('why', ['', 'sampled', 'prunes'])
@pytest.mark.parametrize('given', WRAPPERS, ids=['gpu', 'cpu'])
def test_unused_parameters_are_allowed_for_where_candidates_are_left_out(given, why):
    class Asked:
        def wrap_model(self, model_wrapper_cfg, model):
            return model_wrapper_cfg

    class Runner(OwnRunner, Asked):
        distributed, cfg = True, {}

    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    assert net.relaxation.sampled is net.relaxation.prunes is False
    if why:
        setattr(net.relaxation, why, True)
    before = copy.deepcopy(given)
    found = Runner().wrap_model(given, net)
    assert given == before
    if why:
        kind = dict(type='MMDistributedDataParallel', broadcast_buffers=False)
        assert found == {**kind, **(given or {}), 'find_unused_parameters': True}
    else:
        assert found is given
    other = dict(type='MMFullyShardedDataParallel')  # which has no such argument
    assert Runner().wrap_model(other, net) == other
    Runner.distributed = False
    assert Runner().wrap_model(given, net) is given


@pytest.mark.skipif(not has_cpp(), reason='no C++ compiler: no kernel keeps memory')
@pytest.mark.skipif(sys.platform != 'linux', reason='no other system tells of its pages')
@pytest.mark.parametrize('fails', [False, True])
def test_a_training_that_ended_keeps_no_memory_of_the_kernels(fails):
    within, called = [], []

    class Training:
        cfg: ClassVar[dict] = {}

        def call_hook(self, name):
            called.append(name)

        def train(self):
            like = torch.empty(2048, 1)  # 64 MB
            mean = get_backend('cpp').empty_images(like, 8, 32, 32).fill_(1).mean()
            within.append(resident_memory())
            if fails:
                raise RunFailed('the training loss became nan')
            return mean

    class Runner(OwnRunner, Training):
        pass

    gc.collect()
    release_memory()
    before = resident_memory()
    if fails:
        with pytest.raises(RunFailed):
            Runner().train()
    else:
        assert Runner().train() == 1
    assert within[0] - before > 56 * 2**20
    assert resident_memory() - before < 8 * 2**20
    assert called == ['after_training']
