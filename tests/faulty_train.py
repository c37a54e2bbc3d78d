"""Searches in which one file operation fails, or ends the process, and how they resume.

    faulty_train.py CONFIG FOLDER CASES

CONFIG is trained under FOLDER by ``tools/train.py``: once without a fault, which counts what
changes files there (opening for writing, writing, flushing, closing, syncing, renaming, deleting,
truncating, making folders), then again, where at each chosen operation a process is forked in which
it goes wrong, to its end. Its files are then resumed with ``--resume`` in a process forked after
all imports, and put back as they were. CASES is a JSON list whose entries are

* ``faults``: of ``ENOSPC`` (the operation and all later ones but deleting and closing fail),
  ``EIO`` (it alone fails) and ``end`` (the process ends there, within a write after half of it);
* ``during``: ``start``, or ``resume`` for a fault in a start that resumes one which ended between
  a checkpoint and the file that names it;
* ``part``, from 0 to 1: the one operation there; ``after``, such as ``replace .iter_3.pth.tmp``:
  the one that follows; or ``share``, ``shares`` and ``every``: every so many-th operation of that
  share of them all.

Of writes to one file in a row, the first, the middle and the last are operations to choose from.
Where a case leaves the files that a resumed start reads (all but the logs in the folder named by
the time) as an earlier case did, they are not resumed again.

Printed is a JSON object: ``operations`` and ``chosen`` (how many there are, and are to choose from,
in each kind of start), ``cases`` (how many were tried), ``resumed`` (how many of them were resumed)
and ``wrong`` (what did not hold).

To be quick, nothing is really synced (no power fails here), the config is not laid out by yapf,
and what a run reads of its machine and the digits is read once.
"""

from __future__ import annotations

import atexit
import builtins
import errno
import gc
import hashlib
import importlib
import io
import json
import logging
import os
import random
import re
import runpy
import shutil
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from quick_runs import read_once, write_configs_as_they_come

TRAIN = Path(__file__).resolve().parent.parent / 'tools' / 'train.py'
ENDED = 99  # exit code of a process that was ended
OPTIONS = (  # one checkpoint at an epoch's end, one within the next, one at the end
    'train_cfg.max_epochs=2',
    'default_hooks.checkpoint.iter_interval=3',
    'default_hooks.checkpoint.max_keep_ckpts=2',
)
LAST = 'epoch_2_iter_4.pth'
STATES = ('state_dict', 'optimizer', 'arch', 'random_state')
MEASURED = ('time', 'data_time', 'memory')


# One start


