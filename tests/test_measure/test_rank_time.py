"""What speaking costs ranks: quotients by hand."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.measure import rank_time
from rdarts.measure.rank_time import Ranks
from rdarts.measure.settings import StepSettings

DESCRIBED = dict(cpu='c', torch='t', threads=1, steps=4, batch_size=8)


def test_quotients_of_rounds_by_hand(capsys):
    # the machine is slower in the second round: a quotient is of one round
    found = dict(
        alone=[[1.0], [2.0], [1.0]],
        apart=[[1.0, 1.5], [2.0, 3.0], [1.0, 1.5]],
        together=[[1.5, 1.5], [2.5, 2.5], [2.0, 2.0]],
        described=DESCRIBED,
    )
    result = rank_time.summarise(found)
    assert (result['alone_s'], result['apart_s'], result['together_s']) == (1.0, 1.25, 2.0)
    assert result['cost_ratio'] == 1.5 / 1.25  # of 1.2, 1.0 and 1.6
    assert result['scaling_ratio'] == 1.0 / 1.5
    assert (result['ranks'], result['rounds'], result['exceeded']) == (2, 3, True)
    rank_time.print_table(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split() == '2 processes that do not speak 1.2500 25.6'.split()
    assert lines[-2] == 'ranks / processes that do not speak: 1.200, at most 1.08  too much'
    assert lines[-1] == 'images/s of 2 ranks / 2 times one process: 0.667'
    found['together'] = found['apart']
    assert not rank_time.summarise(found)['exceeded']


def test_mistakes_are_refused():
    fused = StepSettings(executions=['fused'])
    for settings, ranks, rounds in (
        (fused, 1, 1),
        (fused, 2, 0),
        (StepSettings(executions=['fused'], amp=True), 2, 1),
        (StepSettings(), 2, 1),
    ):
        with pytest.raises(UserError):
            Ranks(settings, [], ranks, rounds)
