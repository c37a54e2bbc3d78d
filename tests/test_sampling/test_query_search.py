"""A search that asks: what it writes, how it goes on, what it finds, what it refuses."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import json
import math
import pickle
import re
import shutil
import signal
import uuid

import pytest
import same_runs
import torch
from helpers import TOOLS, log_text
from mmengine.config import Config
from mmengine.hooks import Hook

from rdarts.apis.dry_run import dry_run
from rdarts.apis.runs import train
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.load import load_config
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.genotypes import load_genotype
from rdarts.registry import EVALUATORS, HOOKS
from rdarts.results.log import read_search_log
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.history import Asked
from rdarts.sampling.result import Result
from rdarts.search_spaces import build_space
from rdarts.visualization.report import write_report

CONFIG = TOOLS.parent / 'configs' / 'search' / 'local_search_nb201_c10.py'
TINY = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'model.backbone.execution': 'fused',
    'limit': 256,
    'epochs': 2,
    'default_hooks.search_log.interval': 1,
}
STRATEGIES = ['LocalSearch', 'RandomSearch', 'RegularizedEvolution', 'Reinforce', 'WeakNAS']
OPTIONS = dict(
    RegularizedEvolution=dict(population=5, sample=2),
    WeakNAS=dict(predictor=dict(type='RandomForest', trees=2), pool=50),
)


@EVALUATORS.register_module()
class CountsConvolutions(Evaluator):
    """The number of convolutions; NaN or infinite of those without."""

    stop_after: int | None = None

    def prepare(self, space, seed, cfg=None) -> None:
        super().prepare(space, seed, cfg)
        self.answered = 0

    def go_on(self, results) -> None:
        self.answered = len(results)

    def __call__(self, genotype) -> Result:
        self.answered += 1
        if self.answered == type(self).stop_after:
            signal.raise_signal(signal.SIGTERM)
        count = sum('conv' in name for name in genotype.operations())
        value = count + self.answered / 1000 if count else (math.nan, -math.inf)[self.answered % 2]
        return Result(value, dict(macs=float(count)), dict(answered=self.answered, odd=math.inf))


@EVALUATORS.register_module()
class Newest(CountsConvolutions):
    """A ranking by which the last that was asked for is the worst, and the first the best."""

    of_whole_set = True

    def settle(self, results) -> list[float]:
        return [1 - place / len(results) for place in range(len(results))]


@pytest.fixture(autouse=True)
def go_through(monkeypatch):
    monkeypatch.setattr(CountsConvolutions, 'stop_after', None)


def config(folder, strategy='LocalSearch', evaluator='CountsConvolutions', **options) -> Config:
    cfg = copy.deepcopy(loaded())
    cfg.strategy = dict(type=strategy, **OPTIONS.get(strategy, {}))
    cfg.evaluator = dict(type=evaluator)
    # of a name of its own: a logger of the same one would be that of another folder
    name = f'asks_{uuid.uuid4().hex}'
    cfg.update({'budget': 40, 'work_dir': str(folder), 'experiment_name': name, **options})
    return cfg


@functools.cache
def loaded() -> Config:
    return load_config(CONFIG)


def queries(folder) -> list[dict]:
    """The rows of queries without their time."""
    return same_runs.rows(folder, 'query')


def found(folder) -> str:
    return load_genotype(folder / 'genotype.json').to_string()


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_what_it_writes(strategy, tmp_path):
    train(config(tmp_path, strategy))
    start, *_ = read_search_log(tmp_path, 'start')
    assert (start['seed'], start['strategy'], start['budget']) == (0, strategy, 40)
    assert start['evaluator'] == 'CountsConvolutions'
    assert start['space']['name'] == 'nas_bench_201'
    rows = queries(tmp_path)
    assert [row['query'] for row in rows] == [row['iter'] for row in rows] == [*range(1, 41)]
    best = None
    for row in rows:
        count = row['genotype'].count('conv')
        assert row['costs'] == dict(macs=count)
        assert row['parts'] == dict(answered=row['query'], odd='inf')
        if count:
            assert row['value'] == count + row['query'] / 1000 and 'not_finite' not in row
            best = max(best or row, row, key=lambda one: one['value'])
        else:
            assert row['value'] is None
            assert row['not_finite'] == ('nan', '-inf')[row['query'] % 2]
        assert row['best'] == (best and best['value'])
        assert row['best_query'] == (best['query'] if best else 1)
    assert found(tmp_path) == best['genotype']
    seconds = [row['seconds'] for row in read_search_log(tmp_path, 'query')]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize('evaluator', ['CountsConvolutions', 'Newest'])
@pytest.mark.parametrize('strategy', STRATEGIES)
def test_stopped_after_any_query_it_ends_as_one_that_was_not(
    strategy, evaluator, tmp_path, monkeypatch
):
    train(config(tmp_path / 'whole', strategy, evaluator))
    resume = None
    for stop in (1, 12, 13, 39):
        monkeypatch.setattr(CountsConvolutions, 'stop_after', stop)
        with pytest.raises(Interrupted, match=f'SIGTERM after query {stop}; saved'):
            train(config(tmp_path / 'parts', strategy, evaluator), resume)
        assert not (tmp_path / 'parts' / 'genotype.json').exists()
        resume = True
    monkeypatch.setattr(CountsConvolutions, 'stop_after', None)
    train(config(tmp_path / 'parts', strategy, evaluator), resume=True)
    assert queries(tmp_path / 'parts') == queries(tmp_path / 'whole')
    assert found(tmp_path / 'parts') == found(tmp_path / 'whole')
    (row,) = read_search_log(tmp_path / 'parts', 'start')
    assert row['iter'] == 0


def test_killed_at_any_line_of_its_log_it_ends_as_one_that_was_not(tmp_path, monkeypatch):
    """What was logged after the last checkpoint is asked for once more."""
    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SECONDS', 0.0)
    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SHARE', math.inf)
    train(config(tmp_path / 'whole'))
    monkeypatch.setattr(CountsConvolutions, 'stop_after', 20)
    with pytest.raises(Interrupted):
        train(config(tmp_path / 'killed'))
    monkeypatch.setattr(CountsConvolutions, 'stop_after', None)
    with open(tmp_path / 'killed' / 'search_log.jsonl', 'a') as log:
        log.write('{"schema": 1, "kind": "query", "query": 21, "gen')
    train(config(tmp_path / 'killed'), resume=True)
    assert queries(tmp_path / 'killed') == queries(tmp_path / 'whole')


def test_the_report_shows_a_search_while_it_goes_on(tmp_path, monkeypatch):
    """The page of the last query before the stop is there, and says that the search goes on."""
    monkeypatch.setattr(CountsConvolutions, 'stop_after', 3)
    with pytest.raises(Interrupted):
        train(config(tmp_path))
    page = (tmp_path / 'report.html').read_text()
    assert '"ended":false' in page and '"answered":3,"budget":40' in page
    monkeypatch.setattr(CountsConvolutions, 'stop_after', None)
    train(config(tmp_path), resume=True)
    page = (tmp_path / 'report.html').read_text()
    assert '"ended":true' in page and '"answered":40,"budget":40' in page


def answered(page: str) -> int:
    return int(re.search(r'"answered":(\d+)', page)[1])


def test_reports_are_written_as_time_passes_and_at_the_end(tmp_path, monkeypatch):
    seen = []

    def write(runs, path, table=None):
        write_report(runs, path, table)
        seen.append(answered(path.read_text()))

    monkeypatch.setattr('rdarts.hooks.report.write_report', write)
    train(config(tmp_path / 'quick', budget=4))
    assert seen == [4]  # within a minute there is none before the end
    seen.clear()
    monkeypatch.setattr('rdarts.hooks.report.SECONDS', 0.0)
    monkeypatch.setattr('rdarts.hooks.report.SHARE', math.inf)
    train(config(tmp_path / 'slow', budget=4))
    assert seen == [1, 2, 3, 4, 4]
    seen.clear()
    monkeypatch.setattr('rdarts.hooks.report.SHARE', 1e-9)  # the first has taken all of it
    train(config(tmp_path / 'large', budget=4))
    assert seen == [1, 4]


def test_the_report_of_a_search_that_fails_has_what_was_answered(tmp_path, monkeypatch):
    def full(self):
        if self.iter == 5:
            raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SECONDS', 0.0)
    monkeypatch.setattr('rdarts.sampling.query_search.SAVE_SHARE', math.inf)
    monkeypatch.setattr('rdarts.sampling.query_search.QuerySearch._save', full)
    with pytest.raises(RunFailed, match='no space left'):
        train(config(tmp_path))
    assert answered((tmp_path / 'report.html').read_text()) == 5


def test_no_report_where_the_config_has_none(tmp_path):
    train(config(tmp_path, budget=2, default_hooks=dict(report=None)))
    assert found(tmp_path) and not (tmp_path / 'report.html').exists()


def test_the_report_is_that_which_the_config_names(tmp_path, monkeypatch):
    told = []

    class Told(Hook):
        def __init__(self, name):
            self.name = name

        def after_train(self, runner):
            told.append((self.name, runner.iter))

    monkeypatch.setitem(HOOKS.module_dict, 'Told', Told)
    hooks = dict(report=dict(type='rdarts.Told', name='mine'))
    train(config(tmp_path, budget=2, default_hooks=hooks))
    assert told == [('mine', 2)] and not (tmp_path / 'report.html').exists()


def test_an_ended_search_goes_on_with_a_larger_budget(tmp_path):
    train(config(tmp_path / 'more', budget=25))
    train(config(tmp_path / 'more'), resume=True)
    train(config(tmp_path / 'whole'))
    assert queries(tmp_path / 'more') == queries(tmp_path / 'whole')
    assert found(tmp_path / 'more') == found(tmp_path / 'whole')


def test_a_signal_in_the_last_query_lets_the_search_end(tmp_path, monkeypatch):
    monkeypatch.setattr(CountsConvolutions, 'stop_after', 40)
    train(config(tmp_path))
    assert len(queries(tmp_path)) == 40 and found(tmp_path)


@pytest.mark.parametrize('stop', [3, None])
def test_its_hooks_learn_once_that_it_ended_however_it_does(stop, tmp_path, monkeypatch):
    ends = []

    class Told(Hook):
        def after_training(self, runner) -> None:
            ends.append(runner.iter)

    monkeypatch.setattr(CountsConvolutions, 'stop_after', stop)
    monkeypatch.setitem(HOOKS.module_dict, 'Told', Told)
    hooks = dict(report=dict(type='rdarts.Told'))
    with contextlib.nullcontext() if stop is None else pytest.raises(Interrupted):
        train(config(tmp_path, budget=5, default_hooks=hooks))
    assert ends == [stop or 5]


def test_an_ended_search_that_is_resumed_stays_as_it_is(tmp_path):
    train(config(tmp_path))
    before = (tmp_path / 'search_log.jsonl').read_bytes()
    train(config(tmp_path), resume=True)
    assert (tmp_path / 'search_log.jsonl').read_bytes() == before
    assert (tmp_path / 'genotype.json').is_file()


def test_the_best_is_what_a_ranking_of_the_whole_set_says(tmp_path):
    train(config(tmp_path, 'RandomSearch', 'Newest'))
    rows = queries(tmp_path)
    assert {row['best_query'] for row in rows} == {1} and {row['best'] for row in rows} == {1.0}
    assert found(tmp_path) == rows[0]['genotype']


def test_seeds_differ(tmp_path):
    for seed in (0, 1):
        train(config(tmp_path / str(seed), randomness=dict(seed=seed)))
    assert queries(tmp_path / '0') != queries(tmp_path / '1')


def test_what_other_ranks_are_sent_can_be_sent(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(
        'rdarts.sampling.history.broadcast_object_list',
        lambda data: sent.append(pickle.loads(pickle.dumps(data))),
    )
    monkeypatch.setattr(CountsConvolutions, '__call__', lambda *asked: Result(math.inf))
    train(config(tmp_path, 'RandomSearch', budget=3))
    space = build_space('nas_bench_201')
    assert len(sent) == 3
    for (data,), row in zip(sent, queries(tmp_path), strict=True):
        asked = Asked.from_data(data, space)
        assert asked.genotype.to_string() == row['genotype'] and asked.result.value == math.inf


def test_nothing_is_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(CountsConvolutions, '__call__', lambda *asked: Result(math.nan))
    train(config(tmp_path, 'RandomSearch', budget=3))
    assert 'no query has a finite value' in log_text(tmp_path)
    assert [row['not_finite'] for row in queries(tmp_path)] == ['nan'] * 3
    assert found(tmp_path) == queries(tmp_path)[0]['genotype']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(budget=39), r'40 queries were asked, and budget is 39: set it to 40 or more'),
        (dict(randomness=dict(seed=3)), 'begun with seed 0, not 3'),
        (dict(strategy='RandomSearch'), 'strategy LocalSearch, not RandomSearch'),
        (dict(evaluator='Newest'), 'evaluator CountsConvolutions, not Newest'),
    ],
)
def test_what_was_begun_otherwise_is_not_resumed(changes, message, tmp_path):
    train(config(tmp_path))
    with pytest.raises(UserError, match=message):
        train(config(tmp_path, **changes), resume=True)
    assert len(queries(tmp_path)) == 40


def test_what_changed_of_what_it_asks_by_is_said(tmp_path):
    train(config(tmp_path, budget=5))
    cfg = config(tmp_path, budget=6, limits=dict(params=1e9))
    cfg.strategy.initial = 3
    train(cfg, resume=True)
    text = log_text(tmp_path)
    assert 'changed since the last start: strategy.initial None -> 3' in text
    assert "changed since the last start: limits None -> {'params': 1000000000.0}" in text


@pytest.mark.parametrize(
    ('strategy', 'more', 'fewer'),
    [
        ('LocalSearch', dict(initial=10), dict(initial=3)),
        ('NSGA2', dict(population=10), dict(population=3)),
    ],
)
def test_a_first_generation_that_became_smaller_ends(strategy, more, fewer, tmp_path):
    for budget, options, resume in ((6, more, None), (8, fewer, True)):
        cfg = config(tmp_path, strategy, budget=budget)
        cfg.strategy.update(options)
        train(cfg, resume)
    state = json.loads(read_checkpoint(tmp_path / 'iter_8.pth')['queries'])['state']
    assert state['at'] if strategy == 'LocalSearch' else len(state['members']) == 3


def changed(data: dict, *place: str, to) -> dict:
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = to
    return data


@pytest.mark.parametrize(
    ('place', 'to', 'message'),
    [
        (('asked', 0, 'value'), 'high', 'asked.value is'),
        (('asked', 0, 'genotype'), dict(kind='cell'), 'genotype'),
        (('asked', 0, 'costs'), dict(macs='much'), 'is no answer of an evaluator'),
        (('state', 'left'), None, 'queries.state is no state of LocalSearch'),
        (('generator',), {}, 'queries.state is no state of LocalSearch'),
        (('space',), 'darts', 'begun with space darts, not nas_bench_201'),
    ],
)
def test_a_checkpoint_that_was_changed(place, to, message, tmp_path):
    train(config(tmp_path, budget=5))
    path = tmp_path / 'iter_5.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['queries'] = json.dumps(changed(json.loads(checkpoint['queries']), *place, to=to))
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=message):
        train(config(tmp_path, budget=6), resume=True)


def test_a_checkpoint_of_another_run(tmp_path):
    torch.save(dict(meta=dict(epoch=1, iter=2), state_dict={}), tmp_path / 'other.pth')
    with pytest.raises(UserError, match=r'other\.pth is of no search that asks'):
        train(config(tmp_path / 'run'), str(tmp_path / 'other.pth'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(budget=0), 'budget must be a whole number of at least 1, but is 0'),
        (dict(budget='many'), "budget must be a whole number of at least 1, but is 'many'"),
        (dict(strategy='rdarts.LocalSerch'), "did you mean 'LocalSearch'"),
        ({'strategy.initial': 0}, 'strategy.initial must be a whole number of at least 1'),
        ({'strategy.initials': 3}, "did you mean 'initial'"),
        ({'evaluator.split': 'all'}, "evaluator.split must be one of 'valid', 'test', but"),
        (dict(load_from='some.pth'), 'load_from: a search that asks loads no weights itself'),
        (dict(evaluator=None), 'evaluator is missing: a search that asks needs one'),
        (dict(strategy=None), 'strategy is missing: a search that asks needs one'),
    ],
)
def test_bad_input(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        cfg = load_config(CONFIG, options)
        cfg.work_dir = str(tmp_path)
        train(cfg)


def test_a_table_without_the_cells_of_the_space(tmp_path):
    with pytest.raises(UserError, match="Table: the space 'darts' names no table"):
        path = CONFIG.with_name('local_search_darts_c10.py')
        cfg = load_config(path, {'evaluator.type': 'rdarts.Table'})
        cfg.work_dir = str(tmp_path)
        train(cfg)


def test_what_is_asked_for_is_within_the_limits(tmp_path):
    train(config(tmp_path, 'RandomSearch', limits=dict(params=400_000), budget=6))
    networks = DerivedNetworks(loaded(), build_space('nas_bench_201'), 0)
    costs = [
        networks.costs(load_genotype(row['genotype'], 'nas_bench_201'))['params']
        for row in queries(tmp_path)
    ]
    assert max(costs) <= 400_000


def test_limits_that_no_network_meets(tmp_path):
    with pytest.raises(
        UserError, match='no network .* within the limits: .*limits.params is 1,000'
    ):
        train(config(tmp_path, limits=dict(params=1000)))


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    found = dry_run(config(tmp_path / 'run', budget=7))
    assert found['expected_seconds'] == 7 * found['seconds_per_query'] > 0
    assert 'for 7 queries' in capsys.readouterr().out
    assert not (tmp_path / 'run').exists()


def test_a_dry_run_does_not_wait_for_what_takes_long(tmp_path, capsys):
    cfg = config(tmp_path, 'ParZC', budget=20)
    cfg.strategy.update(labels=3, noise=True, predictor=dict(type='RandomForest', trees=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('rdarts.sampling.strategies.parzc.ParZC._ranked', None)
        dry_run(cfg)
    assert 'what ParZC computes after 3 queries' in capsys.readouterr().out


@EVALUATORS.register_module()
class OfSupernet(CountsConvolutions):
    """The number of convolutions, and what the supernet's alpha sums to."""

    def prepare(self, space, seed, cfg=None) -> None:
        super().prepare(space, seed, cfg)
        weights = read_checkpoint(cfg.supernet)['state_dict']
        self.alpha = float(weights['backbone.arch_parameters.cell'].sum())

    def __call__(self, genotype) -> Result:
        return Result(super().__call__(genotype).rank + self.alpha)


