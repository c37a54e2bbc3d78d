"""Settings of a benchmark: what is completed and refused, and that options say the same."""

from __future__ import annotations

import importlib
from dataclasses import asdict

import pytest
from helpers import TOOLS
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure.settings import EXECUTIONS, StepSettings


def test_depth_and_threads_are_completed():
    assert [settings_of(space=s, depth=None).depth for s in ('nb201', 's1', 'mobilenet_like')] == [
        5,
        8,
        4,
    ]
    assert settings_of(threads=None).threads >= 1
    assert settings_of(executions=['fused', 'plain']).executions == ['plain', 'fused']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(space='nb20'), "--space: unknown space 'nb20': did you mean 'nb201'?"),
        (dict(batch_size=0), '--batch-size must be 1 or more, but is 0'),
        (dict(warmup=-1), '--warmup must be 0 or more, but is -1'),
        (dict(order=3), '--order must be 1 or 2, but is 3'),
        (dict(checkpoint=True), "--checkpoint: NASBench201Supernet takes no 'checkpoint'"),
        (dict(space='configs/retrain/nb201_digits.py'), 'is no config of a search: no arch_opt'),
        (dict(executions=['plane']), "unknown execution 'plane': did you mean 'plain'?"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UserError) as error:
        settings_of(**changes)
    assert message in str(error.value)


def test_a_process_apart_is_told_the_same(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'benchmarks'))
    parser = importlib.import_module('arguments').make_parser('', steps=20, warmup=3)
    args = vars(parser.parse_args([]))
    assert not args.pop('json') and StepSettings(**args) == StepSettings(executions=[*EXECUTIONS])
    given = settings_of(space='mobilenet_like', checkpoint=True, amp=True, order=2, seed=3)
    args = vars(parser.parse_args(given.options()))
    del args['json']
    assert args == asdict(given)
    assert '--amp' not in given.options('amp')
