"""How a step scales with threads: quotients by hand, and what runs with how many."""

from __future__ import annotations

import pytest
import torch
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure import scaling
from rdarts.measure.counts import Rates
from rdarts.measure.scaling import Scaling
from rdarts.measure.search import Search


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures('one_thread')
def test_one_thread_and_all_take_turns(monkeypatch):
    ran, now = [], iter(range(100))
    monkeypatch.setattr(Search, 'step', lambda self: ran.append(torch.get_num_threads()))
    # a step of one thread takes 6 s, then 8 s, of three 4 s
    seconds = iter([6, 4, 8, 4, 8, 4])
    clock = [0.0]

    def tick():
        if next(now) % 2:
            clock[0] += next(seconds)
        return clock[0]

    monkeypatch.setattr(scaling, 'now', tick)
    monkeypatch.setattr(scaling, 'count_step', lambda search: [])
    monkeypatch.setattr(scaling, 'measure_rates', lambda: Rates(torch.get_num_threads(), 2.0))
    monkeypatch.setattr(scaling, '_operators', lambda *args: [])
    settings = settings_of(threads=3, steps=2, warmup=1)
    torch.set_num_threads(1)
    found = scaling.measure(settings)
    assert ran == [1, 3] * 3 and torch.get_num_threads() == 1
    assert (found.one, found.all) == (8.0, 4.0)
    assert found.efficiency == pytest.approx(8 / (3 * 4))
    assert found.rates == [Rates(1.0, 2.0), Rates(3.0, 2.0)]


def test_the_operators_that_lose_most_come_first(capsys):
    settings = settings_of(threads=2, executions=('plain',))
    found = scaling.measure(settings)
    lost = [several - one / 2 for _, one, several in found.operators]
    assert lost == sorted(lost, reverse=True)
    assert {'aten::convolution', 'aten::convolution_backward'} <= {
        row[0] for row in found.operators
    }
    capsys.readouterr()
    rates = [Rates(10.0, 4.0), Rates(19.0, 4.0)]
    operators = [('rdarts::mix', 0.004, 0.003), ('aten::view', 0.0, 0.0)]
    scaling.print_table(settings, Scaling(0.4, 0.25, 0.8, rates, operators))
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].split() == ['rdarts::mix', '4.0', '3.0', '0.67', '1.0']
    assert lines[6].split() == ['aten::view', '0.0', '0.0', '-', '0.0']
    assert [line.split()[-1] for line in lines[7:9]] == ['0.95', '0.50']
    assert lines[-1].endswith('one thread 400.0 ms, 2 threads 250.0 ms, scaling 0.80')


def test_one_thread_has_nothing_to_scale():
    with pytest.raises(UserError, match='2 --threads or more'):
        scaling.measure(settings_of(threads=1))
    for name in ('processor_time', 'amp'):
        with pytest.raises(UserError, match=f'leave out --{name.replace("_", "-")}$'):
            scaling.measure(settings_of(threads=2, **{name: True}))
