"""What a number of noise takes."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers import run_tool

from rdarts.measure import noise_time
from rdarts.models.kernels.backends import has_cpp


def test_more_numbers_than_memory_are_refused():
    done = run_tool(['benchmarks/noise_time.py', '--numbers', 10**14])
    assert done.code == 2
    assert done.err == 'error: --numbers must be 268,435,456 at most, but is 100,000,000,000,000\n'


def test_who_draws_takes_turns(monkeypatch, capsys):
    ticks = itertools.accumulate(itertools.cycle([1e-3, 2e-3]))
    monkeypatch.setattr(noise_time.time, 'process_time', lambda: next(ticks))
    threads = torch.get_num_threads()
    try:
        result = noise_time.measure(numbers=1000, repeats=2)
    finally:
        torch.set_num_threads(threads)
    names = [*(['C++'] if has_cpp() else []), 'NumPy', "torch's normal_"]
    assert list(result['ns']) == names
    for row in result['ns'].values():
        assert row == pytest.approx(dict(float32=2000, float64=2000))
    noise_time.print_table(result)
    heading, _, *rows = capsys.readouterr().out.splitlines()
    assert heading.startswith('1,000 numbers, ')
    assert rows[0] == '| drawn by | float32, core ns | float64, core ns |'
    assert rows[2:] == [f'| {name} | 2000.00 | 2000.00 |' for name in names]
