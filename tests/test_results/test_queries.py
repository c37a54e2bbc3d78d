"""Reading what a search that asks wrote."""

from __future__ import annotations

import json
import math

import pytest
from synthetic import write_search
from synthetic_queries import write_queries
from test_visualization.logs import change_config, change_log, still_running

from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.results.log import read_search_log
from rdarts.results.search_run import SearchRun, begun_runs, find_runs
from rdarts.sampling.history import result_data
from rdarts.sampling.result import Result


def test_queries_and_the_best_after_each(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=30, seed=2, degenerate=[1, 7])
    (run,) = find_runs([folder])
    rows = read_search_log(folder, 'query')
    assert run.asks and run.begun and run.ended and run.epochs == [] and run.seed == 2
    queries = run.queries
    assert (len(queries.rows), queries.budget, queries.phase) == (30, 30, None)
    assert queries.strategy == 'RandomSearch()'
    assert queries.evaluator == 'Table(dataset=cifar10, split=valid)' and queries.limits == ''
    values = {row['query']: row['value'] for row in rows if row['value'] is not None}
    assert queries.values() == values and len(values) == 28
    assert queries.not_finite() == {'nan': 2}
    best = {query: max(v for q, v in values.items() if q <= query) for query in range(2, 31)}
    assert queries.best_values() == best
    # the first one stands for want of another, then whatever is larger than all before
    larger = [
        q for q, v in values.items() if v > max([w for p, w in values.items() if p < q] + [0])
    ]
    assert [query for query, _ in queries.improvements] == [1, *larger]
    assert [row['query'] for _, row in queries.improvements] == [1, *larger]
    assert queries.best['value'] == max(values.values())
    assert run.found == load_genotype(folder) == run.genotype_of(queries.best)
    assert run.found_query == queries.best['query'] and run.seconds == 15.0
    assert (run.dataset, run.max_epochs, run.validation()) == ('CIFAR10', None, {})


def test_what_an_evaluator_answers_is_read_whatever_it_is(tmp_path):
    """A row holds what the search keeps of an answer, and infinite parts are named in it."""
    folder = write_queries(tmp_path / 'run', queries=1)
    parts = dict(a=math.inf, b=-math.inf, c=math.nan, d=1.0)
    answer = result_data(Result(math.nan, dict(macs=math.inf), parts))
    change_log(folder, lambda row: 'query' in row and row.update(answer, best=None))
    (row,) = find_runs([folder])[0].queries.rows
    assert row['parts'] == dict(a='inf', b='-inf', c='nan', d=1.0)
    assert row['costs'] == dict(macs='inf') and row['not_finite'] == 'nan'


def test_a_search_that_still_asks_has_the_best_so_far(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=12, budget=50)
    with open(folder / 'search_log.jsonl', 'a') as file:
        file.write('{"schema": 1, "kind": "query", "que')
    (run,) = find_runs([folder])
    assert not run.ended and run.queries.budget == 50 and len(run.queries.rows) == 12
    assert run.found.to_string() == run.queries.best['genotype']


def test_what_was_found_may_be_another_than_the_best_of_the_log(tmp_path):
    """What a ranking says of one cell changes with those that follow."""
    folder = write_queries(tmp_path / 'run', queries=9)
    (run,) = find_runs([folder])
    other = next(row for row in run.queries.rows if row['query'] != run.found_query)
    (folder / 'genotype.json').write_text(json.dumps(run.genotype_of(other).to_dict()))
    assert SearchRun(folder, 'run').found_query == other['query']


def test_a_supernet_is_trained_and_then_asked(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=8, epochs=3)
    (run,) = find_runs([folder])
    assert run.asks and [row['epoch'] for row in run.epochs] == [1, 2, 3]
    assert (run.queries.phase, run.max_epochs, run.seed) == (1, 3, 0)
    assert [(part.name, part.first, part.last, part.ended) for part in run.parts] == [
        ('phase 1', 1, 3, True)
    ]
    assert run.validation() == {1: 31.0, 2: 32.0, 3: 33.0} and run.seconds == 34.0
    assert run.means('loss') == {1: 2.0, 2: 1.0, 3: pytest.approx(2 / 3)}


