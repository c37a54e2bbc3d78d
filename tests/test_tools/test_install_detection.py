"""``tools/install_detection.py``: what it says is missing, and the compiler it makes."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from helpers import TOOLS


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('install', TOOLS / 'install_detection.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_compiler_takes_c_plus_plus_20_for_17_and_keeps_the_rest(tool, tmp_path):
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nfor a do echo "<$a>"; done\n')
    echo.chmod(0o755)
    compiler = tool.wrap_compiler(f'{echo} first', tmp_path)
    args = ['-std=c++17', '-DNAME="a b"', '-O3', '-std=c++14', '-std=gnu++17']
    done = subprocess.run([compiler, *args], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        '<first>', '<-std=c++20>', '<-DNAME="a b">', '<-O3>', '<-std=c++20>', '<-std=gnu++17>',
    ]  # fmt: skip


def test_what_is_missing_is_named(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool.shutil, 'which', lambda name: None)
    with pytest.raises(tool.Failed, match='no C\\+\\+ compiler .* apt-get install g\\+\\+'):
        tool.find_compiler()
    monkeypatch.setattr(tool.sysconfig, 'get_path', lambda name: str(tmp_path))
    with pytest.raises(tool.Failed, match='Python.h is missing, .*-dev'):
        tool.check_headers()


def test_a_failed_build_leaves_a_log_and_says_why(tool, tmp_path, monkeypatch):
    class Done:
        returncode, stdout = 1, 'x.cpp:3: Error: no such thing\nmake: *** failed\n'
        stderr = ''

    def run(*command, **kwargs):
        done = Done()
        done.returncode = int('wheel' in command and '--wheel-dir' in command)
        return done

    monkeypatch.setattr(tool, 'run', run)
    with pytest.raises(tool.Failed, match='x.cpp:3: Error: no such thing .*build.log'):
        tool.build('2.3.6', tmp_path / 'wheels')
    assert 'make: *** failed' in (tmp_path / 'wheels' / 'build.log').read_text()


def test_a_wheel_is_of_its_pytorch_and_python(tool, tmp_path, monkeypatch):
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path))
    monkeypatch.setattr(tool, 'torch_version', lambda: '2.9.0+cu126')
    folder = tool.wheel_folder('2.3.6')
    assert folder.parent == Path(tmp_path, 'wheels')
    assert folder.name.startswith('mmcv2.3.6-torch2.9.0+cu126-cp3')


def test_the_requirements_are_those_of_the_extra(tool, monkeypatch):
    found = ['torch>=2.4', 'onedl-mmdetection>=3.5.1; extra == "detection"', 'ruff; extra == "x"']
    monkeypatch.setattr(tool.importlib.metadata, 'requires', lambda name: found)
    assert tool.requirements() == ['onedl-mmdetection>=3.5.1']
