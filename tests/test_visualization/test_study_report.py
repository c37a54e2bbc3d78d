"""The page of a study: its data, and the page itself in Chromium."""

from __future__ import annotations

import json
import re

import pytest
from synthetic import write_search
from synthetic_queries import write_queries
from synthetic_table import accuracy_of, table_lines
from test_visualization.page import HOSTILE, NASTY, data_of

from rdarts.benchmarks import NASBench201
from rdarts.results.search_run import find_runs
from rdarts.visualization.study_report import STEPS, StudyRun, band, curves, write_study


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp('table') / 'nasbench201.csv'
    path.write_text('\n'.join(table_lines()) + '\n')
    return NASBench201(path)


def run_of(folder, table, method='ours', seed=0):
    record = table.query(find_runs([folder])[0].found)
    tests = {dataset: record.accuracy(dataset) for dataset in table.datasets}
    return StudyRun(method, seed, folder, tests)


def as_table(name, header, *rows):
    return dict(name=name, title=f'the table {name}', header=header, rows=rows)


def test_what_a_cell_reaches_at_the_time_of_its_epoch(tmp_path, table):
    folder = write_search(tmp_path / 'run', epochs=3)
    (run,) = find_runs([folder])
    found = curves(run_of(folder, table), table)
    tests = [table.query(run.genotype_of(row)).accuracy('cifar10') for row in run.epochs]
    # of the epoch n, the last iteration is logged after 10 n + 2 seconds
    assert found['CIFAR-10'] == dict(zip([12.0, 22.0, 32.0], tests, strict=True))
    assert list(found) == ['CIFAR-10', 'CIFAR-100', 'ImageNet16-120']
    validation = curves(run_of(folder, table), None)
    assert list(validation.values()) == [{12.0: 40.0, 22.0: 40.0, 32.0: 40.0}]
    (folder / 'search_log.jsonl').write_text('no log\n')
    assert curves(StudyRun('a', 0, folder), table) == {}


def test_the_times_of_phases_are_added_up(tmp_path, table):
    phases = [dict(epochs=1), dict(epochs=2)]
    folder = write_search(tmp_path / 'run', phases=phases)
    found = curves(run_of(folder, table), table)
    # each phase counts from 0: 12 s, then up to 22 s and 32 s
    assert list(found['CIFAR-10']) == [12.0, 34.0, 44.0]
    assert find_runs([folder])[0].seconds == 44.0


def test_a_search_that_asks_by_its_queries(tmp_path, table):
    folder = write_queries(tmp_path / 'asks', queries=20)
    (run,) = find_runs([folder])
    seconds = {row['query']: row['seconds'] for row in run.queries.rows}
    found = curves(run_of(folder, table), table)['CIFAR-10']
    asked = {query for query, _ in run.queries.improvements} | {1, 20}
    assert set(found) <= {seconds[query] for query in asked if seconds[query] > 0}
    last = table.query(run.genotype_of(run.queries.best)).accuracy('cifar10')
    assert found[seconds[20]] == last


def test_a_value_holds_until_the_next_one_and_seeds_are_a_band():
    found = band([{1.0: 10.0, 4.0: 20.0}, {2.0: 30.0, 3.0: 40.0}])
    assert found == [
        [2.0, 20.0, 10.0, 30.0],
        [3.0, 25.0, 10.0, 40.0],
        [4.0, 30.0, 20.0, 40.0],
    ]
    many = band([{float(t): float(t) for t in range(1, 1001)}])
    assert STEPS <= len(many) <= STEPS + 2 and many[-1] == [1000.0] * 4
    assert all(point[1] <= point[0] for point in many)


