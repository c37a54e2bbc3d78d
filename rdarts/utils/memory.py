"""Memory that there is: of the machine, of its container, of the GPU; and what a run takes."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rdarts.utils.machine import ROOT, cgroup_folders

KEYS = 'train_dataloader.batch_size, arch_dataloader.batch_size'
PAGE = os.sysconf('SC_PAGE_SIZE') if hasattr(os, 'sysconf') else 4096
UNLIMITED = 2**60  # version 1 writes a number near 2^63 where there is no limit


@dataclass(frozen=True)
class Memory:
    """A kind of memory.

    Args:
        name (str): What has it.
        total (int): Bytes in all.
        free (int): Bytes that a process could still take.
    """

    name: str
    total: int
    free: int


def main_memory(root: Path = ROOT) -> Memory | None:
    """The main memory that this process may use: the machine's, or less in a container.

    Args:
        root (Path): Of the file system. Defaults to ``/``.

    Returns:
        Memory | None: None where the system does not tell.
    """
    found = []
    try:
        lines = (root / 'proc/meminfo').read_text().splitlines()
        sizes = {line.split(':')[0]: int(line.split()[1]) * 1024 for line in lines if ':' in line}
        found.append(Memory('the machine', sizes['MemTotal'], sizes['MemAvailable']))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    for folder in cgroup_folders('memory', root):
        version2 = (folder / 'memory.max').exists()
        names = ('memory.max', 'memory.current') if version2 else (
            'memory.limit_in_bytes', 'memory.usage_in_bytes'
        )  # fmt: skip
        try:
            limit, used = (int((folder / name).read_text()) for name in names)
            statistics = (folder / 'memory.stat').read_text()
        except (OSError, ValueError):  # not limited there, as 'max' says
            continue
        if limit >= UNLIMITED:
            continue
        # files in the page cache count as used, and are given up when memory is needed
        cache = dict(line.split()[:2] for line in statistics.splitlines() if ' ' in line)
        used -= int(cache.get('inactive_file' if version2 else 'total_inactive_file', 0))
        found.append(Memory('the container', limit, max(0, limit - used)))
    return min(found, key=lambda memory: memory.free, default=None)


def gpu_memory() -> Memory | None:
    """The memory of the GPU that is in use; None without one, or before PyTorch is loaded."""
    torch = sys.modules.get('torch')
    if torch is None or not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    # what this process's allocator holds is free for its own tensors
    return Memory('the GPU', total, free + torch.cuda.memory_reserved())


def memory_line(root: Path = ROOT) -> str:
    """What memory there is, for the first lines of a run.

    Args:
        root (Path): Of the file system. Defaults to ``/``.
    """
    kinds = [memory for memory in (gpu_memory(), main_memory(root)) if memory is not None]
    texts = [f'{gigabytes(m.free)} free of {gigabytes(m.total)} ({m.name})' for m in kinds]
    return ', '.join(texts) or 'not known'


def tight_memory(peak_mb: float, can_checkpoint: bool = False, root: Path = ROOT) -> str:
    """A warning where a run's peak passes the memory that there is for it.

    Args:
        peak_mb (float): The peak, MB of 2^20 bytes: of the GPU where there is one, else of this
            process.
        can_checkpoint (bool): Whether the model has ``model.backbone.checkpoint``, switched off.
            Defaults to False.
        root (Path): Of the file system. Defaults to ``/``.

    Returns:
        str: The warning; empty where the peak fits.
    """
    memory, resident = gpu_memory(), 0
    if memory is None:
        memory, resident = main_memory(root), resident_memory(root)
    if memory is None:
        return ''
    there = min(memory.free + resident, memory.total)
    if peak_mb * 2**20 <= there:
        return ''
    keys = f'{KEYS}, or model.backbone.checkpoint=True' if can_checkpoint else KEYS
    return (
        f'warning: the peak of {gigabytes(peak_mb * 2**20)} passes what {memory.name} has for it, '
        f'{gigabytes(there)}: lower it by {keys}'
    )


def resident_memory(root: Path = ROOT) -> int:
    """Bytes that this process has, 0 where the system does not tell.

    Args:
        root (Path): Of the file system. Defaults to ``/``.
    """
    try:
        return int((root / 'proc/self/statm').read_text().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0


def peak_memory() -> int:
    """Bytes that this process has had at most; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> None:
    """Count peaks of memory from now on, of the process and of the GPU, where that can be done."""
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def gigabytes(size: float) -> str:
    """Bytes as GB of 2^30 bytes."""
    return f'{size / 2**30:.1f} GB'