def in_phases(folder) -> Config:
    """Two epochs of a gradient's search, and queries over its supernet."""
    cfg = load_config(CONFIG.with_name('rdarts_nb201_digits.py'), TINY)
    asks = dict(
        runner_type='rdarts.QuerySearch',
        train_cfg=None,
        strategy='LocalSearch',
        evaluator='OfSupernet',
        budget=12,
    )
    name = f'asks_{uuid.uuid4().hex}'
    cfg.update(dict(phases=[dict(), asks], work_dir=str(folder), experiment_name=name))
    return cfg


def test_it_is_a_phase_after_the_supernet_that_it_asks(tmp_path, monkeypatch):
    train(in_phases(tmp_path / 'whole'))
    rows = queries(tmp_path / 'whole')
    assert [row['query'] for row in rows] == [*range(1, 13)]
    assert {(row['phase'], row['epoch']) for row in rows} == {(1, 2)}
    steps = len(read_search_log(tmp_path / 'whole', 'iter'))
    assert [row['iter'] - row['query'] for row in rows] == [4] * 12 and steps == 4
    path = find_checkpoint(tmp_path / 'whole' / 'phase_0')
    alpha = float(read_checkpoint(path)['state_dict']['backbone.arch_parameters.cell'].sum())
    assert rows[0]['value'] == rows[0]['genotype'].count('conv') + 1 / 1000 + alpha
    assert found(tmp_path / 'whole') == rows[rows[-1]['best_query'] - 1]['genotype']
    assert (tmp_path / 'whole' / 'report.html').is_file()

    monkeypatch.setattr(CountsConvolutions, 'stop_after', 7)
    with pytest.raises(Interrupted, match='after query 7'):
        train(in_phases(tmp_path / 'parts'))
    monkeypatch.setattr(CountsConvolutions, 'stop_after', None)
    train(in_phases(tmp_path / 'parts'), resume=True)
    assert queries(tmp_path / 'parts') == rows

    train(in_phases(tmp_path / 'parts'), from_phase=1)
    assert queries(tmp_path / 'parts') == rows
    more = in_phases(tmp_path / 'parts')
    more.phases[1]['budget'] = 13
    with pytest.raises(UserError, match=r'phase 1 of .* another config \(budget 12 -> 13\)'):
        train(more, resume=True)