def test_the_page_has_tables_lines_and_cells(tmp_path, table):
    runs = []
    for method, seeds in (('ours', (0, 1)), ('other', (0,))):
        for seed in seeds:
            folder = write_search(tmp_path / method / f'seed {seed}', seed=seed, epochs=2)
            runs.append(run_of(folder, table, method, seed))
    (tmp_path / 'ours' / 'seed 1' / 'report.html').write_text('the report')
    rows = [[run.method, str(run.seed), '-'] for run in runs]
    found = as_table('found', ['search', 'seed', 'cell'], *rows)
    path = tmp_path / 'compare.html'
    write_study(path, [as_table('methods', ['method'], ['ours']), found], 'a note', runs, table)
    data = data_of(path)
    link = './ours/seed%201/report.html'
    assert data['tables'][1]['links'] == [None, link, None]
    assert data['tables'][0]['links'] == [None]
    for chart, cells in zip(data['charts'], data['cells'], strict=True):
        assert [(line['method'], line['seeds']) for line in chart['lines']] == [(0, 2), (1, 1)]
        assert sum(cells['counts']) == 15625 and len(cells['edges']) == 101
        assert [mark[3] for mark in cells['marks']] == [None, link, None]
    marks = [mark[2] for mark in data['cells'][0]['marks']]
    assert marks == pytest.approx([run.accuracy['cifar10'] for run in runs], abs=1e-4)
    assert data['charts'][0]['mark'] == max(accuracy_of(i, 'cifar10') for i in range(15625))


def test_forty_methods_of_ten_seeds_are_a_small_page(tmp_path, table):
    folder = write_search(tmp_path / 'run', epochs=4)
    own = run_of(folder, table)
    runs = [
        StudyRun(f'method {m}', s, folder, own.accuracy, over_time=s == 0)
        for m in range(40)
        for s in range(10)
    ]
    rows = [[run.method, str(run.seed), 'x' * 90] for run in runs]
    path = tmp_path / 'compare.html'
    write_study(path, [as_table('found', ['search', 'seed', 'cell'], *rows)], '', runs, table)
    assert path.stat().st_size < 1_000_000


def shown_rows(page, name='methods'):
    return page.eval_on_selector_all(
        f'#table_{name} tbody tr', 'all => all.map(row => row.firstChild.textContent)'
    )


def test_the_page_in_a_browser(tmp_path, table, open_page):
    """Sorting and hiding by keyboard, and a click that leads to the run."""
    hostile = f'b{HOSTILE}'
    runs = []
    for place, method in enumerate(('a', hostile)):
        for seed in range(2):
            folder = write_search(tmp_path / method / f'seed_{seed}', seed=2 * place + seed)
            (folder / 'report.html').write_text('<p>the report of a run</p>')
            runs.append(run_of(folder, table, method, seed))
    header = ['method', 'C10 test (%)', 'time']
    rows = [
        ['optimal', '94.37', '-'],
        ['a', '9.50 (500 queries)', '1 day, 0:00:01'],
        [hostile, '80.25 ± 1.00', '0.50 s'],
        [f'c{NASTY}', '10.00', '23:59:59 †'],
    ]
    found = as_table(
        'found', ['search', 'seed', 'margin'],
        *([run.method, str(run.seed), f'{run.seed + 1}.0e-05 *'] for run in runs),
    )  # fmt: skip
    path = tmp_path / 'compare.html'
    write_study(path, [as_table('methods', header, *rows), found], f'note{NASTY}', runs, table)
    page = open_page(path)
    assert shown_rows(page) == [row[0] for row in rows]
    buttons = page.query_selector_all('#table_methods th button')
    buttons[1].focus()
    page.keyboard.press('Enter')
    assert shown_rows(page) == ['a', f'c{NASTY}', hostile, 'optimal']
    page.keyboard.press('Enter')
    assert shown_rows(page) == ['optimal', hostile, f'c{NASTY}', 'a']
    heads = page.eval_on_selector_all('#table_methods th', 'all => all.map(e => e.ariaSort)')
    assert heads == ['none', 'descending', 'none']
    buttons[2].click()
    assert shown_rows(page) == [hostile, f'c{NASTY}', 'a', 'optimal']
    # lines with bands, marks of all runs
    assert len(page.query_selector_all('#charts figure')) == 3
    assert len(page.query_selector_all('#charts path.band')) == 6
    for line in page.eval_on_selector_all(
        '#charts path.band', "all => all.map(e => e.getAttribute('d'))"
    ):
        # along steps alone, and back to where it began
        assert not set(line) & set('LlCc') and line.endswith('Z')
        assert re.findall(r'(?:M|H)([\d.]+)', line)[0] == re.findall(r'H([\d.]+)', line)[-1]
    assert len(page.query_selector_all('#cells a')) == 12
    label = page.get_attribute('#cells a', 'aria-label')
    assert label == f'a, seed 0: {runs[0].accuracy["cifar10"]:.2f} %'
    box = page.query_selector('#methods input')
    box.focus()
    page.keyboard.press('Space')
    hidden = "all => all.map(e => e.style.display === 'none')"
    assert page.eval_on_selector_all('#charts g.line', hidden) == [True, False] * 3
    page.click('#all')
    assert not any(page.eval_on_selector_all('#charts g.line', hidden))
    # whatever a run is called is text
    text = page.text_content('main')
    assert hostile in text and f'c{NASTY}' in text and f'note{NASTY}' in text
    assert page.query_selector('img') is None and page.evaluate('window.hit === undefined')
    page.click('details summary')
    with page.expect_navigation():
        page.click('#table_found tbody tr:nth-child(4) a')
    assert page.text_content('body') == 'the report of a run'
    assert page.url == open_page(runs[3].folder / 'report.html').url
    page.goto(path.as_uri())


