"""A step beside others: ratios by hand, and the control group of a quota."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.measure import neighbours
from rdarts.measure.neighbours import Neighbours
from rdarts.measure.settings import StepSettings


def neighbour_runs(**medians):
    """What searches have measured: three steps each, with an outlier."""
    return {
        case: [dict(step_seconds=[0.9 * s, s, 9 * s], threads=2, cpu='c', torch='t')]
        for case, s in medians.items()
    }


def test_ratios_of_neighbours_by_hand(capsys):
    medians = dict(alone=0.4, spinning=0.5, one=0.7, second=0.88, busy=0.6, quota=0.735)
    result = neighbours.summarise(neighbour_runs(**medians))
    ratios = {name: round(result[f'{name}_ratio'], 9) for name in neighbours.RATIOS}
    assert ratios == dict(cost_alone=0.8, second=2.2, busy=1.5, quota=1.05)
    assert result['exceeded'] == ['second']
    assert (result['alone_s'], result['alone_steps'], result['alone_threads']) == (0.4, 3, 2)
    neighbours.print_table(result)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4:] for line in lines if 'too much' in line] == [
        ['2.20', '2.10', 'too', 'much']
    ]


def test_without_a_control_group_the_quota_is_not_measured(capsys):
    result = neighbours.summarise(
        neighbour_runs(alone=1.0, spinning=1.0, one=1.0, second=1.0, busy=1.0)
    )
    assert result['quota_ratio'] is None and result['exceeded'] == []
    neighbours.print_table(result)
    out = capsys.readouterr().out
    assert 'under a quota of one core                 not measured' in out


@pytest.mark.parametrize('version', [1, 2, None])
def test_a_group_with_a_quota(version, tmp_path, monkeypatch):
    mkdir = neighbours.Path.mkdir
    files = {1: ['cpu.cfs_quota_us', 'cpu.cfs_period_us'], 2: ['cpu.max'], None: []}[version]

    def as_the_kernel_does(path):
        mkdir(path)
        for name in files:
            (path / name).touch()

    monkeypatch.setattr(neighbours.Path, 'mkdir', as_the_kernel_does)
    group = neighbours.make_group(tmp_path)
    if version is None:
        assert group is None
        assert [path.name for path in tmp_path.iterdir()] == ['cgroup.subtree_control']
    else:
        found = [(group / name).read_text() for name in files]
        assert found == (['100000', '100000'] if version == 1 else ['100000 100000'])


def test_one_execution_in_float32():
    fused = StepSettings(executions=['fused'])
    for settings, seconds in (
        (StepSettings(executions=['plain', 'fused']), 1.0),
        (StepSettings(executions=['fused'], amp=True), 1.0),
        (fused, 0.0),
    ):
        with pytest.raises(UserError):
            Neighbours(settings, [], seconds)
