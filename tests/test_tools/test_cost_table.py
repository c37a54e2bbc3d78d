"""``tools/benchmarks/cost_table.py``: what it prints and what it refuses."""

from __future__ import annotations

import importlib
import re
import sys

import pytest
from helpers import TOOLS, run_tool
from test_measure.test_cost_table import CONFIGS, write

from rdarts.cli import run_guarded
from rdarts.measure import cost_table


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'benchmarks'))
    return importlib.import_module('cost_table')


@pytest.fixture
def run(tool, tmp_path, monkeypatch, capsys):
    """Run it in this process: exit code, and what it says of mistakes."""

    def call(config, *args, out='costs.json'):
        out = tmp_path / out
        argv = ['cost_table.py', config, '--out', out, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        code = run_guarded(tool.main)
        printed = capsys.readouterr()
        return code, printed.err

    return call


@pytest.mark.parametrize(
    ('config', 'args', 'message'),
    [
        ('retrain/darts_c10.py', (), 'a cost table is made of a supernet, .* is rdarts.DARTSNet'),
        ('retrain/mobilenet_like_imagenet.py', (), 'the backbone is rdarts.MobileNetLikeNet'),
        (None, ('--shape', 1, 8, 8), '--shape has 1 channel, but the network reads 3'),
        (None, ('--shape', 3, 0, 8), '--shape, --batch-size and --repeats must be 1 or more'),
        (None, ('--repeats', 0), '--shape, --batch-size and --repeats must be 1 or more'),
    ],
)
def test_what_is_refused(run, tmp_path, config, args, message):
    code, line = run(CONFIGS / config if config else write(tmp_path), *args)
    assert code == 2 and len(line.splitlines()) == 1
    assert re.search(message, line), line


def test_a_file_that_cannot_be_written_is_told_before_the_measurement(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_table, 'latency', lambda *args, **kw: pytest.fail('measured'))
    (tmp_path / 'folder').mkdir()
    code, line = run(write(tmp_path), out='folder')
    assert code == 2 and 'folder cannot be written: it is a folder' in line
    (tmp_path / 'file').write_text('')
    code, line = run(write(tmp_path), out='file/costs.json')
    assert code == 2 and 'costs.json cannot be written: ' in line


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path):
    done = run_tool(
        [
            'benchmarks/cost_table.py',
            write(tmp_path),
            '--what',
            'macs',
            '--out',
            tmp_path / 'c.json',
        ]
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f'{tmp_path / "c.json"}: millions of multiply-adds'
