"""Errors of the machine, not of the program: memory, disk, quota, rights, handles, in one line."""

from __future__ import annotations

import errno
import os
import re
import traceback

SHARED_MEMORY = '/dev/shm'
LOADERS = 'train_dataloader, arch_dataloader, val_dataloader'
WITHOUT_WORKERS = f'set num_workers=0 persistent_workers=False (--cfg-options; of {LOADERS})'
GPU_MEMORY = 'out of GPU memory'
SMALLER = 'a smaller train_dataloader.batch_size (and arch_dataloader.batch_size) needs less'
LESS_MEMORY = f'{SMALLER}, and so do fewer workers (num_workers of {LOADERS})'
# What is wrong, by error number; {} is the file, or nothing
DISK = {
    errno.ENOSPC: 'no space left on the disk{}',
    errno.EDQUOT: 'the disk quota is used up{}: free some of it, or choose another --work-dir',
    errno.EROFS: 'the file system can only be read{}: choose another --work-dir',
    errno.EIO: 'the disk fails to read or write{} (input/output error): see the system log (dmesg)',
    errno.ESTALE: 'the server of a network disk has lost a file{} (stale file handle)',
    errno.ENOTCONN: 'a network disk is no longer connected{}',
    errno.EFBIG: 'a file is larger than it may be{}: see `ulimit -f`',
    errno.EACCES: 'no right to read or write{} (permission denied)',
    errno.EPERM: 'no right to do this{} (operation not permitted)',
    errno.EMFILE: 'too many open files in one process{}: raise `ulimit -n`, or use fewer workers',
    errno.ENFILE: 'too many open files on this machine{}: end other programs',
}
NAMES = {os.strerror(number): number for number in (*DISK, errno.ENOMEM)}
WORKER = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)')
ALLOCATION = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc|"
    r'unable to mmap .*Cannot allocate memory|Cannot allocate memory \(12\)'
)
CUDA_ALLOCATION = re.compile(r'CUDA out of memory|CUDA error: out of memory|ALLOC_FAILED')
PROCESSES = re.compile(r"can't start new thread|pthread_create failed|Thread creation failed")


def explain_machine(error: BaseException) -> str | None:
    """What is wrong with the machine, where an error is of that kind.

    Errors of data workers, which come back as texts, are read as well.

    Args:
        error (BaseException): Any error.

    Returns:
        str | None: One line; None where the error is of another kind.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()]
    last = next((line for line in reversed(lines) if line), '')
    text = ' '.join(lines)
    worker = WORKER.search(text)
    if worker is not None:
        # torch raises another error in the place of the one that names the signal
        worker = WORKER.search(str(error.__cause__)) or worker
        return _of_worker(worker[1], worker[2])
    if re.search(r'shared memory|</torch_|/dev/shm/(?:torch_|sem\.|psm_)', text):
        return _of_shared_memory(text)
    if _is_named(error, 'OutOfMemoryError') or CUDA_ALLOCATION.search(text):
        return f'{GPU_MEMORY}: {SMALLER} ({lines[0] if lines else "no more is known"})'
    if isinstance(error, MemoryError) or 'MemoryError' in last or ALLOCATION.search(text):
        return f'out of memory: {LESS_MEMORY}{_detail(lines)}'
    if PROCESSES.search(text):
        return 'no more threads or processes can be started: see `ulimit -u`, or use fewer workers'
    if 'received 0 items of ancdata' in text:
        return DISK[errno.EMFILE].format('')
    return _of_number(error, last)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of the GPU, is used up."""
    return (explain_machine(error) or '').startswith((GPU_MEMORY, 'out of memory'))


def _is_named(error: BaseException, name: str) -> bool:
    """As ``isinstance``, without loading torch."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _detail(lines: list[str]) -> str:
    found = next((line for line in lines if re.search(r'llocat', line)), lines[0] if lines else '')
    found = re.sub(r'^\[enforce fail at [^]]*\] (?:\w+\. )?', '', found)
    return f' ({found})' if found else ''


def _of_worker(pid: str, how: str) -> str | None:
    """A worker that ended without a word, as torch tells it."""
    if 'Bus error' in how:
        return _full_shared_memory(f'data worker {pid} ended by a bus error')
    if 'Killed' in how or 'exit code: -9' in how or 'exit code -9' in how:
        return (
            f'data worker {pid} was killed, as the system does when memory runs out (see dmesg): '
            f'{LESS_MEMORY}'
        )
    if how.startswith('exited unexpectedly') and 'exit code' not in how:
        return (
            f'data worker {pid} ended unexpectedly, perhaps killed since memory ran out (see '
            f'dmesg): {LESS_MEMORY}; to see an error of its own, {WITHOUT_WORKERS}'
        )
    return None


def _of_shared_memory(text: str) -> str | None:
    """Of tensors that workers pass on, which are files of /dev/shm."""
    if re.search(r'Too many open files|\(24\)', text):
        return DISK[errno.EMFILE].format('')
    if re.search(r'No space left|\(28\)|Errno 28|Cannot allocate memory|\(12\)', text):
        return _full_shared_memory()
    if re.search(r'Permission denied|\(13\)|Errno 13|No such file or directory|\(2\)', text):
        return f'{SHARED_MEMORY} cannot be used: {WITHOUT_WORKERS}'
    return None


def _full_shared_memory(what: str = '') -> str:
    size = ''
    try:
        found = os.statvfs(SHARED_MEMORY)
        size = f' of {found.f_frsize * found.f_blocks / 2**20:,.3g} MB'
    except OSError:
        pass
    line = f'{what}: ' if what else ''
    return (
        f'{line}{SHARED_MEMORY}{size}, in which data workers pass images on, is full: start the '
        f'container with a larger --shm-size (or --ipc=host), or {WITHOUT_WORKERS}'
    )


def _of_number(error: BaseException, last: str) -> str | None:
    """Of what the system calls an error, or a text that ends with its name for it."""
    number, file = None, None
    if isinstance(error, OSError):
        number, file = error.errno, error.filename
    named = re.search(r'\[Errno (\d+)\] ([^:]+)(?:: [\'"](.*)[\'"])?$', last)
    if number is None and named is not None:
        number, file = int(named[1]), named[3]
    if number is None and isinstance(error, (OSError, RuntimeError)):
        # C++ puts the system's name for it into its text
        number, file = next((n for name, n in NAMES.items() if name in last), None), last
    if number is None:
        return None
    if number == errno.ENOMEM:
        return f'out of memory: {LESS_MEMORY}'
    if number == errno.EAGAIN and _is_within(error, 'multiprocessing', 'subprocess'):
        return 'no more threads or processes can be started: see `ulimit -u`, or use fewer workers'
    if number == errno.ENOSPC and file is None and _is_within(error, 'multiprocessing'):
        return _full_shared_memory()  # of a lock or a queue between processes
    if number not in DISK:
        return None
    if isinstance(file, (bytes, os.PathLike)):
        file = os.fsdecode(file)
    return DISK[number].format(f': {file}' if isinstance(file, str) else '')


def _is_within(error: BaseException, *modules: str) -> bool:
    """Whether an error was raised in a standard module, or in what that called."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {frame.f_globals.get('__name__', '').partition('.')[0] for frame, _ in frames}
    return not names.isdisjoint(modules)
