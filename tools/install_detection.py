"""Install what detection needs: mmdetection, and mmcv with its compiled operators.

PyPI's onedl-mmcv has no compiled operators. They are built once, against the PyTorch of this
environment, and the wheel is kept for the next environment (RDARTS_CACHE, else ~/.cache/rdarts).
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PACKAGE = 'onedl-mmcv'
CPP20_FROM = (2, 13)  # PyTorch's headers need C++20 from here on, mmcv asks for C++17


class Failed(Exception):
    """One line that says what is missing."""


def run(*command: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], text=True, capture_output=True, **kwargs)


def has_operators() -> bool:
    """Whether mmcv with compiled operators loads with this PyTorch."""
    return run('-c', 'import torch, mmcv._ext').returncode == 0


def torch_version() -> str:
    try:
        return importlib.metadata.version('torch')
    except importlib.metadata.PackageNotFoundError:
        raise Failed('PyTorch is not installed: pip install -e . first') from None


def wheel_folder(version: str) -> Path:
    """Where the wheel of this mmcv, PyTorch, Python and machine is kept."""
    root = os.environ.get('RDARTS_CACHE')
    if not root:
        root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'rdarts'
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    machine = f'{sys.platform}_{platform.machine()}'
    return Path(root) / 'wheels' / f'mmcv{version}-torch{torch_version()}-{tag}-{machine}'


def find_compiler() -> str:
    names = [os.environ.get('CXX'), 'c++', 'g++', 'clang++']
    for name in names:
        if name and shutil.which(shlex.split(name)[0]):
            return name
    raise Failed(
        'no C++ compiler was found, which the operators of mmcv are built with: '
        'install one (Debian, Ubuntu: apt-get install g++), or name it by CXX'
    )


def check_headers() -> None:
    include = sysconfig.get_path('include')
    if not Path(include, 'Python.h').is_file():
        version = f'{sys.version_info[0]}.{sys.version_info[1]}'
        raise Failed(
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
        raise Failed(f'pip cannot install ninja: {last_line(tools.stderr)}')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        # Scripts such as ninja lie beside the environment's Python
        path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}'
        env = dict(os.environ, MMCV_WITH_OPS='1', MAX_JOBS=jobs, PATH=path, CXX=compiler)
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
            raise Failed(
                f'mmcv could not be built: {first_error(done.stdout + done.stderr)} ({log})'
            )
        target = folder / wheels[0].name
        os.replace(wheels[0], target)
    return target


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ['no output'])[-1].strip()


def first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    errors = [line for line in lines if 'error:' in line.lower()]
    return errors[0] if errors else last_line(text)


def requirements() -> list[str]:
    """What the extra ``detection`` of rdarts asks for."""
    try:
        found = importlib.metadata.requires('rdarts') or []
    except importlib.metadata.PackageNotFoundError:
        raise Failed('rdarts is not installed: pip install -e . first') from None
    pairs = [entry.partition(';') for entry in found]
    return [name.strip() for name, _, mark in pairs if 'extra' in mark and 'detection' in mark]


def main() -> int:
    try:
        torch_version()
        wanted = requirements()
        print(f'Installing {", ".join(wanted)} ...', flush=True)
        done = run('-m', 'pip', 'install', '-q', '--disable-pip-version-check', *wanted)
        if done.returncode:
            raise Failed(f'pip: {last_line(done.stderr)}')
        if not has_operators():
            version = importlib.metadata.version(PACKAGE)
            folder = wheel_folder(version)
            wheel = next(iter(folder.glob('*.whl')), None)
            if wheel is None:
                wheel = build(version, folder)
            print(f'Installing {wheel.name}', flush=True)
            done = run(
                *('-m', 'pip', 'install', '-q', '--disable-pip-version-check'),
                *('--force-reinstall', '--no-deps', str(wheel)),
            )
            if done.returncode:
                raise Failed(f'pip: {last_line(done.stderr)}')
            check = run('-c', 'import torch, mmcv._ext')
            if check.returncode:
                raise Failed(f'{wheel} does not load: {last_line(check.stderr)}; delete it')
        print('Detection is installed: mmdetection, and mmcv with compiled operators')
    except Failed as problem:
        print(f'error: {problem}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
