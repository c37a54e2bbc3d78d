"""Pictures of searches in phases: lines that end, and what was not chosen."""

from __future__ import annotations

import csv

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from synthetic import write_search
from test_visualization.logs import still_running

from rdarts.results.search_run import find_runs
from rdarts.visualization.plots import OF_QUERIES, PLOTS, plot_runs

SPLIT = (dict(epochs=3), dict(epochs=2, branches=2), dict(epochs=3))
SOLID, DOTTED = '-', (0, (1, 2))


@pytest.fixture
def drawn(monkeypatch):
    """Lines, and upright lines by their place, of all that is drawn."""
    lines, uprights = [], {}
    plot, upright = Axes.plot, Axes.axvline

    def plotting(self, x, y, *args, **kwargs):
        lines.append((list(x), kwargs.get('label'), kwargs.get('alpha')))
        return plot(self, x, y, *args, **kwargs)

    def standing(self, x, **kwargs):
        uprights[x] = kwargs['linestyle']
        return upright(self, x, **kwargs)

    monkeypatch.setattr(Axes, 'plot', plotting)
    monkeypatch.setattr(Axes, 'axvline', standing)
    return lines, uprights


def said(monkeypatch):
    """What stands above a legend."""
    found = []
    legend = Figure.legend

    def legends(self, *args, **kwargs):
        found.append(' '.join((kwargs['title'] or '').split()))
        return legend(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'legend', legends)
    return found


def test_lines_end_where_a_phase_does(tmp_path, drawn, monkeypatch):
    lines, uprights = drawn
    legends = said(monkeypatch)
    run = write_search(tmp_path / 'run', phases=SPLIT, chosen={1: 1})
    plot_runs(find_runs([run]), 'leaders', tmp_path / 'p.svg')
    assert lines == [
        ([1, 2, 3], 'run', None),
        ([4, 5], None, 0.35),
        ([6, 7], None, None),
        ([8, 9, 10], None, None),
    ]
    assert uprights == {3.5: SOLID, 5.5: DOTTED, 7.5: SOLID}
    assert legends == [
        'thin lines: where a phase ends (phase 1: 1 to 3; phase 2, branch 1: 4 to 5; phase 2, '
        'branch 2: 6 to 7; phase 3: 8 to 10); dotted: where a branch ends; pale: branches that '
        'were not chosen'
    ]
    rows = list(csv.DictReader(open(tmp_path / 'p.csv', encoding='utf-8')))
    found = [(row['epoch'], row['phase'], row['branch']) for row in rows]
    assert found[2:5] == [('3', '0', ''), ('4', '1', '0'), ('5', '1', '0')]


def test_a_search_without_phases_is_drawn_as_before(tmp_path, drawn, monkeypatch):
    lines, uprights = drawn
    legends = said(monkeypatch)
    plot_runs(find_runs([write_search(tmp_path / 'run')]), 'leaders', tmp_path / 'p.svg')
    assert lines == [([1, 2, 3, 4], 'run', None)] and uprights == {} and legends == ['']
    assert (tmp_path / 'p.csv').read_text().splitlines()[0].endswith('(%)')


def test_edges_over_phases(tmp_path, drawn):
    lines, uprights = drawn
    run = write_search(tmp_path / 'run', phases=SPLIT, chosen={1: 0})
    plot_runs(find_runs([run]), 'edges', tmp_path / 'p.svg')
    assert len(lines) == 6 * 5 * 4 and uprights == {3.5: SOLID, 5.5: DOTTED, 7.5: SOLID}
    assert [alpha for *_, alpha in lines[:4]] == [None, None, 0.35, None]
    rows = list(csv.DictReader(open(tmp_path / 'p.csv', encoding='utf-8')))
    assert len(rows) == 6 * 5 * 10 and rows[3]['phase'] == '1' and rows[3]['branch'] == '0'


def test_seeds_that_chose_other_branches(tmp_path, drawn):
    """The mean of a branch is pale only where no seed went on with it."""
    lines, _ = drawn
    for seed in (0, 1):
        write_search(tmp_path / 'run' / f'seed_{seed}', phases=SPLIT, chosen={1: seed})
    plot_runs(find_runs([tmp_path]), 'leaders', tmp_path / 'p.svg')
    assert [(x[0], alpha) for x, _, alpha in lines] == [(1, None), (4, None), (6, None), (8, None)]
    assert lines[0][1] == 'run (2 seeds)'


def test_beside_a_search_with_other_phases(tmp_path, drawn, monkeypatch):
    lines, uprights = drawn
    legends = said(monkeypatch)
    one = write_search(tmp_path / 'one', phases=(dict(epochs=2), dict(epochs=2)))
    two = write_search(tmp_path / 'two', phases=(dict(epochs=3), dict(epochs=1)))
    plain = write_search(tmp_path / 'plain')
    still_running(two)
    plot_runs(find_runs([one, two, plain]), 'leaders', tmp_path / 'p.svg')
    assert [x for x, *_ in lines] == [[1, 2], [3, 4], [1, 2, 3], [4], [1, 2, 3, 4]]
    assert uprights == {2.5: SOLID, 3.5: SOLID}
    running = 'still running: two (epoch 4 so far)'
    assert legends == [f'{running} thin lines: where a phase ends']
    rows = list(csv.DictReader(open(tmp_path / 'p.csv', encoding='utf-8')))
    assert [row['phase'] for row in rows] == [*'0011', *'0001', *[''] * 4]


@pytest.mark.slow
def test_every_picture(tmp_path):
    run = write_search(tmp_path / 'run', 'pc_darts_darts_c10', phases=SPLIT, chosen={1: 1})
    for name in set(PLOTS) - {'accuracy', 'distribution', 'lambda', *OF_QUERIES}:
        plot_runs(find_runs([run]), name, tmp_path / f'{name}.png')
