"""What detection needs, installed: mmdetection, and mmcv with its compiled operators.

PyPI's onedl-mmcv has none: they are built once, against the PyTorch of this environment, and the
wheel is kept for the next environment.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import signal
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from rdarts.errors import RunFailed
from rdarts.utils.last_line import last_line
from rdarts.utils.process_group import run_group
from rdarts.utils.stop_signals import STOP_SIGNALS

PACKAGE = 'onedl-mmcv'
SILENT = 'no output'  # in the place of what a command said
CPP20_FROM = (2, 13)  # PyTorch's headers need C++20 from here on, mmcv asks for C++17


def install_detection(dry_run: bool = False) -> None:
    """Install mmdetection, and mmcv with operators where they are not there; says what it does.

    Args:
        dry_run (bool): Whether it says what it would install, move back and build, and does none
            of it. Defaults to False.

    Raises:
        RunFailed: PyTorch, pip, a compiler or a header is missing, or what they do failed.
    """
    torch_version()
    wanted = requirements()
    plan = planned(wanted)
    print(describe_plan(plan), flush=True)
    if dry_run:
        print(describe_build(plan))
        return
    print(f'Installing {", ".join(wanted)} ...', flush=True)
    install(wanted)
    if not has_operators():
        version = importlib.metadata.version(PACKAGE)
        folder = wheel_folder(version)
        wheel = next(iter(folder.glob('*.whl')), None)
        if wheel is None:
            wheel = build(version, folder)
        print(f'Installing {wheel.name}', flush=True)
        install([str(wheel)], '--force-reinstall', '--no-deps')
        check = run('-c', 'import torch, mmcv._ext')
        if check.returncode:
            raise RunFailed(f'{wheel} does not load: {last_line(check.stderr, SILENT)}; delete it')
    print('Detection is installed: mmdetection, and mmcv with compiled operators')


def run(*command: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run this Python with what it starts in a group of its own, which ends with this process."""
    return run_group([sys.executable, *command], env)


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that is removed in the end, and an environment in which pip's are made within it."""
    with tempfile.TemporaryDirectory(prefix='rdarts_', dir=parent) as folder:
        yield Path(folder), dict(os.environ, TMPDIR=folder)


