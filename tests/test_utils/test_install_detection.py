"""What detection needs, installed: what is said to be missing, and the compiler that is made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdarts.errors import RunFailed
from rdarts.utils import install_detection


def test_the_compiler_takes_c_plus_plus_20_for_17_and_keeps_the_rest(tmp_path):
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nfor a do echo "<$a>"; done\n')
    echo.chmod(0o755)
    compiler = install_detection.wrap_compiler(f'{echo} first', tmp_path)
    args = ['-std=c++17', '-DNAME="a b"', '-O3', '-std=c++14', '-std=gnu++17']
    done = subprocess.run([compiler, *args], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        '<first>', '<-std=c++20>', '<-DNAME="a b">', '<-O3>', '<-std=c++20>', '<-std=gnu++17>',
    ]  # fmt: skip


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install_detection.shutil, 'which', lambda name: None)
    with pytest.raises(RunFailed, match='no C\\+\\+ compiler .* apt-get install g\\+\\+'):
        install_detection.find_compiler()
    monkeypatch.setattr(install_detection.sysconfig, 'get_path', lambda name: str(tmp_path))
    with pytest.raises(RunFailed, match='Python.h is missing, .*-dev'):
        install_detection.check_headers()


def test_a_failed_build_leaves_a_log_and_says_why(tmp_path, monkeypatch):
    class Done:
        returncode, stdout = 1, 'x.cpp:3: Error: no such thing\nmake: *** failed\n'
        stderr = ''

    def run(*command, **kwargs):
        done = Done()
        done.returncode = int('wheel' in command and '--wheel-dir' in command)
        return done

    monkeypatch.setattr(install_detection, 'run', run)
    with pytest.raises(RunFailed, match='x.cpp:3: Error: no such thing .*build.log'):
        install_detection.build('2.3.6', tmp_path / 'wheels')
    assert 'make: *** failed' in (tmp_path / 'wheels' / 'build.log').read_text()


def test_a_wheel_is_of_its_pytorch_and_python(tmp_path, monkeypatch):
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path))
    monkeypatch.setattr(install_detection, 'torch_version', lambda: '2.9.0+cu126')
    folder = install_detection.wheel_folder('2.3.6')
    assert folder.parent == Path(tmp_path, 'wheels')
    assert folder.name.startswith('mmcv2.3.6-torch2.9.0+cu126-cp3')


def test_the_requirements_are_those_of_the_extra(monkeypatch):
    found = ['torch>=2.4', 'onedl-mmdetection>=3.5.1; extra == "detection"', 'ruff; extra == "x"']
    monkeypatch.setattr(install_detection.importlib.metadata, 'requires', lambda name: found)
    assert install_detection.requirements() == ['onedl-mmdetection>=3.5.1']


# What it would do, and what it leaves behind


class Done:
    def __init__(self, stdout='', returncode=0):
        self.stdout, self.stderr, self.returncode = stdout, '', returncode


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Let pip plan some releases over others; gives the commands that are run."""
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(install_detection, 'torch_version', lambda: '2.9.0')
    monkeypatch.setattr(install_detection, 'requirements', lambda: ['onedl-mmdetection>=3.5.1'])
    before = {'numpy': '2.10.1', 'opencv-python': '4.13.0.1', 'scipy': '1.9', 'onedl-mmcv': '2.3.6'}
    monkeypatch.setattr(install_detection, 'installed', before.get)

    def use(found, operators=False):
        commands = []

        def run(*command, env=None):
            commands.append(command)
            if 'pip' not in command:
                return Done(returncode=int(not operators))
            entries = [dict(metadata=dict(name=n, version=v)) for n, v in found.items()]
            return Done(json.dumps(dict(install=entries)))

        monkeypatch.setattr(install_detection, 'run', run)
        return commands

    return use


def test_a_dry_run_says_what_it_would_do_and_does_nothing(plan, tmp_path, capsys):
    commands = plan(
        {'onedl-mmdetection': '3.5.1', 'Numpy': '2.9.9', 'opencv-python': '4.12.0.88',
         'scipy': '1.10'}
    )  # fmt: skip
    install_detection.install_detection(dry_run=True)
    out = capsys.readouterr().out
    assert 'install:   onedl-mmdetection 3.5.1\n' in out
    assert 'update:    scipy 1.9 -> 1.10\n' in out
    assert 'move back: numpy 2.10.1 -> 2.9.9, opencv-python 4.13.0.1 -> 4.12.0.88\n' in out
    assert 'build:     the operators of mmcv 2.3.6 for PyTorch 2.9.0' in out
    assert [
        command for command in commands if 'install' in command and '--dry-run' not in command
    ] == []
    assert not (tmp_path / 'cache').exists()


def test_a_dry_run_where_all_is_there(plan, capsys):
    plan({}, operators=True)
    install_detection.install_detection(dry_run=True)
    assert capsys.readouterr().out == (
        'install:   nothing: all requirements are there\n'
        'build:     nothing: the operators of mmcv are there\n'
    )


def test_a_wheel_that_was_built_before_is_named(plan, capsys):
    plan({})
    folder = install_detection.wheel_folder('2.3.6')
    folder.mkdir(parents=True)
    (folder / 'mmcv.whl').touch()
    install_detection.install_detection(dry_run=True)
    assert f'build:     nothing: the operators of mmcv are in {folder}/mmcv.whl' in (
        capsys.readouterr().out
    )


BUILD = """
from rdarts.utils import install_detection as tool

real = tool.run

def run(*command, env=None):
    if 'wheel' not in command or '--wheel-dir' not in command:
        return real('-c', '')
    # a build: a compiler of its own that writes into its temporary folder as long as it lives
    code = '''
import subprocess, sys, tempfile, time
subprocess.Popen([sys.executable, '-c', "import tempfile, time\\\\nwhile True: tempfile.mkstemp()"])
open(sys.argv[1], 'w').close()
time.sleep(60)
'''
    return real('-c', code, {started!r}, env=env)

tool.run = run
tool.find_compiler, tool.check_headers = lambda: 'c++', lambda: None
tool.torch_version = lambda: '2.9.0'
tool.stop_on_signals()
tool.build('2.3.6', tool.wheel_folder('2.3.6'))
"""


@pytest.mark.slow
@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_nothing(signum, tmp_path):
    started, temporary = tmp_path / 'started', tmp_path / 'tmp'
    temporary.mkdir()
    code = BUILD.format(started=str(started))
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        env=dict(os.environ, RDARTS_CACHE=str(tmp_path / 'cache'), TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for _ in range(600):
        if started.exists():
            break
        time.sleep(0.05)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signum, '')
    assert list(temporary.iterdir()) == []
    assert list((tmp_path / 'cache' / 'wheels').iterdir()) == []
