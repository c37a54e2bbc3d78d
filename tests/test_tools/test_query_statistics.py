"""``tools/benchmarks/query_statistics.py`` as a process."""

from __future__ import annotations

import pytest
from helpers import run_tool

TOOL = 'benchmarks/query_statistics.py'


@pytest.mark.data
def test_table_and_file(data_root, tmp_path):
    args = [TOOL, '--seeds', 2, '--queries', 5, 20, '--csv', tmp_path / 'runs.csv', '--markdown']
    args += ['--strategies', 'RandomSearch', 'LocalSearch(initial=3)']
    done = run_tool(args, env=dict(RDARTS_DATA=str(data_root)))
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith('| ')]
    assert [row.split(' | ')[:2] for row in rows[2:]] == [
        [f'| {name}', budget]
        for name in ('RandomSearch', 'LocalSearch(initial=3)')
        for budget in ('5', '20')
    ]
    assert len((tmp_path / 'runs.csv').read_text().splitlines()) == 5
    assert 'LocalSearch(initial=3), seed 1: ' in done.err


@pytest.mark.parametrize(
    ('args', 'text'),
    [
        (['--seeds', 0], '--queries and --seeds must be 1 or more'),
        (['--queries', 0], '--queries and --seeds must be 1 or more'),
        (['--epochs', 13], 'unknown number of epochs 13'),
        (['--strategies', 'Random'], "unknown strategy 'Random'"),
    ],
)
@pytest.mark.data
def test_mistakes(data_root, args, text):
    done = run_tool([TOOL, *args], env=dict(RDARTS_DATA=str(data_root)))
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert text in line and 'Traceback' not in done.err