def test_a_supernet_that_was_not_asked_yet(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=0, budget=5, epochs=2)
    (run,) = find_runs([folder])
    assert run.asks and run.begun and len(run.epochs) == 2 and run.queries.rows == []
    with pytest.raises(UserError, match='run: no query was answered yet$'):
        _ = run.found
    # what only a search with alpha may lack is not lacked in silence
    alpha = write_search(tmp_path / 'alpha', epochs=1)
    change_log(alpha, lambda row: row.pop('genotype', None))
    with pytest.raises(UserError, match="no 'genotype'; a search writes it with GenotypeHook"):
        _ = SearchRun(alpha, 'alpha').epochs


def test_a_search_before_its_first_query(tmp_path, capsys):
    before = write_queries(tmp_path / 'all' / 'a', queries=0, budget=5)
    with pytest.raises(UserError, match='all/a: no query was answered yet$'):
        begun_runs(find_runs([before]))
    write_queries(tmp_path / 'all' / 'b', queries=2)
    assert [run.method for run in begun_runs(find_runs([tmp_path / 'all']))] == ['b']
    assert capsys.readouterr().err == f'left out: {before}: no query was answered yet\n'


def test_a_config_says_that_a_search_asks(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=3)
    change_config(folder, 'limits = dict(macs=5e6)\nbudget = "many"')
    still_running(folder)
    queries = find_runs([folder])[0].queries
    assert queries.limits == 'macs=5000000.0' and queries.budget is None
    assert not find_runs([write_search(tmp_path / 'alpha', epochs=1)])[0].asks


ABSENT = object()
DAMAGED = [
    (dict(query=3), "'query' must count from 1: 2 is missing"),
    (dict(query=ABSENT), "'query' must count from 1: 2 is missing"),
    (dict(query=True), "'query' must count from 1: 2 is missing"),
    *(
        ({key: value}, f"query 2: '{key}' is not what a search that asks logs")
        for key, value in (
            ('genotype', 3),
            ('genotype', ABSENT),
            ('value', 'x'),
            ('value', float('nan')),
            ('not_finite', 'nan'),  # beside a value
            ('costs', [1]),
            ('costs', dict(macs='x')),
            ('parts', dict(a=True)),
            ('parts', dict(a='none')),
            ('parts', dict(a=[1])),
            ('parts', dict(a=None)),
            ('best', 'x'),
            ('best_query', 3),
            ('best_query', 0),
            ('best_query', None),
            ('seconds', -1),
        )
    ),
    (dict(value=None), "query 2: 'not_finite' is not what a search that asks logs"),
    (dict(value=None, not_finite='none'), "query 2: 'not_finite' is not what a search"),
]


@pytest.mark.parametrize(('change', 'message'), DAMAGED)
def test_rows_that_no_search_writes(tmp_path, change, message):
    folder = write_queries(tmp_path / 'run', queries=2)

    def damage(row):
        if row.get('query') == 2:
            row.update(change)
            for key in [key for key, value in change.items() if value is ABSENT]:
                del row[key]

    change_log(folder, damage)
    with pytest.raises(UserError, match=message) as error:
        _ = find_runs([folder])[0].queries
    assert '\n' not in str(error.value)


def test_the_row_of_a_front(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=4)
    assert find_runs([folder])[0].queries.front is None
    log = folder / 'search_log.jsonl'
    before = log.read_text()
    row = dict(schema=1, kind='front', epoch=0, iter=4, cost='macs', queries=[3, 1])
    log.write_text(before + json.dumps(row) + '\n')
    assert find_runs([folder])[0].queries.front == row
    for wrong in (dict(cost=3), dict(queries=[5]), dict(queries=3), dict(queries=[0])):
        log.write_text(before + json.dumps({**row, **wrong}) + '\n')
        with pytest.raises(UserError, match="the row of kind front must have 'cost', a name"):
            _ = find_runs([folder])[0].queries


def test_genotypes_of_another_space_are_named_by_their_query(tmp_path):
    folder = write_queries(tmp_path / 'run', queries=1, budget=2)
    change_log(folder, lambda row: 'query' in row and row.update(genotype='|a~0|'))
    with pytest.raises(UserError, match=r'run, query 1: '):
        _ = find_runs([folder])[0].found
