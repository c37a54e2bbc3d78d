"""The compiled library: when it is made, where it is kept, and what is done where it cannot be."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from rdarts.models import kernels
from rdarts.models.kernels.backends import build, choose
from rdarts.models.kernels.backends import cpp as cpp_module

ROOT = Path(__file__).resolve().parent.parent.parent
FALLBACK = 'fused runs in PyTorch, not in C++: '
VERSION = 'cc 12.2'

pytestmark = pytest.mark.skipif(
    sys.platform == 'win32', reason='nothing is compiled, and a shell script is no compiler'
)
# A compiler: it says its version, and which instructions it uses; it notes what it is asked for to
# make the library, and makes files of some text. What stands in the place of {body} comes before
# the library.
COMPILER = f"""#!/bin/sh
[ "$1" = --version ] && echo "{VERSION}
of somebody" && exit
case "$*" in
*-dM*) printf '#define __AVX512F__ 1\\n#define __AVX2__ 1\\n#define __ARM_NEON 1\\n#define X 1\\n'
  exit ;;
esac
out() {{ while [ "$1" != -o ]; do shift; done; echo "$2"; }}
case "$*" in *' -c '*) echo text > "$(out "$@")"; exit ;; esac
echo "$*" >> "$0.log"
{{body}}
echo text > "$(out "$@")"
"""


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """A cache folder that is not there yet."""
    folder = tmp_path / 'cache'
    monkeypatch.setenv('RDARTS_CACHE', str(folder))
    return folder


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    monkeypatch.setattr(build, 'print_log', lambda line, logger: found.append(line))
    return found


@pytest.fixture
def compiler(cache, monkeypatch, tmp_path) -> Callable[..., Path]:
    """Makes the compiler that is there from now on: gives the file in which it notes its calls."""

    def make(body: str = '', name: str = 'cc', text: str = COMPILER) -> Path:
        path = tmp_path / name
        path.write_text(text.replace('{body}', body))
        path.chmod(0o755)
        monkeypatch.setenv('CXX', str(path))
        return tmp_path / f'{name}.log'

    return make


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def why() -> str | None:
    """Why there is no library, as in a new process."""
    return build.load_library.__wrapped__()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path / 'mine'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert build.cache_folder() == tmp_path / 'mine'
    monkeypatch.delenv('RDARTS_CACHE')
    assert build.cache_folder() == tmp_path / 'xdg' / 'rdarts'
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert build.cache_folder() == tmp_path / '.cache' / 'rdarts'


def test_a_library_is_made_once_and_says_for_which_cpu(cache, lines, compiler):
    log = compiler()
    library = build._prepare()
    assert library.parent == cache and library.read_text() == 'text\n'
    said = json.loads((cache / f'{library.name}.json').read_text())
    assert said == dict(
        cpu=build._cpu(),
        instructions=['ARM_NEON', 'AVX2', 'AVX512F'],
        compiler=VERSION,
        torch=torch.__version__,
        sha256=said['sha256'],
    )
    (call,) = calls(log)
    assert '-fopenmp' in call and build._native() in call
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert build._prepare() == library
    assert len(calls(log)) == 1
    # a folder that can only be read will do
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    assert lines == ['compiling the kernels of fused: about a minute, once']
    assert not list(cache.glob('building_*'))


def cut_short(library: Path) -> None:
    library.write_text('te')


def foreign(library: Path) -> None:
    library.write_bytes(b'\x7fELF of another program')


def undescribed(library: Path) -> None:
    build._description(library).unlink()


def described_by_nonsense(library: Path) -> None:
    build._description(library).write_text('[1')


def described_by_a_list(library: Path) -> None:
    build._description(library).write_text('[]')


def of_another_cpu(library: Path) -> None:
    said = json.loads(build._description(library).read_text())
    build._description(library).write_text(json.dumps(dict(said, cpu='with other instructions')))


def gone(library: Path) -> None:
    library.unlink()


@pytest.mark.parametrize(
    'spoil',
    [
        cut_short,
        foreign,
        undescribed,
        described_by_nonsense,
        described_by_a_list,
        of_another_cpu,
        gone,
    ],
)
def test_what_is_not_whole_or_for_another_cpu_is_compiled_anew(compiler, lines, spoil):
    log = compiler()
    library = build._prepare()
    spoil(library)
    assert not build._is_usable(library)
    assert build._prepare() == library
    assert len(calls(log)) == 2
    assert library.read_text() == 'text\n' and build._is_usable(library)


def test_two_kinds_of_cpus_share_a_folder(cache, compiler, lines, monkeypatch):
    log = compiler()
    first = build._prepare()
    with monkeypatch.context() as other:
        other.setattr(build, '_cpu', lambda: 'another')
        assert not build._is_usable(first)
        second = build._prepare()
        other.setenv('CXX', 'none')
        other.setenv('PATH', '/nowhere')
        assert build._prepare() == second  # what is there needs no compiler
        second.unlink()
        # the other CPU's is left alone
        assert why() == "no C++ compiler was found (CXX='none' names none)"
    assert second != first
    assert build._prepare() == first
    assert len(calls(log)) == 2


CPUS = {
    'x86': ('flags : avx2\n', 'flags : avx512f\n'),
    'POWER': ('processor : 0\ncpu : POWER9\n', 'processor : 0\ncpu : POWER10\n'),
    'RISC-V': ('hart : 0\nisa : rv64imafdc\n', 'hart : 0\nisa : rv64imafdcv\n'),
}


@pytest.mark.parametrize('kind', CPUS)
def test_kinds_of_cpus_are_told_apart(monkeypatch, kind):
    """Whatever the system calls what tells them apart; how quick one is just now does not."""

    def cpu(text: str, clock: int) -> str:
        text += f'clock : {clock}.0MHz\n\nprocessor : 1\nclock : {clock + 1}MHz\n'
        monkeypatch.setattr(Path, 'read_text', lambda *args, **kwargs: text)
        return build._cpu()

    one, other = CPUS[kind]
    assert cpu(one, 2000) == cpu(one, 3000) != ''
    assert cpu(other, 2000) != cpu(one, 2000)


def test_cxx_may_have_arguments(compiler, lines, monkeypatch, tmp_path):
    """As ``ccache g++`` has one."""
    log = compiler()
    wrapper = tmp_path / 'a wrapper'
    wrapper.write_text('#!/bin/sh\nexec "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv('CXX', shlex.join([str(wrapper), str(tmp_path / 'cc')]))
    library = build._prepare()
    assert json.loads(build._description(library).read_text())['compiler'] == VERSION
    assert len(calls(log)) == 1
    assert lines == ['compiling the kernels of fused: about a minute, once']


@pytest.mark.parametrize('named', ['none at all', "'open"])
def test_another_compiler_goes_on_where_cxx_names_none(
    compiler, lines, monkeypatch, tmp_path, named
):
    log = compiler(name='g++')
    monkeypatch.setenv('CXX', named)
    monkeypatch.setattr(build, 'COMPILERS', ('c++ of nobody', str(tmp_path / 'g++')))
    assert build._is_usable(build._prepare())
    assert len(calls(log)) == 1
    assert lines == [
        f"compiling the kernels of fused by {tmp_path / 'g++'} (CXX='{named}' names none): "
        'about a minute, once'
    ]


FAILURES = {
    'says why': (
        'echo "a note" >&2; echo "x.cpp:1: error: broken" >&2; exit 1',
        f'x.cpp:1: error: broken (by {VERSION})',
    ),
    'is old': (
        'echo "cc: error: unrecognized command line option \'-std=c++20\'" >&2; exit 1',
        f"cc: error: unrecognized command line option '-std=c++20' (by {VERSION})",
    ),
    'has no room': (
        'printf "x.s: No space left on device\\nld: error: 1\\n" >&2; exit 1',
        f'x.s: No space left on device (by {VERSION})',
    ),
    'ends by a signal': ('kill -SEGV $$', 'died with <Signals.SIGSEGV: 11>.'),
    'says nothing': ('exit 3', 'returned non-zero exit status 3.'),
    'hangs': ('exec sleep 20', 'timed out after 0.3 seconds'),
    'makes nothing': ('exit 0', 'cc made no library'),
}


@pytest.mark.parametrize('failure', FAILURES)
def test_a_compiler_that_fails(compiler, cache, lines, monkeypatch, failure):
    body, reason = FAILURES[failure]
    compiler(body)
    monkeypatch.setattr(build, 'PATIENCE', 0.3 if failure == 'hangs' else 60)
    found = why()
    assert reason in found and '\n' not in found
    assert [path.suffix for path in cache.iterdir()] in ([], ['.lock'])


@pytest.mark.parametrize(
    'text',
    ['#!/nowhere\n', '#!/bin/sh\necho "xcrun: error: no developer tools" >&2\nexit 1\n'],
    ids=['does not run', 'has no version'],
)
def test_a_compiler_that_is_none(compiler, lines, text):
    compiler(text=text)
    expected = 'does not run' if 'nowhere' in text else 'xcrun: error: no developer tools'
    assert expected in why()


def test_a_compiler_without_openmp(compiler, lines):
    log = compiler('case $* in *-fopenmp*) echo "error: \'-fopenmp\'" >&2; exit 1;; esac')
    library = build._prepare()
    first, probe, second = calls(log)
    assert '-fopenmp' in first and '-fopenmp' in probe
    assert second == first.replace('-fopenmp ', '')
    assert build._is_usable(library)
    assert lines[1:] == ['the compiler has no OpenMP: the kernels of fused run in one thread']


def no_space(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize('case', ['a file', 'under a file', 'read-only', 'full'])
def test_a_folder_that_cannot_be_used(compiler, cache, lines, monkeypatch, case):
    log = compiler()
    reason = dict.fromkeys(['a file'], 'File exists')
    reason.update({'under a file': 'Not a directory', 'full': 'No space left on device'})
    if case.endswith('a file'):
        cache.write_text('')
    if case == 'under a file':
        monkeypatch.setenv('RDARTS_CACHE', str(cache / 'deeper'))
    if case == 'read-only':

        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(cache))

        monkeypatch.setattr(build.tempfile, 'TemporaryDirectory', refuse)
    if case == 'full':
        monkeypatch.setattr(Path, 'write_text', no_space)
    assert why() == (
        f'{build.cache_folder()}, where compiled kernels are kept, cannot be used '
        f'({reason.get(case, "Read-only file system")}): RDARTS_CACHE names another folder'
    )
    assert len(calls(log)) == (case == 'full')


def test_a_library_that_does_not_load(compiler, lines):
    """It is what the compiler made, so that to make it again is of no use."""
    log = compiler()
    for _ in range(2):
        found = why()
        assert build._prepare().name in found and 'too short' in found and '\n' not in found
    assert len(calls(log)) == 1


def test_pytorch_goes_on_with_one_line_in_the_log(compiler, lines, told, monkeypatch):
    compiler(*FAILURES['says why'][:1])
    monkeypatch.delenv('RDARTS_NATIVE', raising=False)
    monkeypatch.setattr(cpp_module, 'load_library', build.load_library.__wrapped__)
    monkeypatch.setattr(choose, '_chosen', {})
    kind = (torch.device('cpu'), torch.float32, 8)
    for _ in range(2):
        assert kernels.choose_backend(*kind, told=True).name == 'torch'
    assert told == [f'{FALLBACK}x.cpp:1: error: broken (by {VERSION})']


def test_a_process_that_compiles_is_waited_for(compiler, lines, monkeypatch):
    """The other has made the library when its lock is free."""
    log = compiler()
    library = build._prepare()
    made = library.rename(library.with_name('made'))
    lock = FileLock(f'{library}.lock')
    lock.acquire()

    def finish(line: str, logger: str) -> None:
        lines.append(line)
        made.rename(library)
        lock.release()

    monkeypatch.setattr(build, 'print_log', finish)
    assert build._prepare() == library
    assert lines[1:] == ['waiting for a process that compiles the kernels of fused']
    assert len(calls(log)) == 1


def test_a_process_that_does_not_end_is_not_waited_for_without_end(compiler, lines, monkeypatch):
    log = compiler()
    library = build._prepare()
    library.unlink()
    monkeypatch.setattr(build, 'LOCK_PATIENCE', 0)
    with FileLock(f'{library}.lock'):
        assert build._is_usable(build._prepare())
    assert len(calls(log)) == 2


@pytest.mark.parametrize('error', [OSError(errno.ENOLCK, 'no locks'), NotImplementedError()])
def test_a_file_system_without_locks(compiler, lines, monkeypatch, error):
    def acquire(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, 'acquire', acquire)
    compiler()
    assert build._is_usable(build._prepare())


def test_two_processes_compile_once(compiler, cache, tmp_path):
    """Both find the library when they are through."""
    log = compiler('sleep .5')
    children = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            try:
                os._exit(0 if build._is_usable(build._prepare()) else 2)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    assert len(calls(log)) == 1


def test_a_library_is_of_its_compiler_and_flags(compiler, lines, monkeypatch, tmp_path):
    """Another compiler, version, flag, PyTorch or CPU makes another file."""

    def change(target: object, name: str, value: object) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            return build._library(first)

    compiler(name='second')
    compiler(name='first')
    first = (str(tmp_path / 'first'),)
    names = [build._library(first), build._library((str(tmp_path / 'second'),))]
    assert build._library(first) == names[0]
    compiler(name='first', text=COMPILER.replace(VERSION, 'cc 13.1'))
    names.append(build._library(first))
    flags = build._flags()
    assert '-O3' in flags
    names.append(change(build, '_flags', lambda: [*flags, '-g']))
    names.append(change(build.torch, '__version__', '9.9'))
    names.append(change(build, '_cpu', lambda: 'another'))
    names.append(build._library((*first, '-m64')))
    assert len(set(names)) == len(names)
    # without a compiler, or with one that does not work, what is there is taken
    broken = (str(tmp_path / 'missing'),)
    assert build._library(None) not in names
    assert build._prepare() == names[2]
    assert build._library(None) == build._library(broken) == names[2]
    assert change(build, '_cpu', lambda: 'another') != names[2]


# One process for all cases, as importing torch takes seconds: each case forks.
SCRIPT = """
import os, sys
import torch
from rdarts.models.kernels.backends import has_cpp
from rdarts.models.mixed_ops.mixed_op import MixedOp

