"""The report that a search writes itself."""

from __future__ import annotations

import json
import re
import signal
from itertools import pairwise

import pytest
from helpers import digits_runner, log_text
from mmengine.hooks import Hook
from test_engine.event_hooks import SignalAt

from rdarts.errors import Interrupted, RunFailed
from rdarts.hooks import report
from rdarts.hooks.report import is_due
from rdarts.visualization.report import write_report

HOOK = {'default_hooks.report': dict(type='rdarts.ReportHook')}


def runs_of(folder):
    text = (folder / 'report.html').read_text(encoding='utf-8')
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])['runs']


def test_it_is_rewritten_every_epoch(tmp_path, monkeypatch):
    runner = digits_runner(tmp_path, {**HOOK, 'train_cfg.max_epochs': 2})
    seen = []

    def write(*args, **kwargs):
        write_report(*args, **kwargs)
        (run,) = runs_of(tmp_path)
        seen.append((run['epochs'], run['ended']))

    monkeypatch.setattr(report, 'write_report', write)
    runner.train()
    # after each epoch, after its validation, and at the end
    assert seen == [([1], False)] * 2 + [([1, 2], False)] * 2 + [([1, 2], True)]
    (run,) = runs_of(tmp_path)
    assert run['versions']['rdarts'] and run['versions']['torch']
    assert (
        run['drawings'][-1]['genotype']
        == json.loads((tmp_path / 'genotype.json').read_text())['cell']
    )
    assert not list(tmp_path.glob('.report*'))


def test_reports_of_a_long_search_take_a_time_that_is_linear_in_it():
    assert all(map(is_due, range(1, 200)))
    for epochs in (1000, 10_000, 100_000):
        due = [epoch for epoch in range(1, epochs + 1) if is_due(epoch)]
        # each reads all rows until then
        assert sum(due) < 200 * epochs
        assert due[-1] > 0.99 * epochs
        assert all(after - before <= max(1, before / 100) for before, after in pairwise(due))


@pytest.mark.slow
def test_a_search_whose_report_cannot_be_made_goes_on(tmp_path):
    options = {**HOOK, 'default_hooks.alpha_statistics': None, 'train_cfg.max_epochs': 2}
    digits_runner(tmp_path, options).train()
    assert (tmp_path / 'genotype.json').is_file()
    assert not (tmp_path / 'report.html').exists()
    assert log_text(tmp_path).count('no report.html: ') == 1


@pytest.mark.slow
def test_a_space_of_ones_own(tmp_path):
    """The log's text cannot say all that a genotype of such a space is."""
    edges = [
        (0, 1, ['skip_connect', 'nor_conv_3x3']),
        (0, 2, ['none', 'nor_conv_1x1']),
        (1, 2, ['avg_pool_3x3', 'nor_conv_3x3']),
    ]
    cells = dict(only=dict(num_nodes=3, edges=edges))
    options = {**HOOK, 'train_cfg.max_epochs': 1, 'default_hooks.benchmark': None}
    options['model.backbone.space'] = dict(
        _delete_=True, type='CellSpace', name='mine', cells=cells
    )
    digits_runner(tmp_path, options).train()
    (run,) = runs_of(tmp_path)
    genotype = json.loads((tmp_path / 'genotype.json').read_text())
    labels = sorted(label[3] for label in run['drawings'][0]['labels'])
    chosen = [op for node in genotype['cells']['only']['nodes'] for op, _ in node]
    assert labels == sorted(op for op in chosen if op != 'none') and len(chosen) == 3
    assert run['facts'][0]['skips'] == chosen.count('skip_connect')
    assert [cell['name'] for cell in run['cells']] == ['only']


def test_whatever_goes_wrong_with_it_the_search_goes_on(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError('a mistake in the page')

    monkeypatch.setattr('rdarts.hooks.report.write_report', broken)
    digits_runner(tmp_path, {**HOOK, 'train_cfg.max_epochs': 2}).train()
    assert (tmp_path / 'genotype.json').is_file()
    text = log_text(tmp_path)
    assert text.count("no report.html: ZeroDivisionError('a mistake in the page')") == 1


class FailAt(Hook):
    """Ends a run before an iteration."""

    def __init__(self, number):
        self.number = number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.number:
            raise RunFailed('the training loss became nan')


@pytest.mark.parametrize('broken', [False, True], ids=['', 'without a report'])
@pytest.mark.parametrize(
    ('hook', 'ends'), [(SignalAt('iter', 5, signal.SIGTERM), Interrupted), (FailAt(5), RunFailed)]
)
def test_a_search_that_ends_early_has_all_its_epochs(tmp_path, monkeypatch, hook, ends, broken):
    """Also those after which none was due."""
    seen = []

    def write(*args):
        if broken and seen:
            raise OSError('disk full')
        write_report(*args)
        (run,) = runs_of(tmp_path)
        seen.append((run['epochs'], run['ended']))

    monkeypatch.setattr(report, 'write_report', write)
    monkeypatch.setattr(report, 'is_due', lambda epoch: epoch == 1)
    options = {**HOOK, 'train_cfg.max_epochs': 3, 'train_cfg.val_begin': 3}
    with pytest.raises(ends):
        digits_runner(tmp_path, options, hooks=[hook]).train()
    assert seen == [([1], False)] + [([1, 2], False)] * (not broken)
    assert log_text(tmp_path).count("no report.html: OSError('disk full')") == broken


@pytest.mark.slow
def test_one_failure_is_not_the_last_word(tmp_path, monkeypatch):
    failures = [OSError('disk full')] * 2 + [OSError('read only')]

    def failing(*args):
        if failures:
            raise failures.pop(0)
        write_report(*args)

    monkeypatch.setattr('rdarts.hooks.report.write_report', failing)
    digits_runner(tmp_path, {**HOOK, 'train_cfg.max_epochs': 3}).train()
    (run,) = runs_of(tmp_path)
    assert run['epochs'] == [1, 2, 3] and run['ended']
    text = log_text(tmp_path)
    # the same reason is told once, a new one again
    assert text.count("no report.html: OSError('disk full')") == 1
    assert text.count("no report.html: OSError('read only')") == 1
