"""Compiling the C++ kernels, and where the result is kept.

``csrc/`` is compiled, as one unit, at its first use where a compiler is there. ``RDARTS_NATIVE=0``
leaves it out; nothing needs it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.logging import print_log

from rdarts.models.kernels.backends import fake

SOURCES = Path(__file__).resolve().parent.parent / 'csrc'
UNIT = SOURCES / 'register.cpp'  # includes the others


def cache_folder() -> Path:
    """Where the compiled library is kept: ``RDARTS_CACHE``, or a folder of the user's cache."""
    if os.environ.get('RDARTS_CACHE'):
        return Path(os.environ['RDARTS_CACHE'])
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'rdarts'


def _cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    return ''.join(
        line for line in lines[:40] if line.startswith(('model name', 'flags', 'Features'))
    )


def _flags() -> list[str]:
    """What the compiler is told, less where things lie."""
    return [
        f'-std={"c++20" if torch.__version__ >= "2.13" else "c++17"}',  # compares as versions
        *('-O3', '-march=native', '-ffp-contract=fast', '-fopenmp'),
        *('-fPIC', '-shared', '-Wno-psabi'),
        f'-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}',
        *('-ltorch_cpu', '-lc10'),
    ]


def _compile(compiler: str, target: Path) -> None:
    """Compile the library; it appears whole, whatever other process does the same."""
    package = Path(torch.__file__).parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        output = Path(folder) / target.name
        places = [f'-I{package / "include"}', str(UNIT), '-o', str(output)]
        # the libraries come last: a linker looks for what stands before them
        command = [compiler, *places, f'-L{package / "lib"}', *_flags()]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        os.replace(output, target)


def _version(compiler: str) -> str | None:
    """What a compiler says of itself; None where it does not work."""
    try:
        done = subprocess.run(
            [compiler, '--version'], check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _digest(*parts: str) -> str:
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def _library(compiler: str | None) -> Path:
    """The library that a compiler would make, or has made.

    Its name says source, PyTorch and CPU, and then compiler, its version and its flags. Without a
    compiler that works, the newest of this source, PyTorch and CPU is taken, if there is one.
    """
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in ('.cpp', '.h'))
    source = '\n'.join(path.read_text(encoding='utf-8') for path in files)
    name = f'fused_{_digest(source, torch.__version__, _cpu(), sys.platform)}'
    suffix = importlib.machinery.EXTENSION_SUFFIXES[-1]
    version = None if compiler is None else _version(compiler)
    if version is None:
        made = list(cache_folder().glob(f'{name}_*{suffix}'))
        if made:
            return max(made, key=lambda path: path.stat().st_mtime)
    build = _digest(os.path.realpath(compiler or ''), version or '', *_flags())
    return cache_folder() / f'{name}_{build}{suffix}'


def why_left_out() -> str | None:
    """Why the C++ kernels are not looked for at all; None where they are."""
    if os.environ.get('RDARTS_NATIVE') == '0':
        return 'RDARTS_NATIVE=0 leaves it out'
    return 'it is not compiled on Windows' if sys.platform == 'win32' else None


@functools.cache
def load_library() -> str | None:
    """Load the C++ operators, compiling them first where that has not been done.

    Returns:
        str | None: Why ``torch.ops.rdarts`` is not there; None where it is.
    """
    compiler = shutil.which(os.environ.get('CXX', 'c++')) or shutil.which('g++')
    try:
        library = _library(compiler)
        if not library.exists():
            if compiler is None:
                raise OSError('no C++ compiler was found')
            print_log('compiling the kernels of fused: about half a minute, once', 'current')
            _compile(compiler, library)
        torch.ops.load_library(str(library))
        fake.register()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        lines = (getattr(error, 'stderr', None) or str(error)).strip().splitlines() or [repr(error)]
        return next((line for line in lines if 'error' in line), lines[0])
    return None
