"""Compiling the C++ kernels, and where the result is kept.

``csrc/`` is compiled, as one unit, at its first use where a compiler is there. ``RDARTS_NATIVE=0``
leaves it out; nothing needs it.

A library is for the CPU that it was compiled on. Its name says which, and so does the description
beside it, NAME.json, with the instruction sets that it uses and a checksum. One that lacks its
description, is for another CPU or is not whole is compiled again, never loaded: a folder may be
shared by machines of several kinds, and a write may have been cut short.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.machinery
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.logging import print_log

from rdarts.models.kernels.backends import fake

SOURCES = Path(__file__).resolve().parent.parent / 'csrc'
UNIT = SOURCES / 'register.cpp'  # includes the others, but for
EXACT_UNIT = SOURCES / 'normal.cpp'  # whose operations are rounded one by one, on any machine
EXACT = ('-std=c++17', '-O3', '-fPIC', '-ffp-contract=off', '-fno-math-errno')
PATIENCE = 600  # seconds, for the compiler
LOCK_PATIENCE = 600  # seconds, for another process that compiles
COMPILERS = ('c++', 'g++', 'clang++')  # where CXX names none
OPENMP = '-fopenmp'
INSTRUCTIONS = re.compile(r'^#define __(AVX\w*?|FMA|ARM_NEON|ARM_FEATURE_SVE)(?:__)? 1$', re.M)

Command = tuple[str, ...]


def cache_folder() -> Path:
    """Where the compiled library is kept: ``RDARTS_CACHE``, or a folder of the user's cache."""
    if os.environ.get('RDARTS_CACHE'):
        return Path(os.environ['RDARTS_CACHE'])
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'rdarts'


def _cpu() -> str:
    """The CPU's model and instruction sets, as the system names them."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:  # macOS
        found = _output('sysctl', 'machdep.cpu', 'hw.optional')
        return f'{platform.machine()} {platform.processor() if found is None else found}'
    named = [line for line in lines[:40] if line.startswith(('model name', 'flags', 'Features'))]
    if not named:  # POWER, RISC-V: the first CPU, but for what changes as it runs
        first = itertools.takewhile(str.strip, lines)
        named = [line for line in first if not re.search('mhz|bogomips', line, re.I)]
    return ''.join(named)


def _native() -> str:
    """The option that asks for all instructions of this CPU."""
    # Apple's compiler takes no -march=native on ARM
    return '-mcpu=native' if platform.machine() in ('arm64', 'aarch64') else '-march=native'


def _flags() -> list[str]:
    """What the compiler is told, less where things lie."""
    return [
        f'-std={"c++20" if torch.__version__ >= "2.13" else "c++17"}',  # compares as versions
        *('-O3', _native(), '-ffp-contract=fast', OPENMP),
        *('-fPIC', '-shared', '-Wno-psabi'),
        f'-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}',
        *('-ltorch_cpu', '-lc10'),
    ]


def _run(*command: str, seconds: float = 60) -> str:
    try:
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=seconds,
            env=dict(os.environ, LC_ALL='C'),  # English: a word is looked for in the messages
        )
    except OSError as error:
        raise OSError(f'{command[0]} does not run: {error.strerror}') from None
    return done.stdout


def _output(*command: str) -> str | None:
    """What a command prints; None where it does not work."""
    try:
        return _run(*command)
    except (OSError, subprocess.SubprocessError):
        return None


def _find_compiler() -> tuple[Command | None, str]:
    """The command of a compiler, if there is one, and what the log says where ``CXX`` is none."""
    given = os.environ.get('CXX', '').strip()
    said = f" (CXX='{given}' names none)" if given else ''
    try:
        named = shlex.split(given)  # such as `ccache g++`
    except ValueError:  # a quote that does not end
        named = []
    if named and shutil.which(named[0]):
        return tuple(named), ''
    return next(((name,) for name in COMPILERS if shutil.which(name)), None), said


def _version(compiler: Command) -> str | None:
    """What a compiler says of itself; None where it does not work."""
    return _output(*compiler, '--version')


def _has_openmp(compiler: Command, folder: Path) -> bool:
    """Whether a compiler, unlike Apple's, can make a library with OpenMP."""
    options = (OPENMP, '-fPIC', '-shared', '-include', 'omp.h', '-x', 'c++', os.devnull)
    return _output(*compiler, *options, '-o', str(folder / 'probe')) is not None