def test_of_spaces_without_a_table(tmp_path, open_page):
    folder = write_search(tmp_path / 'run', 'darts_s2_c10', epochs=2)
    path = tmp_path / 'compare.html'
    write_study(path, [as_table('methods', ['method'], ['ours'])], '', [StudyRun('a', 0, folder)])
    page = open_page(path)
    assert page.is_visible('#charts figure') and not page.is_visible('#distribution')
    write_study(path, [as_table('methods', ['method'], ['ours'])], '', [
        StudyRun('a', 0, folder, over_time=False)
    ], title='a study; small')  # fmt: skip
    page = open_page(path)
    assert page.title() == page.text_content('h1') == 'a study; small'
    assert not page.is_visible('#pictures') and shown_rows(page) == ['ours']


@pytest.mark.parametrize(
    ('times', 'labels'),
    [
        ([3.0, 3.0], ['3 s']),
        ([2.9, 3.2], ['3 s']),
        ([3.0, 5.0], ['3 s', '5 s']),
        ([0.5, 20.0], ['1 s', '10 s']),
    ],
)
def test_times_of_the_axis_differ(tmp_path, open_page, times, labels):
    runs = []
    for seed, seconds in enumerate(times):
        folder = write_search(tmp_path / str(seed), seed=seed, epochs=1)
        log = folder / 'search_log.jsonl'
        rows = [dict(json.loads(row), time=seconds) for row in log.read_text().splitlines()]
        log.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
        runs.append(StudyRun(f'method {seed}', seed, folder))
    path = tmp_path / 'compare.html'
    write_study(path, [], '', runs)
    page = open_page(path)
    assert page.eval_on_selector_all('text.time', 'all => all.map(e => e.textContent)') == labels


def test_a_study_without_searches_is_its_tables(tmp_path, open_page):
    """Neither methods to choose of nor pictures; every table is open."""
    tables = [as_table(name, ['detector', 'AP'], ['b', '0.20'], ['a', '0.10']) for name in 'xy']
    path = tmp_path / 'compare.html'
    for count in (2, 1):
        write_study(path, tables[:count], 'note', [])
        page = open_page(path)
        assert page.text_content('#subtitle') == 'A click on the name of a column sorts by it'
        for name in ('choice', 'pictures', 'distribution'):
            assert not page.is_visible(f'#{name}')
        assert page.is_visible('#further') is (count == 2)
        for name in 'xy'[:count]:
            assert page.is_visible(f'#table_{name}') and shown_rows(page, name) == ['b', 'a']
            page.click(f'#table_{name} th button')
            assert shown_rows(page, name) == ['a', 'b']
