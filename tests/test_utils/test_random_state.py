from __future__ import annotations

import io
import os
import random
import signal
import subprocess

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from rdarts.utils.random_state import (
    get_random_state,
    iterate,
    preserve_random_state,
    seeded,
    set_random_state,
)


def draw() -> list[float]:
    """From each generator, so that each keeps a half-used state too."""
    return [
        random.gauss(0, 1),
        random.random(),
        float(np.random.randn()),
        float(np.random.rand()),
        float(torch.randn(())),
        float(torch.rand(())),
    ]


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.mark.parametrize('device', [None, torch.device('cpu')])
def test_draws_by_a_seed_leave_the_others(device):
    seed_all(3)
    expected = draw()
    seed_all(3)
    with seeded(7, device):
        first = torch.rand(3)
    with seeded(7, device):
        assert torch.equal(torch.rand(3), first)
    assert draw() == expected
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), first)


def test_state_goes_through_a_file():
    seed_all(1)
    draw()  # an odd number of Gaussians: one is cached
    file = io.BytesIO()
    torch.save(get_random_state(), file)
    expected = [draw() for _ in range(3)]
    seed_all(2)
    assert draw() != expected[0]
    file.seek(0)
    set_random_state(torch.load(file, weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_preserve_restores_after_an_error_too():
    seed_all(3)
    expected = draw()
    seed_all(3)
    with pytest.raises(KeyError), preserve_random_state() as state:
        draw()
        seed_all(9)
        raise KeyError
    assert draw() == expected
    # what it yields are the states of outside
    set_random_state(state)
    assert draw() == expected


@pytest.mark.parametrize('workers', [0, 1])
def test_iterate_draws_nothing(workers):
    loader = DataLoader(TensorDataset(torch.arange(4)), batch_size=2, num_workers=workers)
    before = signal.getsignal(signal.SIGTERM)
    seed_all(4)
    expected = draw()
    seed_all(4)
    batches = iterate(loader)
    assert draw() == expected
    assert [batch.tolist() for (batch,) in batches] == [[0, 1], [2, 3]]
    assert signal.getsignal(signal.SIGTERM) is before
    # a bare iterator does draw
    seed_all(4)
    list(iter(loader))
    assert draw() != expected


class _Pids(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def test_workers_outlive_the_signals_of_a_process_group():
    batches = iterate(torch.utils.data.DataLoader(_Pids(), batch_size=1, num_workers=1))
    worker = int(next(batches))
    assert worker != os.getpid()
    # not by os.kill: what the main process sends is obeyed
    subprocess.run(['kill', '-TERM', str(worker)], check=True)
    subprocess.run(['kill', '-INT', str(worker)], check=True)
    subprocess.run(['kill', '-HUP', str(worker)], check=True)
    assert [int(batch) for batch in batches] == [worker] * 11


def test_a_workers_own_start_still_runs():
    def start(worker: int) -> None:
        os.environ['STARTED_WORKER'] = str(worker)

    class Started(_Pids):
        def __getitem__(self, index: int) -> int:
            return int(os.environ['STARTED_WORKER'])

    loader = torch.utils.data.DataLoader(Started(), num_workers=1, worker_init_fn=start)
    assert [int(batch) for batch in iterate(loader)] == [0] * 12
    assert [int(batch) for batch in iterate(loader)] == [0] * 12


class _Unsendable(_Pids):
    def __reduce__(self):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space')

    def __getitem__(self, index: int):
        return self


def test_a_batch_that_cannot_be_sent_is_an_error():
    """Without it, the main process waits for ever."""
    loader = DataLoader(_Unsendable(), batch_size=1, num_workers=1, collate_fn=list)
    with pytest.raises(RuntimeError, match='unable to allocate shared memory'):
        next(iterate(loader))


@pytest.mark.slow
def test_workers_obey_the_main_process():
    batches = iterate(torch.utils.data.DataLoader(_Pids(), batch_size=1, num_workers=1))
    worker = int(next(batches))
    (process,) = batches._workers
    os.kill(worker, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 0