class Faults:
    """Counts file operations under a folder, and makes one go wrong.

    Args:
        folder: What it is about.
        end: Number of the operation, from 1, at which the process ends.
        cases: By number of the operation, the faults that a forked process meets there.
    """

    def __init__(self, folder: Path, end: int = 0, cases: dict[int, list[str]] | None = None):
        self.folder, self.cases = os.path.abspath(folder), cases or {}
        self.fault, self.number = ('end', end) if end else ('', 0)
        self.operations: list[str] = []
        self.files: weakref.WeakSet[_File] = weakref.WeakSet()
        self.ask: Callable[[str], None] = lambda text: None  # the process that forked this one
        self.output = os.devnull  # of a forked process

    def concerns(self, path: Any) -> bool:
        """Whether a path, or an open file's number, is under the folder."""
        path = os.path.abspath(self._path_of(path))
        return path == self.folder or path.startswith(self.folder + os.sep)

    def at(self, name: str, path: Any, half: Callable[[], Any] | None = None) -> None:
        """An operation is about to happen: let it fail, or end the process, where it is its turn.

        Args:
            name: What it is.
            path: Of the file, or its number.
            half: Does half of it.
        """
        self.operations.append(f'{name} {self._path_of(path)}')
        now = len(self.operations)
        if not self.fault and now in self.cases:
            self._fork(now)
        later = self.fault == 'ENOSPC' and now > self.number and name not in ('unlink', 'close')
        if not self.fault or (now != self.number and not later):
            return
        if half is not None:
            half()
        if self.fault == 'end':
            os._exit(ENDED)
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number))

    def _fork(self, number: int) -> None:
        """Let a forked process meet each fault; this one goes on as if nothing had been."""
        self.ask('save')
        numbers = [file.fileno() for file in self.files if not file.closed]
        places = [(number, os.lseek(number, 0, os.SEEK_CUR)) for number in numbers]
        locks = [handler.lock for handler in logging._at_fork_reinit_lock_weakset]
        held = [(lock, lock._release_save()) for lock in locks if lock._is_owned()]
        for lock, depth in held:
            lock._acquire_restore(depth)
        state = random.getstate()
        for fault in self.cases[number]:
            pid = os.fork()
            if pid == 0:
                self.fault, self.number = fault, number
                random.setstate(state)  # Python draws another in a fork, and frees the locks
                for lock, depth in held:
                    lock._acquire_restore(depth)
                _print_to(self.output)
                return
            _, status = os.waitpid(pid, 0)
            self.ask(f'{fault} {number} {os.waitstatus_to_exitcode(status)}')
            for place in places:  # which the two processes share
                os.lseek(*place, os.SEEK_SET)

    def install(self) -> None:
        """Put the counting in the place of the functions of ``os`` and ``open``."""
        names = ('replace', 'rename', 'unlink', 'remove', 'mkdir', 'truncate', 'ftruncate', 'write')
        for name in names:
            setattr(os, name, self._counted(getattr(os, name), name))
        os.fsync = self._counted(lambda number: None, 'fsync')
        plain, plain_number = builtins.open, os.open

        def opened(file: Any, mode: str = 'r', *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set('wax+') or not self.concerns(file):
                return plain(file, mode, *args, **kwargs)
            self.at('open', file)
            return _File(plain(file, mode, *args, **kwargs), file, self)

        def opened_number(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self.concerns(path):
                self.at('open', path)
            return plain_number(path, flags, *args, **kwargs)

        builtins.open = io.open = opened
        os.open = opened_number

    def _counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self.concerns(path):
                self.at('unlink' if name == 'remove' else name, path)
            return function(path, *args, **kwargs)

        return counted

    @staticmethod
    def _path_of(path: Any) -> str:
        if isinstance(path, int):
            try:
                path = os.readlink(f'/proc/self/fd/{path}')
            except OSError:
                return ''
        return os.fsdecode(path)


class _File:
    """An open file whose operations count."""

    def __init__(self, file: Any, path: Any, faults: Faults) -> None:
        self._file, self._path, self._faults = file, path, faults
        faults.files.add(self)

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.at('write', self._path, half)
        return self._file.write(data)

    def flush(self) -> None:
        self._faults.at('flush', self._path)
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:

            def half() -> None:
                # an error of closing is one of flushing, and the file is closed all the same
                if self._faults.fault != 'end':
                    self._file.close()

            self._faults.at('close', self._path, half)
        self._file.close()
        self._faults.files.discard(self)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@dataclass
class Started:
    """What a start left.

    Args:
        code: Its exit code.
        said: What it printed, to both outputs.
        operations: That it counted, where nothing ended it.
        modules: That it had imported, likewise.
    """

    code: int
    said: str
    operations: list[str]
    modules: list[str]


def start(
    args: Sequence[str], faults: Faults, notes: Path, answer: Callable[[str], None] | None = None
) -> Started:
    """Run ``tools/train.py`` in a fork of this process.

    Args:
        args: Its arguments.
        faults: What goes wrong in it.
        notes: A folder for what it says.
        answer: Does what it asks for.
    """
    output, counted = notes / 'output.txt', notes / 'counted.json'
    counted.unlink(missing_ok=True)
    sys.stdout.flush()
    (asked, asks), (answered, answers) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(asked)
        os.close(answers)

        def ask(text: str) -> None:
            os.write(asks, f'{text}\n'.encode())
            assert os.read(answered, 1), 'nobody answers'

        faults.ask, faults.output = ask, notes / 'forked.txt'
        _train(args, faults, output, counted)
    os.close(asks)
    os.close(answered)
    with open(asked) as questions:
        for question in questions:
            answer(question.rstrip())
            os.write(answers, b'.')
    os.close(answers)
    _, status = os.waitpid(pid, 0)
    found = json.loads(counted.read_text()) if counted.exists() else ([], [])
    said = output.read_text(errors='replace')
    return Started(os.waitstatus_to_exitcode(status), said, *found)


def _print_to(path: str | Path) -> None:
    sys.stdout.flush()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(number, 1)
    os.dup2(number, 2)
    os.close(number)


def _train(args: Sequence[str], faults: Faults, output: Path, counted: Path) -> None:
    """The forked process; does not return."""
    code: Any = 1
    _print_to(output)
    sys.stdout = open(1, 'w', buffering=1, closefd=False)
    sys.stderr = open(2, 'w', buffering=1, closefd=False)
    try:
        sys.argv = [str(TRAIN), *args]
        faults.install()
        runpy.run_path(str(TRAIN), run_name='__main__')
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    counted.write_text(json.dumps([faults.operations, sorted(sys.modules)]))
    os._exit(code)


# What a search ends with


def fingerprint(work_dir: Path) -> dict[str, str]:
    """What a search ends with, less times and memory: names and texts, or a hash of states."""
    found = {
        str(path.relative_to(work_dir)): path.read_text()
        for path in [*sorted(work_dir.glob('genotype*/*.json')), work_dir / 'genotype.json']
    }
    found['split'] = (work_dir / 'split.json').read_text()
    found['last'] = Path((work_dir / 'last_checkpoint').read_text()).name
    rows = map(json.loads, (work_dir / 'search_log.jsonl').read_text().splitlines())
    found['log'] = '\n'.join(
        json.dumps({key: value for key, value in row.items() if key not in MEASURED})
        for row in rows
    )
    found['files'] = ' '.join(sorted(p.name for p in work_dir.iterdir() if p.is_file()))
    found['report'] = (work_dir / 'report.html').read_text().rstrip()[-len('</html>') :]
    found['config'] = str(sorted(json.loads((work_dir / 'config.json').read_text())))

    from rdarts.checkpoint.reading import read_checkpoint

    checkpoint = read_checkpoint(work_dir / LAST)
    for key in STATES:
        digest = hashlib.sha256()
        for part in _parts(checkpoint[key]):
            digest.update(part)
        found[key] = digest.hexdigest()
    meta = checkpoint['meta']
    found['meta'] = str((meta['epoch'], meta['iter'], meta['seed']))
    return found


def state_of(work_dir: Path) -> str:
    """A hash of the files that a resumed start reads, less times and memory."""
    digest = hashlib.sha256()
    for path in sorted(work_dir.rglob('*')):
        name = re.sub(r'\d{8}_\d{6}', 'TIME', str(path.relative_to(work_dir)))
        digest.update(f'\n{name}\n'.encode())
        if path.is_dir() or name.startswith(('TIME', '.lock', 'report')):
            continue  # only written
        data = path.read_bytes()
        for part in _without_times(path, data):
            digest.update(part)
    return digest.hexdigest()


def _without_times(path: Path, data: bytes) -> Iterator[bytes]:
    from rdarts.checkpoint.reading import read_checkpoint

    if path.suffix == '.jsonl':
        for line in data.splitlines(keepends=True):
            yield re.sub(rb'"(time|data_time|memory)": [-\d.e]*', b'', line)
    elif path.suffix == '.pth':
        try:
            checkpoint = read_checkpoint(path)
        except Exception:
            yield b'damaged'
        else:
            kept = [key for key in checkpoint if key not in ('message_hub', 'meta')]
            meta = {key: checkpoint['meta'][key] for key in ('epoch', 'iter', 'seed')}
            yield from _parts([kept, [checkpoint[key] for key in kept], meta])
    elif path.suffix == '.tmp':
        yield str(len(data) > 0).encode()  # cleared away, or written anew
    else:
        yield data


def _parts(value: Any) -> Iterator[bytes]:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
    if isinstance(value, np.ndarray):
        yield f'{value.dtype}{value.shape}'.encode()
        yield value.tobytes()
    elif isinstance(value, dict):
        yield b'{'
        for key, item in value.items():
            yield repr(key).encode()
            yield from _parts(item)
        yield b'}'
    elif isinstance(value, (list, tuple)):
        yield b'['
        for item in value:
            yield from _parts(item)
        yield b']'
    else:
        yield repr(value).encode()


# All cases


def choose(operations: Sequence[str]) -> list[int]:
    """Numbers of the operations to try: of writes to one file in a row only three."""
    chosen, number = [], 1
    for what, group in groupby(operations):
        count = len(list(group))
        numbers = range(number, number + count)
        if what.startswith('write '):
            numbers = sorted({numbers[0], numbers[count // 2], numbers[-1]})
        chosen.extend(numbers)
        number += count
    return chosen


def following(operations: Sequence[str], what: str) -> int:
    """Number of the operation after the only one that is this: its name and its file's."""
    name, file = what.split()
    (number,) = [
        number
        for number, operation in enumerate(operations, 1)
        if operation.startswith(f'{name} ') and operation.endswith(f'/{file}')
    ]
    return number + 1


class Search:
    """The search without a fault, and the cases that are compared with it.

    Args:
        config: Of the search.
        folder: For all files.
        resumes: Whether faults in a resumed start are asked for.
    """

    def __init__(self, config: str, folder: Path, resumes: bool) -> None:
        self.config, self.work_dir = config, folder / 'run'
        self.base, self.saved, self.notes = folder / 'base', folder / 'saved', folder / 'notes'
        self.notes.mkdir()
        self.resumed: set[str] = set()  # states of files that did
        self.tried, self.faulty = 0, []
        whole = self._start(Faults(self.work_dir))
        assert whole.code == 0, whole.said
        self._import(whole.modules)
        self.expected = fingerprint(self.work_dir)
        self.operations = dict(start=whole.operations)
        shutil.rmtree(self.work_dir)
        if resumes:
            unnamed = following(whole.operations, 'replace .iter_3.pth.tmp')
            assert self._start(Faults(self.work_dir, end=unnamed)).code == ENDED
            shutil.copytree(self.work_dir, self.base)
            resumed = self._start(Faults(self.work_dir), '--resume')
            assert resumed.code == 0, resumed.said
            self.operations['resume'] = resumed.operations
        self.chosen = {during: choose(names) for during, names in self.operations.items()}

    def _start(
        self, faults: Faults, *args: str, answer: Callable[[str], None] | None = None
    ) -> Started:
        args = (self.config, '--work-dir', str(self.work_dir), *args, '--cfg-options', *OPTIONS)
        return start(args, faults, self.notes, answer)

    @staticmethod
    def _import(modules: Sequence[str]) -> None:
        """Let later forks find what a run imports late."""
        for name in modules:
            if name not in sys.modules:
                try:
                    importlib.import_module(name)
                except Exception:
                    continue  # made by another module, or only where that is loaded
        gc.collect()
        gc.freeze()

    def run(self, during: str, cases: dict[int, list[str]]) -> None:
        """Try cases of a ``start`` or a ``resume``.

        Args:
            during: Which.
            cases: Faults by number of the operation.
        """

        def answer(question: str) -> None:
            if question == 'save':
                self._save()
                return
            fault, number, code = question.split()
            names = self.operations[during]
            wrong = self._judge(fault, int(code))
            if wrong:
                what = f'{fault} at {number} of {len(names)} of a {during}'
                self.faulty.append(f'{what}, {names[int(number) - 1]}: {wrong}')
            self.tried += 1
            with open(self.notes / 'cases.txt', 'a') as file:
                file.write(f'{fault} {number} of a {during}: {wrong or "good"}\n')
            self._put_back()

        shutil.rmtree(self.work_dir, ignore_errors=True)
        args = []
        if during == 'resume':
            shutil.copytree(self.base, self.work_dir)
            args = ['--resume']
        whole = self._start(Faults(self.work_dir, cases=cases), *args, answer=answer)
        assert whole.code == 0, whole.said
        different = self._differences()
        assert not different, f'the search that is forked is not the one without:{different}'

    def _save(self) -> None:
        """Remember the files: the texts, and by hard links those that are open."""
        shutil.rmtree(self.saved, ignore_errors=True)
        self.saved.mkdir()
        self.folders, self.contents = [], {}
        if self.work_dir.exists():
            for path in [self.work_dir, *sorted(self.work_dir.rglob('*'))]:
                if path.is_dir():
                    self.folders.append(path)
                else:
                    link = self.saved / str(len(self.contents))
                    os.link(path, link)
                    self.contents[path] = link, link.read_bytes()

    def _put_back(self) -> None:
        shutil.rmtree(self.work_dir, ignore_errors=True)
        for path in self.folders:
            path.mkdir()
        for path, (link, data) in self.contents.items():
            if link.read_bytes() != data:
                with open(link, 'r+b') as file:
                    file.truncate()
                    file.write(data)
            os.link(link, path)

    def _judge(self, fault: str, code: int) -> str:
        """What does not hold of a process that met a fault; empty where all does."""
        said = (self.notes / 'forked.txt').read_text(errors='replace')
        errors = [line for line in said.splitlines() if line.startswith('error: ')]
        if 'Traceback' in said:
            return f'a traceback\n{said[-2000:]}'
        if fault == 'end' and code != ENDED:
            return f'code {code}\n{said[-2000:]}'
        if fault != 'end' and code and (code not in (1, 2) or len(errors) != 1):
            return f'code {code}, {len(errors)} errors\n{said[-2000:]}'
        state = state_of(self.work_dir)
        if state in self.resumed:
            return ''
        if self.work_dir.exists():  # files that no other process has open
            copied = shutil.copytree(self.work_dir, self.work_dir.with_name('copied'))
            shutil.rmtree(self.work_dir)
            os.rename(copied, self.work_dir)
        again = self._start(Faults(self.work_dir), '--resume')
        if again.code != 0 or 'Traceback' in again.said:
            return f'resumed, code {again.code}\n{again.said[-2000:]}\nbefore:\n{said[-2000:]}'
        different = self._differences()
        if different:
            return f'resumed, differs{different}\n{again.said[-2000:]}\nbefore:\n{said[-2000:]}'
        self.resumed.add(state)
        return ''

    def _differences(self) -> str:
        try:
            found = fingerprint(self.work_dir)
        except Exception:
            return '\n' + traceback.format_exc()
        keys = [
            key for key in {**self.expected, **found} if self.expected.get(key) != found.get(key)
        ]
        return ''.join(f'\n{key}: {self.expected.get(key)}\n{found.get(key)}' for key in keys)


def prepare() -> None:
    """Leave out what costs time and tells nothing, and read now what each start would read."""
    write_configs_as_they_come()
    read_once()
    import mmengine.runner.runner
    import sklearn.datasets

    mmengine.runner.runner.collect_env()
    sklearn.datasets.load_digits()


def main() -> None:
    config, folder, cases = sys.argv[1:]
    prepare()
    cases = json.loads(cases)
    search = Search(config, Path(folder), any(case['during'] == 'resume' for case in cases))
    for during, chosen in search.chosen.items():
        faults: dict[int, list[str]] = {}
        for case in cases:
            if case['during'] != during:
                continue
            if 'part' in case:
                numbers = [chosen[int(case['part'] * (len(chosen) - 1))]]
            elif 'after' in case:
                numbers = [following(search.operations[during], case['after'])]
            else:
                numbers = chosen[:: case['every']]
                bounds = (len(numbers) * (case['share'] + i) // case['shares'] for i in (0, 1))
                numbers = numbers[slice(*bounds)]
            for number in numbers:
                faults.setdefault(number, []).extend(case['faults'])
        if faults:
            search.run(during, faults)
    counts = {
        name: {during: len(found) for during, found in of.items()}
        for name, of in (('operations', search.operations), ('chosen', search.chosen))
    }
    found = dict(counts, cases=search.tried, resumed=len(search.resumed), wrong=search.faulty)
    print('\n' + json.dumps(found))


if __name__ == '__main__':
    main()