def test_a_dry_run_prices_both_phases(tmp_path):
    found = dry_run(in_phases(tmp_path))
    supernet, asks = found['phases']
    assert found['expected_seconds'] == supernet['expected_seconds'] + asks['expected_seconds']
    assert asks['seconds_per_query'] > 0


def test_limits_are_looked_at_before_the_phase_before_is_trained(tmp_path):
    cfg = in_phases(tmp_path)
    cfg.phases[1]['limits'] = dict(macs=10)
    with pytest.raises(UserError, match=r'^phases\.1: no network .* is within the limits'):
        train(cfg)
    assert not (tmp_path / 'phase_0').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(start=dict(type='rdarts.KeepTopOps', keep=3)), 'start is of phases that train'),
        (dict(continue_from_last=('weights',)), 'continue_from_last is of phases that train'),
        (dict(branches=2), 'branches is of phases that train, but this one asks'),
    ],
)
def test_a_phase_that_asks_takes_over_nothing_but_the_supernet(options, message, tmp_path):
    cfg = in_phases(tmp_path)
    cfg.phases[1].update(options)
    with pytest.raises(UserError, match=rf'^phases\.1: {message}'):
        train(cfg)


def test_a_phase_that_asks_is_the_last(tmp_path):
    cfg = in_phases(tmp_path)
    cfg.phases = [*cfg.phases, copy.deepcopy(cfg.phases[1])]
    with pytest.raises(UserError, match=r'^phases\.1: a phase that asks leaves no network'):
        train(cfg)
    assert not (tmp_path / 'phase_0').exists()


