from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import digits_runner
from torch.utils.data import DataLoader, TensorDataset

from rdarts.datasets import SeededSampler
from rdarts.engine import SearchTrainLoop
from rdarts.engine.loops import check_finite
from rdarts.engine.optimizers import NotedClip
from rdarts.errors import RunFailed, UserError
from rdarts.utils import host
from rdarts.utils.random_state import get_random_state


class Recorder:
    """As much of a runner as the loop needs; records what it is asked to do."""

    def __init__(self, max_epochs: int = 3, loss: float = 1.0, **kwargs) -> None:
        self.events: list = []
        self.cfg: dict = {}
        self.hooks: list = []
        self.work_dir = 'nowhere'
        self.visualizer = SimpleNamespace()
        self.message_hub = SimpleNamespace(log_scalars={})
        self.model = self
        self.optim_wrapper = None
        self.loss = loss
        val_loader = DataLoader(TensorDataset(torch.arange(4)))
        self.val_loop = SimpleNamespace(run=self.validate, dataloader=val_loader)
        dataset = TensorDataset(torch.arange(20))
        dataset.metainfo = {}
        loader = DataLoader(dataset, batch_size=4, sampler=SeededSampler(dataset, seed=0))
        self.loop = SearchTrainLoop(self, loader, max_epochs, **kwargs)

    @property
    def epoch(self) -> int:
        return self.loop.epoch

    @property
    def iter(self) -> int:
        return self.loop.iter

    def train(self) -> None:
        pass

    def call_hook(self, name: str, **kwargs) -> None:
        if name == 'before_train_epoch':
            self.loop.dataloader.sampler.set_epoch(self.epoch)
        if name in ('before_train_epoch', 'after_train_epoch'):
            self.events.append((name, self.epoch))

    def train_step(self, batch, optim_wrapper) -> dict:
        self.events.append(('iter', self.iter, batch[0].tolist()))
        return dict(loss=torch.tensor(self.loss))

    def validate(self) -> None:
        self.events.append(('val', self.epoch))
        random.random()
        np.random.rand()
        torch.rand(())

    def iterations(self) -> list:
        return [event[1:] for event in self.events if event[0] == 'iter']


def test_resumed_at_any_iteration_it_runs_what_is_left():
    whole = Recorder()
    whole.loop.run()
    assert [i for i, _ in whole.iterations()] == list(range(15))
    assert [e for e in whole.events if e[0] == 'val'] == [('val', 1), ('val', 2), ('val', 3)]
    for done in range(15):
        resumed = Recorder()
        resumed.loop._epoch, resumed.loop._iter = done // 5, done
        resumed.loop.run()
        assert resumed.iterations() == whole.iterations()[done:]
        assert resumed.loop.iter == resumed.loop.max_iters == 15


def test_last_iteration_of_an_epoch_then_its_end():
    resumed = Recorder()
    resumed.loop._epoch, resumed.loop._iter = 1, 10  # the epoch's five are done, not its end
    resumed.loop.run()
    assert resumed.events[:4] == [
        ('before_train_epoch', 1),
        ('after_train_epoch', 1),
        ('val', 2),
        ('before_train_epoch', 2),
    ]
    assert [i for i, _ in resumed.iterations()] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(('epoch', 'validated'), [(2, False), (2, True), (3, False), (3, True)])
def test_lost_validation_is_made_up_once(epoch, validated):
    resumed = Recorder()
    resumed.loop._epoch, resumed.loop._iter = epoch, 5 * epoch
    resumed.loop.validated = validated
    resumed.loop.run()
    validations = [number for name, number, *_ in resumed.events if name == 'val']
    assert validations == list(range(epoch + validated, 4))


def test_validation_interval():
    recorder = Recorder(max_epochs=5, val_begin=2, val_interval=2)
    recorder.loop.run()
    assert [e for e in recorder.events if e[0] == 'val'] == [('val', 2), ('val', 4), ('val', 5)]
    # a validation that was not due is not made up
    resumed = Recorder(max_epochs=5, val_interval=2)
    resumed.loop._epoch, resumed.loop._iter = 3, 15
    resumed.loop.run()
    assert [e for e in resumed.events if e[0] == 'val'] == [('val', 4), ('val', 5)]


def test_validation_draws_nothing():
    state = get_random_state()
    recorder = Recorder(max_epochs=1)
    recorder.loop.run()
    assert ('val', 1) in recorder.events
    after = get_random_state()
    assert after['python'] == state['python']
    assert torch.equal(after['numpy'][1], state['numpy'][1])
    assert after['numpy'][2:] == state['numpy'][2:]
    assert torch.equal(after['torch'], state['torch'])
    assert recorder.loop.random_state is None


def test_random_state_of_the_checkpoint_is_set():
    torch.manual_seed(5)
    state = get_random_state()
    expected = torch.rand(3)
    torch.manual_seed(6)
    recorder = Recorder(max_epochs=1)
    recorder.loop.random_state = state
    recorder.loop.run()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize('loss', [float('nan'), float('inf'), -float('inf')])
def test_loss_that_is_lost(loss):
    recorder = Recorder(loss=loss)
    with pytest.raises(RunFailed, match=r'training loss became .* at iteration 1 \(epoch 1\)'):
        recorder.loop.run()
    assert len(recorder.iterations()) == 1


def test_check_finite_takes_numbers_and_none():
    runner = SimpleNamespace(hooks=[], iter=6, epoch=2, work_dir='nowhere')
    check_finite(None, 'loss', runner)
    check_finite(1.5, 'loss', runner)
    with pytest.raises(RunFailed, match=r'the loss became nan at iteration 7 \(epoch 3\)'):
        check_finite(float('nan'), 'loss', runner)


def test_what_a_step_gave_is_read_at_once(monkeypatch):
    recorder, logged, reads = Recorder(), {}, []
    clip = NotedClip(lambda parameters: torch.tensor(2.5))
    clip([])
    recorder.optim_wrapper = SimpleNamespace(clip_func=clip, grad_name='grad_norm')
    recorder.message_hub.update_scalar = logged.__setitem__
    read = host.read
    monkeypatch.setattr(host, 'read', lambda value: reads.append(1) or read(value))
    given = dict(loss=torch.tensor(1.5), parts=torch.tensor([1, 2]), text='one')
    found = recorder.loop._on_host(given)
    assert (len(reads), logged) == (1, {'train/grad_norm': 2.5})
    assert found['loss'].item() == 1.5 and found['text'] == 'one'
    assert torch.equal(found['parts'], given['parts']) and list(found) == list(given)


@pytest.mark.parametrize('max_epochs', [0, -1, 1.5])
def test_max_epochs(max_epochs):
    with pytest.raises(UserError, match='max_epochs must be a positive integer'):
        Recorder(max_epochs=max_epochs)


@pytest.mark.slow
def test_fewer_images_than_a_batch(tmp_path):
    for name in ('train', 'arch'):
        runner = digits_runner(tmp_path / name, {f'{name}_dataloader.batch_size': 64})
        with pytest.raises(UserError, match=f'{name}_dataloader: only 16 images for a'):
            runner.train()
    # one correction for both
    options = {f'{name}_dataloader.batch_size': 64 for name in ('train', 'arch')}
    keys = r'train_dataloader\.batch_size and arch_dataloader\.batch_size lower'
    with pytest.raises(UserError, match=f'train_dataloader: only 16 images .* set {keys}'):
        digits_runner(tmp_path / 'both', options).train()
