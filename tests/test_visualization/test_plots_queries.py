"""Pictures of searches that ask, and of such beside searches with alpha."""

from __future__ import annotations

import csv

import pytest
from synthetic import write_search
from synthetic_queries import write_queries

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.results.search_run import SearchRun, find_runs
from rdarts.visualization.drawing.matplotlib import draw_files
from rdarts.visualization.plot_files import plot_all
from rdarts.visualization.plots import OF_QUERIES, PLOTS, plot_runs


def drawn(runs, name, folder, table=None):
    """The rows of a picture's CSV, the first of which names the columns."""
    plot_runs(runs, name, folder / f'{name}.svg', table)
    with open(folder / f'{name}.csv', newline='') as file:
        head, *rows = csv.reader(file)
    return head, rows, (folder / f'{name}.svg').read_text()


def test_the_value_of_each_query(tmp_path):
    for seed in range(2):
        folder = tmp_path / 'all' / 'random' / f'seed_{seed}'
        write_queries(folder, seed=seed, queries=8 + seed, budget=9, degenerate=[2])
    score = dict(type='rdarts.Scored', score=dict(type='rdarts.NASWOT'))
    write_queries(tmp_path / 'all' / 'naswot', queries=3, evaluator=score)
    runs = find_runs([tmp_path / 'all'])
    head, rows, svg = drawn(runs, 'queries', tmp_path)
    assert head == ['method', 'seed', 'evaluator', 'query', 'value', 'best so far']
    assert len(rows) == 3 + 8 + 9
    of_first = [row for row in rows if row[:2] == ['random', '0']]
    log = runs[1].queries.rows
    assert [row[4] for row in of_first] == [str(row.get('not_finite', row['value'])) for row in log]
    assert of_first[1][4] == 'nan' and float(of_first[-1][5]) == runs[1].queries.best['value']
    assert 'Scored(score=NASWOT())' in svg and 'random (2 seeds)' in svg
    assert 'stroke-opacity: 0.35' not in svg  # as are branches that were not chosen
    assert 'still running: random (1 of 2 seeds, query 8 so far)' in svg


def test_how_often_values_were_seen(tmp_path):
    for seed in range(2):
        write_queries(tmp_path / 'all' / f'seed_{seed}', seed=seed, queries=20, degenerate=[3, 4])
    head, rows, svg = drawn(find_runs([tmp_path / 'all']), 'values', tmp_path)
    assert head[2:] == ['bin begins at', 'bin ends at', 'queries', 'not finite']
    assert sum(int(row[4]) for row in rows if row[4]) == 36
    assert [row[5] for row in rows if row[5]] == ['4'] and 'all (4 of 40 not finite)' in svg


@pytest.mark.data
def test_the_best_so_far_in_the_table(tmp_path, data_root):
    table = NASBench201(data_root / 'nasbench201')
    run = SearchRun(write_queries(tmp_path / 'run', queries=9, epochs=4), 'run')
    head, rows, _ = drawn([run], 'best', tmp_path, table)
    assert head[3] == 'query' and len(rows) == 3 * 9
    of_c10 = {int(row[3]): float(row[4]) for row in rows if row[2] == 'CIFAR-10'}
    best = {q: row for q, row in run.queries.improvements}
    now = None
    for query in range(1, 10):
        now = best.get(query, now)
        expected = table.query(run.genotype_of(now)).accuracy('cifar10', 'test')
        assert of_c10[query] == expected
    _, rows, _ = drawn([run], 'distribution', tmp_path, table)
    assert [row[0] for row in rows[:3]] == ['run'] * 3


def test_what_was_found_is_drawn(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=5)
    assert [path.name for path in draw_files(str(folder))] == ['genotype.svg', 'genotype.png']
    (run,) = find_runs([folder])
    operations = set(run.found.operations()) - {'none'}
    assert all(f'>{name}<' in (folder / 'genotype.svg').read_text() for name in operations)
    with pytest.raises(UserError, match='genotype.json') as error:
        list(draw_files(str(write_queries(tmp_path / 'running', queries=5, budget=9))))
    assert '\n' not in str(error.value)


def test_pictures_leave_out_what_has_no_such_numbers(tmp_path):
    asks = write_queries(tmp_path / 'asks', queries=5)
    shot = write_queries(tmp_path / 'shot', queries=5, epochs=2)
    alpha = write_search(tmp_path / 'alpha', epochs=2)
    lines = list(plot_all(find_runs([asks, shot, alpha]), tmp_path / 'plots'))
    without = {line.partition(' is without ')[0]: line for line in lines if 'without' in line}
    for name in OF_QUERIES[1:]:
        assert without[name] == f'{name} is without alpha, which have no such numbers'
    for name in ('supernet', 'losses'):
        assert without[name] == f'{name} is without asks, which have no such numbers'
    for name in ('entropy', 'edges', 'weights', 'leaders', 'skips', 'cosine'):
        assert without[name] == f'{name} is without asks, shot, which have no such numbers'
    assert not any('edges_asks' in line for line in lines)


def test_pictures_that_searches_that_ask_do_not_have(tmp_path):
    asks = find_runs([write_queries(tmp_path / 'asks', queries=5)])
    lines = list(plot_all(asks, tmp_path / 'plots'))
    left = {line.split(': ')[1]: line for line in lines if line.startswith('left out: ')}
    assert set(left) == set(PLOTS) - {'queries', 'values'}
    assert left['entropy'] == 'left out: entropy: these searches have no alpha: they ask'
    assert left['losses'] == 'left out: losses: these searches have no epochs: they ask'
    with pytest.raises(UserError, match='lambda cannot be drawn: these searches have no alpha'):
        list(plot_all(asks, tmp_path / 'plots', ['lambda']))
    alpha = find_runs([write_search(tmp_path / 'alpha', epochs=1)])
    with pytest.raises(
        UserError, match='values cannot be drawn: these searches have asked nothing'
    ):
        list(plot_all(alpha, tmp_path / 'plots', ['values']))