@pytest.mark.parametrize(
    ('name', 'evaluator'),
    [
        ('nb201_c10', dict(type='rdarts.Table', split='valid', dataset='cifar10')),
        ('nb201_in16', dict(type='rdarts.Table', split='valid', dataset='imagenet16_120')),
        ('nb201_digits', dict(type='rdarts.ShortTraining')),
        ('darts_c100', dict(type='rdarts.ShortTraining')),
        ('mobilenet_like_imagenet', dict(type='rdarts.ShortTraining')),
    ],
)
def test_who_answers_in_which_space_on_which_data(name, evaluator):
    assert load_config(CONFIG.with_name(f'local_search_{name}.py')).evaluator == evaluator


@pytest.mark.data
def test_on_the_table_it_comes_as_far_as_without_the_runner(tmp_path, data_root, monkeypatch):
    monkeypatch.setenv('RDARTS_DATA', str(data_root))
    cfg = load_config(CONFIG, dict(budget=300))
    cfg.work_dir = str(tmp_path)
    train(cfg)
    rows = queries(tmp_path)
    assert max(row['value'] for row in rows) == rows[-1]['best'] == pytest.approx(91.6067, abs=1e-4)
    assert set(rows[0]['costs']) == {'params', 'macs'}
    assert found(tmp_path) == rows[rows[-1]['best_query'] - 1]['genotype']
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize('budgets', [(40,), (25, 40), (40, 40)])
def test_a_second_goal_leaves_what_no_query_beats_in_both(budgets, tmp_path):
    for start, budget in enumerate(budgets):
        cfg = config(tmp_path, 'NSGA2', budget=budget)
        cfg.strategy.population = 10
        train(cfg, resume=bool(start) or None)
    rows = read_search_log(tmp_path)
    front = rows[-1]
    assert [row['kind'] for row in rows].count('front') == 1 and front['cost'] == 'macs'
    asked = {row['query']: row for row in rows if row['kind'] == 'query'}
    found = [asked[number] for number in front['queries']]
    points = [(row['costs']['macs'], row['value']) for row in found]
    # a convolution more is worth more than all else
    assert points == sorted(points) and len({cost for cost, _ in points}) == len(points) >= 4
    files = sorted((tmp_path / 'genotypes').iterdir())
    assert [path.name for path in files] == [f'front_{k}.json' for k in range(1, len(points) + 1)]
    texts = [load_genotype(path).to_string() for path in files]
    assert texts == [row['genotype'] for row in found]
    assert texts[-1] == load_genotype(tmp_path / 'genotype.json').to_string()
