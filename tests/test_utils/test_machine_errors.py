from __future__ import annotations

import errno
import os
import subprocess

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rdarts.utils.machine_errors import explain_machine


def os_error(number: int, *file: str) -> OSError:
    return OSError(number, os.strerror(number), *file)


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (os_error(errno.ENOSPC, 'a/log'), 'no space left on the disk: a/log'),
        (os_error(errno.ENOSPC), 'no space left on the disk'),
        (os_error(errno.EDQUOT, 'a/log'), 'the disk quota is used up: a/log: free some of it, or'),
        (os_error(errno.EROFS, 'a/log'), 'the file system can only be read: a/log: choose'),
        (os_error(errno.EIO, 'a/log'), 'the disk fails to read or write: a/log (input/output'),
        (os_error(errno.ESTALE, b'a/log'), 'the server of a network disk has lost a file: a/log'),
        (os_error(errno.EACCES, 'a/log'), 'no right to read or write: a/log (permission denied)'),
        (os_error(errno.EMFILE, 'a/log'), 'too many open files in one process: a/log: raise `ulim'),
        (os_error(errno.ENFILE), 'too many open files on this machine: end other programs'),
        (os_error(errno.ENOMEM), 'out of memory: a smaller train_dataloader.batch_size'),
        # as a worker's error comes back: without its number
        (
            OSError("Caught OSError in worker 0.\n...\nOSError: [Errno 5] Input: 'a/1.png'"),
            'the disk fails to read or write: a/1.png (input/output error)',
        ),
        (
            RuntimeError('Caught MemoryError in DataLoader worker process 0.\n...\nMemoryError'),
            'out of memory: a smaller train_dataloader.batch_size',
        ),
        # as torch words them
        (RuntimeError('[enforce fail at inline_container.cc:1] . PytorchStreamWriter failed: '
                      'No space left on device'), 'no space left on the disk: [enforce'),
        (torch.OutOfMemoryError('CUDA out\nmore'), 'out of GPU memory: a smaller train_dataload'),
        (RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when'), 'out of GPU memory: a small'),
        (
            RuntimeError(
                'DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that '
                "dataloader's workers are out of shared memory."
            ),
            'data worker 7 ended by a bus error: /dev/shm of ',
        ),
        (
            RuntimeError(
                'unable to allocate shared memory(shm) for file </torch_1_2_3>: '
                'No space left on device (28)'
            ),
            '/dev/shm of ',
        ),
        (
            RuntimeError('unable to open shared memory object </torch_1> in read-write mode: '
                         'Too many open files (24)'),
            'too many open files in one process: raise `ulimit -n`',
        ),
        (RuntimeError('received 0 items of ancdata'), 'too many open files in one process'),
        (RuntimeError("can't start new thread"), 'no more threads or processes can be started'),
        (
            RuntimeError('DataLoader worker (pid(s) 7, 8) exited unexpectedly'),
            'data worker 7, 8 ended unexpectedly, perhaps killed since memory ran out',
        ),
    ],
)  # fmt: skip
def test_each_says_what_it_was(error, line):
    found = explain_machine(error)
    assert found.startswith(line)
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    'error',
    [
        ValueError('No space left on device'),
        RuntimeError('shapes (2, 3) and (28) do not fit'),
        RuntimeError('Tensors must have same number of dimensions: got 4 and 2'),
        FileNotFoundError(errno.ENOENT, 'No such file or directory', 'a'),
        RuntimeError('DataLoader worker (pid 7) exited unexpectedly with exit code 1. Details'),
        IndexError(''),
        KeyError('shared'),
    ],
)
def test_others_are_left_alone(error):
    assert explain_machine(error) is None


# Real ones


def raised(function) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


def test_memory():
    line = explain_machine(raised(lambda: torch.empty(2**48)))
    assert line.startswith('out of memory: a smaller train_dataloader.batch_size')
    assert "DefaultCPUAllocator: can't allocate memory: you tried to allocate" in line
    assert len(line.splitlines()) == 1
    line = explain_machine(raised(lambda: np.empty(2**48)))
    assert line.startswith('out of memory: ') and 'Unable to allocate' in line
    assert explain_machine(raised(lambda: bytearray(2**62))).startswith('out of memory: ')


class _Kills(torch.utils.data.Dataset):
    def __init__(self, signal: str) -> None:
        self.signal = signal

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        subprocess.run(['kill', f'-{self.signal}', str(os.getpid())], check=True)
        return index


@pytest.mark.parametrize(
    ('signal', 'line'),
    [
        ('KILL', 'was killed, as the system does when memory runs out (see dmesg): a smaller tra'),
        ('BUS', 'ended by a bus error: /dev/shm of '),
    ],
)
def test_a_data_worker_that_ends(signal, line):
    found = explain_machine(raised(lambda: list(DataLoader(_Kills(signal), num_workers=1))))
    assert found.startswith('data worker ') and line in found
    assert 'num_workers' in found


class _Raises(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), '/data/1.png')


def test_an_error_within_a_data_worker():
    found = explain_machine(raised(lambda: list(DataLoader(_Raises(), num_workers=1))))
    assert found.startswith('the disk fails to read or write: /data/1.png (input/output error)')
