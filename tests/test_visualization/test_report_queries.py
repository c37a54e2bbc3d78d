"""The report of searches that ask: its data, and the page in Chromium."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic import write_search
from synthetic_queries import write_queries
from test_visualization.logs import change_log
from test_visualization.page import NASTY, data_of

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.results.search_run import SearchRun, find_runs
from rdarts.utils.commands import command
from rdarts.visualization.report import write_report


def written(folder, *others, table=None):
    """The data of the report of some searches."""
    path = folder.parent / 'report.html'
    write_report(find_runs([folder, *others]), path, table)
    return data_of(path)


def chart(data, title):
    """The one chart of a title."""
    (found,) = [one for one in data['charts'] if one['title'] == title]
    return found


def test_the_data_are_those_of_the_log(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=40, degenerate=[1, 3])
    data = written(folder)
    (run,) = data['runs']
    queries = SearchRun(folder, '').queries
    assert (run['epochs'], run['cells'], run['ended'], run['kept']) == ([], [], True, None)
    asked = run['asked']
    assert (
        asked['stops'] == [query for query, _ in queries.improvements] and asked['answered'] == 40
    )
    assert (asked['budget'], asked['not_finite'], asked['phase']) == (40, {'nan': 2}, None)
    shown = [run['drawings'][i]['genotype'] for i in asked['drawing']]
    assert shown == [row['genotype'] for _, row in queries.improvements]
    assert asked['facts'][0]['value'] == 'nan' and asked['facts'][0]['query'] == 1
    last = asked['facts'][-1]
    assert last['value'] == pytest.approx(queries.best['value'], abs=1e-4)
    assert last['costs'] == [['params', 1e5 + last['query']], ['macs', 2e7]]
    (best,) = chart(data, 'The best value so far')['lines']
    assert best['points'][-1] == [40, last['value']] and best['points'][0][0] == 2
    (cloud,) = chart(data, 'The value of each query')['lines']
    assert [query for query, _ in cloud['points']] == sorted(set(range(1, 41)) - {1, 3})
    (bar,) = chart(data, 'How often values were seen')['bars']
    assert sum(bar['counts']) == 38 and (bar['seen'], bar['not_finite']) == (40, {'nan': 2})
    edges = chart(data, 'How often values were seen')['edges']
    values = list(queries.values().values())
    assert np.histogram(values, edges)[0].sum() >= 36  # two at most lie on rounded ends
    assert {one['axis'] for one in data['charts'] if 'axis' in one} == {'query'}
    assert run['commands'][0] == command('analysis/draw_genotype.py', folder)


def test_a_search_that_still_asks_says_how_to_go_on(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=3, budget=9)
    (run,) = written(folder)['runs']
    expected = command('train.py', folder / 'config.py', '--work-dir', folder, '--resume')
    assert not run['ended'] and run['commands'] == [expected]
    with pytest.raises(UserError, match='run: no query was answered yet'):
        written(write_queries(tmp_path / 'new' / 'run', queries=0, budget=9))


def test_a_ranking_may_find_an_earlier_one_better(tmp_path):
    """What it says of one changes with those that follow."""
    folder = write_queries(tmp_path / 'run', queries=4)
    told = {1: (1, 0.0), 2: (2, 3.0), 3: (1, 5.0), 4: (1, 6.0)}

    def settle(row):
        if 'query' in row:
            best_query, best = told[row['query']]
            row.update(value=float(row['query']), best_query=best_query, best=best)

    change_log(folder, settle)
    data = written(folder)
    asked = data['runs'][0]['asked']
    assert asked['stops'] == [1, 2, 3]
    assert [(fact['query'], fact['value']) for fact in asked['facts']] == [(1, 0), (2, 3), (1, 5)]
    points = chart(data, 'The best value so far')['lines'][0]['points']
    assert points == [[1, 0], [2, 3], [3, 5], [4, 6]]


def test_axes_have_zero_as_a_number(tmp_path, open_page):
    """A sum of steps from below need not end at it."""
    folder = write_queries(tmp_path / 'run', queries=5)

    def below(row):
        if 'query' in row:
            row.update(value=0.2 * row['query'] - 0.85, best=0.2 * row['query'] - 0.85)

    change_log(folder, below)
    written(folder)
    page = open_page(tmp_path / 'report.html')
    texts = page.eval_on_selector_all('#charts svg text', 'all => all.map(t => t.textContent)')
    assert '0' in texts and not any('e-' in text for text in texts)


def test_nothing_has_a_finite_value(tmp_path):
    data = written(write_queries(tmp_path / 'run', queries=2, degenerate=[1, 2]))
    assert data['runs'][0]['asked']['stops'] == [1]
    (only,) = data['charts']
    assert only['title'] == 'How often values were seen' and only['edges'] == []
    assert only['bars'][0]['not_finite'] == {'nan': 2}


def test_values_of_another_kind_have_a_chart_of_their_own(tmp_path):
    one = write_queries(tmp_path / 'one', queries=5)
    score = dict(type='rdarts.Scored', score=dict(type='rdarts.NASWOT'))
    other = write_queries(tmp_path / 'other', queries=6, evaluator=score)
    charts = written(one, other)['charts']
    found = {c['unit']: len(c['lines']) for c in charts if c['title'] == 'The best value so far'}
    assert found == {'Table(dataset=cifar10, split=valid)': 1, 'Scored(score=NASWOT())': 1}


def test_what_was_found_may_be_another_than_the_best_of_the_log(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=9)
    (run,) = find_runs([folder])
    other = next(row for row in run.queries.rows if row['query'] != run.found_query)
    (folder / 'genotype.json').write_text(json.dumps(run.genotype_of(other).to_dict()))
    kept = written(folder)['runs'][0]['kept']
    assert kept == dict(query=other['query'], genotype=other['genotype'])


@pytest.mark.data
def test_beside_a_search_with_alpha_the_table_compares(tmp_path, data_root):
    asks, alpha = write_queries(tmp_path / 'asks', queries=7), write_search(tmp_path / 'alpha')
    table = NASBench201(data_root / 'nasbench201')
    data = written(asks, alpha, table=table)
    runs = find_runs([asks, alpha])
    for run, row in zip(runs, data['found'], strict=True):
        cell = table.query(run.found)
        assert row['accuracy']['CIFAR-10'] == cell.accuracy('cifar10', 'test')
    assert [(row['epochs'], row['queries']) for row in data['found']] == [(0, 7), (4, None)]
    lines = chart(data, 'The best so far in the table, CIFAR-10')['lines']
    assert [line['run'] for line in lines] == [0]
    best = table.query(runs[0].found).accuracy('cifar10', 'test')
    assert lines[0]['points'][-1] == [7, pytest.approx(best, abs=1e-4)]
    with pytest.raises(UserError, match='asks and .*alpha has alpha: these are compared by what a'):
        written(asks, alpha)


# The page


def test_the_slider_goes_through_what_was_better(tmp_path, open_page):
    folder = write_queries(tmp_path / 'run', queries=25, degenerate=[2])
    row = dict(schema=1, kind='front', epoch=0, iter=25, cost='macs', queries=[3, 1])
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write(json.dumps(row) + '\n')
    data = written(folder)
    asked = data['runs'][0]['asked']
    page = open_page(tmp_path / 'report.html')
    status = 'ended after 25 queries; no other query beats in value and macs: 3, 1'
    status += '; 1 without a finite value (1 nan), ranked last'
    assert page.text_content('p.status') == status
    assert page.text_content('#over') == 'Over the queries'
    assert page.text_content('#axis') == 'Query'
    for place in reversed(range(len(asked['stops']))):
        assert page.text_content('#shown') == f'{asked["stops"][place]} of 25'
        genotype = data['runs'][0]['drawings'][asked['drawing'][place]]['genotype']
        assert page.text_content('pre.genotype') == genotype
        fact = asked['facts'][place]
        said = f'query {fact["query"]}: {fact["value"]}'
        said += f'; params 100,0{fact["query"]:02}; macs 20,000,000'
        assert page.text_content('.facts') == said
        values = page.eval_on_selector_all('.key b', 'all => all.map(b => b.textContent)')
        assert values == [str(fact['value'])] * 2
        page.keyboard.press('ArrowLeft')
    assert page.get_attribute('#epoch', 'aria-valuetext') == 'query 1'
    assert page.locator('circle.answer').count() == 24 and page.locator('path.bars').count() == 1
    assert page.locator('.weights table').count() == 0 and not page.is_visible('text=Weights β')
    assert page.locator('dt:text("evaluator") + dd').text_content().startswith('Table(')


def test_a_supernet_and_then_its_queries(tmp_path, open_page):
    written(write_queries(tmp_path / 'run', queries=6, budget=8, epochs=3))
    page = open_page(tmp_path / 'report.html')
    status = 'still running: query 6 of 8 was answered; reload to see more'
    assert page.text_content('p.status') == status
    assert page.text_content('#shown').endswith(' of 6, phase 2')
    items = page.eval_on_selector_all('.parts li', 'all => all.map(li => li.textContent)')
    assert items[0] == 'phase 1: epochs 1 to 3 (phase_0)'
    assert items[1].startswith('phase 2: queries 1 to 6 (phase_1)RandomSearch() asks Table(')
    assert page.text_content('.parts [aria-current]') == items[1]
    assert page.is_visible('pre.genotype') and page.locator('.track i.phase').count() == 1
    page.keyboard.press('Home')
    assert (page.text_content('#axis'), page.text_content('#shown')) == ('Epoch', '1 of 3, phase 1')
    assert page.text_content('.parts [aria-current]') == items[0]
    assert page.text_content('.drawing') == 'The supernet is trained: there is no genotype yet.'
    assert not page.is_visible('pre.genotype')
    assert page.text_content('.facts') == 'epoch 1 (phase 1, epoch 1 of it)'
    values = page.eval_on_selector_all('.key b', 'all => all.map(b => b.textContent)')
    assert values == ['31', '2', '–', '–']
    assert page.locator('.cursor[d]').count() == 2  # of the charts over epochs


@pytest.mark.data
def test_searches_with_and_without_alpha_side_by_side(tmp_path, open_page, data_root):
    table = NASBench201(data_root / 'nasbench201')
    folders = [write_queries(tmp_path / f'{i}', seed=i, queries=9) for i in range(2)]
    written(*folders, write_search(tmp_path / 'alpha'), table=table)
    page = open_page(tmp_path / 'report.html')
    texts = [SearchRun(tmp_path / name, '').found.to_string() for name in ('0', '1', 'alpha')]
    shown = page.eval_on_selector_all('pre.genotype', 'all => all.map(p => p.textContent)')
    assert shown == texts
    rows = page.eval_on_selector_all('#found tbody tr', 'all => all.map(r => r.children.length)')
    assert rows == [7, 7, 7] and page.locator('path.bars').count() == 2
    assert page.text_content('#over') == 'Over the epochs and the queries'
    page.keyboard.press('Home')
    assert page.text_content('#shown') == '1 of 4'
    assert page.eval_on_selector_all('.weights', 'all => all.map(w => w.children.length)') == [
        0, 0, 1
    ]  # fmt: skip


def test_nothing_of_a_search_becomes_markup(tmp_path, open_page):
    evaluator = dict(type=f'a{NASTY}', score=NASTY)
    folder = write_queries(tmp_path / 'run', queries=3, degenerate=[2], evaluator=evaluator)
    change_log(folder, lambda row: 'query' in row and row.update(parts={NASTY: 1.5, 'b': 'inf'}))
    written(folder)
    page = open_page(tmp_path / 'report.html')
    assert (
        f'{NASTY} 1.5; b inf' in page.text_content('.facts') and page.evaluate('window.hit') is None
    )
    assert page.query_selector('img') is None
