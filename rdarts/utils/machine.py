"""What this process may use of its machine, and what its processor is called.

Cores are those of its affinity and its container's quota.

Importing this file loads nothing heavy: what it sets must be set before PyTorch is loaded.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdarts.utils.wording import plural

ROOT = Path('/')
# How long a thread that waits for others spins before it sleeps. By default it spins for
# milliseconds, on a core that a neighbour, or another thread under a quota, could use.
WAITING = {'GOMP_SPINCOUNT': '1000', 'KMP_BLOCKTIME': '0'}  # of GNU's and of LLVM's OpenMP
THREADS = 'OMP_NUM_THREADS'
_set_here: set[str] = set()


@dataclass(frozen=True)
class Cores:
    """How many threads can compute at a time.

    Args:
        count (int): Their number.
        reason (str): What limits it.
    """

    count: int
    reason: str


def usable_cores(root: Path = ROOT) -> Cores:
    """The cores that this process may use.

    Args:
        root (Path): Of the file system. Defaults to ``/``.

    Returns:
        Cores: The least of the processors of the affinity, their physical cores, and the quota of
        the container, of which a part of a core does not count.
    """
    total = os.cpu_count() or 1
    processors = _affinity()
    count, reason = len(processors), f'the machine has {plural(total, "processor")}'
    if count < total:
        reason = f'the affinity is {count} of {plural(total, "processor")}'
    physical = _physical_cores(processors, root)
    if physical < count:
        count, reason = physical, f'{plural(count, "processor")} of {plural(physical, "core")}'
    quota = cpu_quota(root)
    if quota is not None and max(1, int(quota)) < count:
        reason = f"the container's quota is {quota:g} of {plural(len(processors), 'processor')}"
        count = max(1, int(quota))
    return Cores(count, reason)


def cpu_quota(root: Path = ROOT) -> float | None:
    """The least quota of processors of the control groups that this process is in.

    Args:
        root (Path): Of the file system. Defaults to ``/``.

    Returns:
        float | None: Processors, such as 1.5; None where there is no limit.
    """
    quotas = []
    for folder in cgroup_folders('cpu', root):
        try:
            if (folder / 'cpu.max').exists():  # version 2
                quota, period = (folder / 'cpu.max').read_text().split()
            else:
                quota = (folder / 'cpu.cfs_quota_us').read_text()
                period = (folder / 'cpu.cfs_period_us').read_text()
            if int(quota) > 0 and int(period) > 0:
                quotas.append(int(quota) / int(period))
        except (OSError, ValueError):  # not limited there, as 'max' says
            continue
    return min(quotas, default=None)


def cgroup_folders(controller: str, root: Path = ROOT) -> list[Path]:
    """The folders that limit this process: of its control group and of all that hold it.

    Args:
        controller (str): What they limit, such as ``'cpu'`` or ``'memory'``.
        root (Path): Of the file system. Defaults to ``/``.

    Returns:
        list[Path]: Those of version 1 and of version 2; none where there are no control groups.
    """
    try:
        groups = (root / 'proc/self/cgroup').read_text().splitlines()
        mounts = (root / 'proc/self/mountinfo').read_text().splitlines()
    except OSError:
        return []
    paths = {}
    for line in groups:
        _, _, rest = line.partition(':')
        controllers, _, path = rest.partition(':')
        if not controllers:
            paths['cgroup2'] = path
        elif controller in controllers.split(','):
            paths['cgroup'] = path
    found = []
    for line in mounts:
        before, _, after = line.partition(' - ')
        kind, *_, options = after.split(' ') if after else ('', '')
        if kind not in paths or (kind == 'cgroup' and controller not in options.split(',')):
            continue
        mounted, point = (_unescape(text) for text in before.split(' ')[3:5])
        inner = PurePosixPath(paths[kind])
        try:
            parts = inner.relative_to(mounted).parts
        except ValueError:
            parts = ()  # a container that sees its own group alone, mounted as the root
        if '..' in parts:  # outside of the namespace
            parts = ()
        folder = root / point.lstrip('/')
        found.append(folder)
        for part in parts:
            folder = folder / part
            found.append(folder)
    return [folder for folder in found if folder.is_dir()]


def prepare_threads(root: Path = ROOT) -> None:
    """Let the threads of OpenMP share the cores with others; before PyTorch is loaded.

    Sets the environment, for this process and those that it starts: how long a waiting thread
    spins, and the number of threads where PyTorch's own choice would be more than the cores that
    may be used. What the user has set stays.

    Args:
        root (Path): Of the file system. Defaults to ``/``.
    """
    if 'OMP_WAIT_POLICY' not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)
    if THREADS not in os.environ:
        cores = usable_cores(root)
        if cores.count < _physical_cores(_affinity(), root):
            os.environ[THREADS] = str(cores.count)
            _set_here.add(THREADS)


def wanted_threads() -> int | None:
    """The number of threads that the user has set, by ``OMP_NUM_THREADS``; None where not."""
    text = '' if THREADS in _set_here else os.environ.get(THREADS, '')
    return int(text) if text.isdecimal() and int(text) > 0 else None


def share_of_cores(processes: int, root: Path = ROOT) -> int:
    """Threads for each of some processes that compute at a time; what the user has set stays.

    Args:
        processes (int): Their number.
        root (Path): Of the file system. Defaults to ``/``.
    """
    return wanted_threads() or max(1, usable_cores(root).count // processes)


def shared_environment(processes: int) -> dict[str, str]:
    """Of a process that computes beside others: the environment, and its share of the cores.

    Args:
        processes (int): How many there are.
    """
    waiting = {} if 'OMP_WAIT_POLICY' in os.environ else WAITING
    return {**waiting, **os.environ, THREADS: str(share_of_cores(processes))}


def threads_line(threads: int, root: Path = ROOT) -> str:
    """How many threads compute, and why so many.

    Args:
        threads (int): Of PyTorch.
        root (Path): Of the file system. Defaults to ``/``.
    """
    cores = usable_cores(root)
    if wanted_threads() == threads:
        reason = f'{THREADS}; {cores.reason}'
    elif threads == cores.count:
        reason = cores.reason
    else:
        reason = f'set by the program; {cores.reason}'
    return f'{plural(threads, "thread")} ({reason})'


def cpu_name(root: Path = ROOT) -> str:
    """The processor's name, with its family and model where the name alone could be of several.

    Args:
        root (Path): Of the file system. Defaults to ``/``.
    """
    try:
        text = (root / 'proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:
        text = ''
    first = text.strip().partition('\n\n')[0]
    lines = (line.partition(':') for line in first.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    name = facts.get('model name') or platform.processor() or platform.machine()
    family, model = facts.get('cpu family'), facts.get('model')
    # virtual machines often leave the number out of the name
    if name and family and model and not any(char.isdigit() for char in name):
        name = f'{name} (family {family}, model {model})'
    return name or 'unknown'


def _affinity() -> set[int]:
    if hasattr(os, 'sched_getaffinity'):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(processors: set[int], root: Path) -> int:
    """Cores that some processors belong to: two threads of one core compute in turn."""
    cores = set()
    for number in processors:
        folder = root / f'sys/devices/system/cpu/cpu{number}/topology'
        try:
            cores.add((folder / 'thread_siblings_list').read_text().strip())
        except OSError:
            cores.add(str(number))
    return len(cores)


def _unescape(text: str) -> str:
    """A path of mountinfo, which writes a space as ``\\040``."""
    for code, character in (('\\040', ' '), ('\\011', '\t'), ('\\012', '\n'), ('\\134', '\\')):
        text = text.replace(code, character)
    return text