def _compile(compiler: Command, output: Path) -> None:
    package = Path(torch.__file__).parent
    exact = output.with_name('normal.o')
    _run(*compiler, *EXACT, _native(), '-c', str(EXACT_UNIT), '-o', str(exact), seconds=PATIENCE)
    places = [f'-I{package / "include"}', str(UNIT), str(exact), '-o', str(output)]
    # the libraries come last: a linker looks for what stands before them
    command = [*compiler, *places, f'-L{package / "lib"}', *_flags()]
    try:
        _run(*command, seconds=PATIENCE)
    except subprocess.CalledProcessError:
        if _has_openmp(compiler, output.parent):
            raise
        _run(*(part for part in command if part != OPENMP), seconds=PATIENCE)
        print_log('the compiler has no OpenMP: the kernels of fused run in one thread', 'current')


def _digest(*parts: str) -> str:
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def _description(library: Path) -> Path:
    return library.with_name(f'{library.name}.json')


def _checksum(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _is_usable(library: Path) -> bool:
    """Whether a library is there, whole, and for this CPU."""
    try:
        said = json.loads(_description(library).read_text(encoding='utf-8'))
        return said['cpu'] == _cpu() and said['sha256'] == _checksum(library)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _library(compiler: Command | None) -> Path:
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
        made = [path for path in cache_folder().glob(f'{name}_*{suffix}') if _is_usable(path)]
        if made:
            return max(made, key=lambda path: path.stat().st_mtime)
    program, *arguments = compiler or ('',)
    path = os.path.realpath(shutil.which(program) or program)
    build = _digest(path, *arguments, version or '', *_flags(), *EXACT)
    return cache_folder() / f'{name}_{build}{suffix}'


def _build(compiler: Command, library: Path) -> None:
    """Compile a library and describe it; a reader finds both whole, or compiles anew."""
    with tempfile.TemporaryDirectory(dir=library.parent, prefix='building_') as folder:
        output = Path(folder, library.name)
        _compile(compiler, output)
        if not output.is_file():
            raise OSError(f'{shlex.join(compiler)} made no library')
        defined = _output(*compiler, _native(), '-dM', '-E', '-x', 'c++', os.devnull)
        said = dict(
            cpu=_cpu(),
            instructions=sorted(INSTRUCTIONS.findall(defined or '')),
            compiler=(_version(compiler) or '').partition('\n')[0],
            torch=torch.__version__,
            sha256=_checksum(output),
        )
        description = _description(output)
        description.write_text(json.dumps(said, indent=1), encoding='utf-8')
        for path in (output, description):
            os.replace(path, library.with_name(path.name))


@contextlib.contextmanager
def _alone(library: Path) -> Iterator[None]:
    """Within, no other process makes this library, where the file system has locks."""
    import filelock  # not needed where the library is there

    lock = filelock.FileLock(library.with_name(f'{library.name}.lock'))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.acquire(timeout=0))
        except filelock.Timeout:
            print_log('waiting for a process that compiles the kernels of fused', 'current')
            with contextlib.suppress(filelock.Timeout):  # then both compile, which costs but time
                stack.enter_context(lock.acquire(timeout=LOCK_PATIENCE))
        except (OSError, NotImplementedError):
            pass  # no locks in this file system: each process compiles, and any library is whole
        yield


def _prepare() -> Path:
    """The library, compiled where it is not there.

    Raises:
        OSError: There is no compiler, or the folder cannot be used.
        subprocess.SubprocessError: The compiler failed.
    """
    compiler, said = _find_compiler()
    library = _library(compiler)
    if _is_usable(library):
        return library
    if compiler is None:
        raise OSError(f'no C++ compiler was found{said}')
    library.parent.mkdir(parents=True, exist_ok=True)
    with _alone(library):
        if not _is_usable(library):
            by = f' by {compiler[0]}{said}' if said else ''
            print_log(f'compiling the kernels of fused{by}: about a minute, once', 'current')
            _build(compiler, library)
    return library


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
    try:
        torch.ops.load_library(str(_prepare()))
        fake.register()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return _in_a_line(error)
    return None


def _in_a_line(error: Exception) -> str:
    """Why there is no library."""
    if isinstance(error, OSError) and error.errno is not None:
        return (
            f'{cache_folder()}, where compiled kernels are kept, cannot be used '
            f'({error.strerror}): RDARTS_CACHE names another folder'
        )
    if not isinstance(error, subprocess.CalledProcessError) or not error.stderr.strip():
        # what PyTorch says of a library that does not load has its reason behind it
        said = [str(one).strip() for one in (error, error.__cause__) if one is not None]
        return ': '.join(filter(None, said)).partition('\n')[0] or repr(error)
    lines = error.stderr.strip().splitlines()
    telling = (line for part in ('No space left', 'error') for line in lines if part in line)
    compiler, _ = _find_compiler()
    version = ((compiler and _version(compiler)) or '').partition('\n')[0]
    return next(telling, lines[0]) + (f' (by {version})' if version else '')
