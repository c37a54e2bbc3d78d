"""Methods beside the softmax: what takes turns, and which figures follow."""

from __future__ import annotations

import re

import pytest
from helpers import TOOLS
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure.method_time import CASES, Case, Taken, case_of, measure, print_table, summarise
from rdarts.measure.search import Search, StepSeconds

FUSED = dict(method='darts', width=8, executions=['fused'])


def took(*whole):
    return [StepSeconds(one, one / 4, 0.0) for one in whole]


def test_a_ratio_is_of_each_step_and_a_mean_where_candidates_are_drawn(capsys):
    settings = settings_of(**FUSED)
    softmax = [StepSeconds(whole, 1.0, 0.0) for whole in (2.0, 4.0, 1.0)]
    cases = dict(
        one=Case('one', 'darts', 2.0),
        drawn=Case('drawn', 'gdas', 3.0),
        weights=Case('weights', 'darts', part='weights'),
    )
    found = dict(
        one=Taken(settings, took(2.0, 2.0, 4.0), softmax),
        drawn=Taken(settings, took(2.0, 2.0, 4.0), softmax, draws=True),
        weights=Taken(settings, took(2.0, 2.0, 4.0), softmax),
    )
    result = summarise(settings, cases, found)
    one, drawn, weights = (result['cases'][name] for name in cases)
    assert (one['s'], one['softmax_s'], one['ratio'], one['steps']) == (2, 2, 1, 3)
    assert drawn['ratio'] == pytest.approx((1 + 0.5 + 4) / 3)
    assert (drawn['s'], drawn['softmax_s']) == (pytest.approx(8 / 3), pytest.approx(7 / 3))
    assert (weights['s'], weights['ratio'], weights['most']) == (0.5, 0.5, None)
    assert result['exceeded'] == [] and result['space'] == 'nb201'
    found['one'].seconds[:] = took(6.0, 9.0, 4.0)
    result = summarise(settings, cases, found)
    assert result['exceeded'] == ['one']
    print_table(settings, result)
    heading, empty, head, line, *rows = capsys.readouterr().out.splitlines()
    assert heading.startswith('darts, nb201, C 8, N 1, batch 2') and empty == ''
    assert head == '| case | C | batch | steps | darts, s | s | ratio | at most |'
    assert rows[0] == '| one | 8 | 2 | 3 | 2.000 | 6.000 | 3.00 | 2.0 |'
    assert {row.count('|') for row in (head, line, *rows)} == {9}


def test_cases_take_turns_with_the_softmax_of_their_size(monkeypatch):
    taken = []
    step = Search.step

    def noted(self):
        relaxation = type(self.supernet.relaxation).__name__
        taken.append((relaxation, len(self.batches['train']['inputs'])))
        return step(self)

    monkeypatch.setattr(Search, 'step', noted)
    settings = settings_of(**FUSED, steps=2, warmup=1)
    names = ('gdas', 'pc_darts_narrow', 'drnas')
    found = measure(settings, {name: case_of(name) for name in names}, draws=3)
    assert tuple(found) == names
    assert {n: (len(t.seconds), len(t.softmax)) for n, t in found.items()} == dict(
        gdas=(3, 3), pc_darts_narrow=(2, 2), drnas=(2, 2)
    )
    assert [found[name].draws for name in names] == [True, False, False]
    # three steps a turn, of which two count
    softmax, gdas, drnas = (3 * [(name, 2)] for name in ('Softmax', 'GumbelSoftmax', 'Dirichlet'))
    assert taken == softmax + gdas + drnas + softmax + gdas + 6 * [('Softmax', 8)]
    assert found['pc_darts_narrow'].settings.batch_size == 8


def test_the_page_on_performance_has_every_case():
    page = (TOOLS.parent / 'docs' / 'en' / 'performance.md').read_text(encoding='utf-8')
    listed = re.findall(r'^\| `(\w+)` \|.*\| ([\d.]*) ?\|$', page, re.MULTILINE)
    cases = [(name, '' if case.most is None else str(case.most)) for name, case in CASES.items()]
    assert [row for row in listed if row[0] in CASES] == cases


@pytest.mark.slow
def test_every_case_takes_a_step():
    settings = settings_of(**FUSED)
    found = measure(settings, CASES, draws=1)
    assert list(found) == list(CASES)
    assert all(0 < step.weights < step.whole for one in found.values() for step in one.seconds)
    assert {name for name, one in found.items() if one.draws} == {'gdas', 'proxylessnas'}


@pytest.mark.parametrize('space', ['nb201', 'darts'])
def test_what_is_pruned(space):
    settings = settings_of(**FUSED, space=space)
    alive = CASES['half'].search(settings).supernet.alive
    flags = [flag for edges in alive.values() for edge in edges for flag in edge]
    assert sum(flags) == len(flags) / 2
    supernet = CASES['masks'].search(settings).supernet
    for cell, topology in supernet.space.cells.items():
        names = topology.edges[0].candidates
        assert supernet.alive[cell][0] == [name != 'none' for name in names]
    assert supernet.ways.pruned


def test_mistakes():
    assert case_of('snas') == Case('snas', 'snas')
    with pytest.raises(UserError, match="unknown case 'edge_weight': did you mean 'edge_weights'"):
        case_of('edge_weight')
    cases = dict(gdas=CASES['gdas'])
    with pytest.raises(UserError, match='^--draws must be 1 or more, but is 0$'):
        measure(settings_of(**FUSED), cases, draws=0)
    for changes in (dict(executions=['plain', 'fused']), dict(amp=True)):
        with pytest.raises(UserError, match='one of --executions at a time, in float32'):
            measure(settings_of(**{**FUSED, **changes}), cases, draws=1)