def stop_on_signals() -> None:
    """Let a signal that ends this process run what cleans up behind it, undisturbed by another."""

    def stop(number: int, frame: Any) -> None:
        for one in stopping:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    stopping = [one for one in STOP_SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    for one in stopping:
        signal.signal(one, stop)


def has_operators() -> bool:
    """Whether mmcv with compiled operators loads with this PyTorch."""
    return run('-c', 'import torch, mmcv._ext').returncode == 0


def torch_version() -> str:
    """The release that is installed.

    Raises:
        RunFailed: None is.
    """
    try:
        return importlib.metadata.version('torch')
    except importlib.metadata.PackageNotFoundError:
        raise RunFailed('PyTorch is not installed: pip install -e . first') from None


def wheel_folder(version: str) -> Path:
    """Where the wheel of this mmcv, PyTorch, Python and machine is kept."""
    root = os.environ.get('RDARTS_CACHE')
    if not root:
        root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'rdarts'
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    machine = f'{sys.platform}_{platform.machine()}'
    return Path(root) / 'wheels' / f'mmcv{version}-torch{torch_version()}-{tag}-{machine}'


def find_compiler() -> str:
    """The command of a C++ compiler.

    Raises:
        RunFailed: There is none.
    """
    names = [os.environ.get('CXX'), 'c++', 'g++', 'clang++']
    for name in names:
        if name and shutil.which(shlex.split(name)[0]):
            return name
    raise RunFailed(
        'no C++ compiler was found, which the operators of mmcv are built with: '
        'install one (Debian, Ubuntu: apt-get install g++), or name it by CXX'
    )


def check_headers() -> None:
    """Check that Python's headers are there.

    Raises:
        RunFailed: They are not.
    """
    include = sysconfig.get_path('include')
    if not Path(include, 'Python.h').is_file():
        version = f'{sys.version_info[0]}.{sys.version_info[1]}'
        raise RunFailed(
            f'{include}/Python.h is missing, which the operators of mmcv are built with: install '
            f"Python's headers (Debian, Ubuntu: apt-get install python{version}-dev)"
        )


def wrap_compiler(compiler: str, folder: Path) -> str:
    """A compiler that takes C++20 where it is told to take C++17."""
    path = folder / 'c++20'
    path.write_text(
        '#!/bin/sh\n'
        'for argument do\n'
        '  shift\n'
        '  case "$argument" in -std=c++1[47]) argument=-std=c++20 ;; esac\n'
        '  set -- "$@" "$argument"\n'
        'done\n'
        f'exec {compiler} "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def build(version: str, folder: Path) -> Path:
    """Build the wheel into ``folder``; a log is left beside where that fails."""
    compiler = find_compiler()
    check_headers()
    jobs = os.environ.get('MAX_JOBS') or str(os.cpu_count() or 1)
    print(
        f'Building the operators of mmcv {version} for PyTorch {torch_version()} with {jobs} jobs: '
        '15 to 30 minutes on 2 cores, once; the wheel is kept in\n'
        f'{folder}',
        flush=True,
    )
    tools = run('-m', 'pip', 'install', '-q', 'ninja', 'setuptools', 'wheel')
    if tools.returncode:
        raise RunFailed(f'pip cannot install ninja: {last_line(tools.stderr, SILENT)}')
    with made(folder), temporary_folder(folder) as (work, env):
        # Scripts such as ninja lie beside the environment's Python
        path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}'
        env = dict(env, MMCV_WITH_OPS='1', MAX_JOBS=jobs, PATH=path, CXX=compiler)
        numbers = torch_version().split('+')[0].split('.')
        if (int(numbers[0]), int(numbers[1])) >= CPP20_FROM:
            env['CXX'] = wrap_compiler(compiler, work)
        done = run(
            *('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-cache-dir'),
            *(f'--no-binary={PACKAGE}', '--wheel-dir', str(work), f'{PACKAGE}=={version}'),
            env=env,
        )
        wheels = list(work.glob('*.whl'))
        if done.returncode or len(wheels) != 1:
            log = folder / 'build.log'
            log.write_text(done.stdout + done.stderr)
            raise RunFailed(
                f'mmcv could not be built: {first_error(done.stdout + done.stderr)} ({log})'
            )
        target = folder / wheels[0].name
        os.replace(wheels[0], target)
    return target


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder, which is removed again where nothing was put into it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def first_error(text: str) -> str:
    """The first line of what a compiler printed that says an error, else the last."""
    lines = [line.strip() for line in text.splitlines()]
    errors = [line for line in lines if 'error:' in line.lower()]
    return errors[0] if errors else last_line(text, SILENT)


def requirements() -> list[str]:
    """What the extra ``detection`` of rdarts asks for."""
    try:
        found = importlib.metadata.requires('rdarts') or []
    except importlib.metadata.PackageNotFoundError:
        raise RunFailed('rdarts is not installed: pip install -e . first') from None
    pairs = [entry.partition(';') for entry in found]
    return [name.strip() for name, _, mark in pairs if 'extra' in mark and 'detection' in mark]


# What pip would do


def planned(wanted: Sequence[str]) -> dict[str, str]:
    """What pip would install for some requirements: names and versions."""
    with temporary_folder() as (_, env):
        command = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        done = run(*command, '--dry-run', '--report', '-', *wanted, env=env)
    if done.returncode:
        raise RunFailed(f'pip: {last_line(done.stderr, SILENT)}')
    try:
        entries = [entry['metadata'] for entry in json.loads(done.stdout)['install']]
        return {entry['name'].lower(): entry['version'] for entry in entries}
    except (ValueError, KeyError, TypeError):
        raise RunFailed('pip is too old to say what it would install: pip install -U pip') from None


def installed(name: str) -> str | None:
    """The release of a package; None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_plan(plan: Mapping[str, str]) -> str:
    """Lines: what is new, what is replaced by a newer release, and what is moved back."""
    kinds: dict[str, list[str]] = {'install': [], 'update': [], 'move back': []}
    for name, version in plan.items():
        before = installed(name)
        if before is None:
            kinds['install'].append(f'{name} {version}')
        else:
            kind = 'move back' if release(version) < release(before) else 'update'
            kinds[kind].append(f'{name} {before} -> {version}')
    lines = [f'{kind + ":":<11}{", ".join(found)}' for kind, found in kinds.items() if found]
    return '\n'.join(lines or ['install:   nothing: all requirements are there'])


def release(version: str) -> tuple[int, ...]:
    """Of a release, to compare it with another of the same package."""
    return tuple(int(number) for number in re.findall(r'\d+', version.partition('+')[0]))


def describe_build(plan: Mapping[str, str]) -> str:
    """One line: where the operators of mmcv would come from.

    Raises:
        RunFailed: They would be built, and what builds them is missing.
    """
    version = plan.get(PACKAGE) or installed(PACKAGE)
    if PACKAGE not in plan and has_operators():
        return 'build:     nothing: the operators of mmcv are there'
    folder = wheel_folder(version)
    wheel = next(iter(folder.glob('*.whl')), None)
    if wheel is not None:
        return f'build:     nothing: the operators of mmcv are in {wheel}'
    find_compiler()
    check_headers()
    return (
        f'build:     the operators of mmcv {version} for PyTorch {torch_version()}, 15 to 30 '
        f'minutes on 2 cores, kept in\n           {folder}'
    )


def install(wanted: Sequence[str], *options: str) -> None:
    """Let pip install.

    Raises:
        RunFailed: It could not.
    """
    with temporary_folder() as (_, env):
        command = ('-m', 'pip', 'install', '-q', '--disable-pip-version-check', *options)
        done = run(*command, *wanted, env=env)
    if done.returncode:
        raise RunFailed(f'pip: {last_line(done.stderr, SILENT)}')