for case in sys.argv[1:]:
    print(f'== {case}', flush=True)
    pid = os.fork()
    if not pid:
        for pair in case.split(','):
            name, _, value = pair.partition('=')
            os.environ[name] = value
        mixed = MixedOp(['skip_connect', 'nor_conv_3x3'], 8)
        mixed.execution = 'fused'
        out = mixed(torch.ones(2, 8, 4, 4), torch.ones(2))
        again = mixed(torch.ones(2, 8, 4, 4), torch.ones(2))
        print('native', has_cpp(), 'finite', bool(out.isfinite().all()), flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print('exit code', os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.slow
def test_where_the_library_cannot_be_had(tmp_path):
    blocked, file = tmp_path / 'blocked', tmp_path / 'file'
    file.write_text('')
    failing = tmp_path / 'failing'
    failing.write_text('#!/bin/sh\necho "a note" >&2\necho "x.cpp:1: error: broken" >&2\nexit 1\n')
    failing.chmod(0o755)
    cases = {
        f'RDARTS_CACHE={tmp_path / "a"},CXX=/bin/false': ('returned non-zero exit status 1', 1),
        f'RDARTS_CACHE={tmp_path / "b"},CXX={failing}': ('x.cpp:1: error: broken', 1),
        f'RDARTS_CACHE={tmp_path / "c"},CXX=none,PATH=/nowhere': ('no C++ compiler was found', 0),
        f'RDARTS_CACHE={file}': ('exists', 0),
        f'RDARTS_CACHE={file / "d"}': ('Not a directory', 0),
        f'RDARTS_CACHE={blocked},RDARTS_NATIVE=0': ('RDARTS_NATIVE=0 leaves it out', 0),
    }
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, *cases],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', RDARTS_NATIVE='1'),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stdout + done.stderr
    parts = done.stdout.split('== ')[1:]
    assert len(parts) == len(cases)
    for part, (case, (reason, compiling)) in zip(parts, cases.items(), strict=True):
        assert part.startswith(case)
        assert 'native False finite True' in part, part
        assert 'exit code 0' in part, part
        said = [line for line in part.splitlines() if FALLBACK in line]
        assert len(said) == 1, part
        assert reason in said[0]
        assert part.count('compiling the kernels of fused') == compiling
    assert not blocked.exists()
    assert not [path for path in tmp_path.rglob('*') if path.suffix == '.so']


@pytest.mark.slow
def test_a_compiled_library_is_loaded_and_not_compiled_again(cpp, monkeypatch, tmp_path):
    """The file that is there is taken, without any compiler."""
    (tmp_path / 'cache').symlink_to(build.cache_folder())
    case = f'RDARTS_CACHE={tmp_path / "cache"},CXX=/bin/false'
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, case],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 'native True finite True' in done.stdout, done.stdout + done.stderr
    assert 'compiling' not in done.stdout
