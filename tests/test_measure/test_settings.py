"""Settings of a benchmark: what is completed and refused, and that options say the same."""

from __future__ import annotations

import importlib
import time
from dataclasses import asdict, replace

import pytest
import torch
from helpers import TOOLS
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure import settings
from rdarts.measure.counts import measure_rates
from rdarts.measure.describe import describe, heading
from rdarts.measure.net_time import NetSettings
from rdarts.measure.score_time import ScoreSettings
from rdarts.measure.search import Search, clock_of, now
from rdarts.measure.settings import EXECUTIONS, StepSettings
from rdarts.models import BaseSupernet

THREE_NODES = str(TOOLS.parent / 'docs' / 'en' / 'examples' / 'three_nodes' / 'search.py')


def test_depth_and_threads_are_completed():
    assert [settings_of(space=s, depth=None).depth for s in ('nb201', 's1', 'mobilenet_like')] == [
        5,
        8,
        4,
    ]
    assert settings_of(threads=None).threads >= 1
    assert settings_of(executions=['fused', 'plain']).executions == ['plain', 'fused']


def test_method_and_order_are_completed():
    assert settings_of().method == 'rdarts'
    assert settings_of(space=THREE_NODES).method is None
    orders = {method: settings_of(method=method).order for method in ('darts', 'darts_2nd')}
    assert orders == dict(darts=1, darts_2nd=2)
    assert settings_of(method='darts_2nd', order=1).order == 1
    assert 'GumbelSoftmax' in settings_of(method='gdas').config().model.backbone.relaxation.type


@pytest.mark.parametrize(
    ('changes', 'start'),
    [
        (dict(), 'nb201, C 4, N 1, batch 2, 8 x 8 pixels, order 1, 1 thread'),
        (dict(space='s1', method='gdas'), 'gdas, s1, C 4, 1 cell, batch 2'),
        (dict(space=THREE_NODES), f'{THREE_NODES}, C 4'),
    ],
)
def test_a_heading_says_what_is_measured(changes, start):
    assert heading(settings_of(**changes)).startswith(start)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(space='nb20'), "--space: unknown space 'nb20': did you mean 'nb201'?"),
        (dict(batch_size=0), '--batch-size must be 1 or more, but is 0'),
        (dict(warmup=-1), '--warmup must be 0 or more, but is -1'),
        (dict(order=3), '--order must be 1 or 2, but is 3'),
        (dict(order=0), '--order must be 1 or 2, but is 0'),
        (dict(method='gdsa'), "--method: unknown method 'gdsa': did you mean 'gdas'?"),
        (dict(method='darts', space=THREE_NODES), '--method is for a space by its name'),
        (dict(method='pc_darts', space='mobilenet_like'), 'pc_darts does not fit mobilenet_like'),
        (dict(space='configs/retrain/nb201_digits.py'), 'is no config of a search: no arch_opt'),
        (dict(executions=['plane']), "unknown execution 'plane': did you mean 'plain'?"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UserError) as error:
        settings_of(**changes)
    assert message in str(error.value)


class OwnSupernet(BaseSupernet):
    """One of a user."""

    DEPTH = 'num_cells'

    def __init__(self, num_cells: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)


def test_a_supernet_of_ones_own_may_keep_all_for_the_backward(monkeypatch):
    monkeypatch.setattr(settings, 'supernet_of', lambda cfg: OwnSupernet)
    assert settings_of(depth=None).depth == 2
    with pytest.raises(UserError, match="^--checkpoint: OwnSupernet takes no 'checkpoint'$"):
        settings_of(checkpoint=True)


def test_the_processor_does_not_know_what_a_gpu_does(monkeypatch):
    assert clock_of(settings_of(processor_time=True)) is time.process_time
    assert clock_of(settings_of()) is now
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    for refused in (settings_of, NetSettings, ScoreSettings):
        with pytest.raises(UserError) as error:
            refused(processor_time=True)
        assert str(error.value) == (
            '--processor-time: the cores wait while the GPU works; '
            'set CUDA_VISIBLE_DEVICES= to measure the CPU'
        )


def test_a_step_on_the_cpu_is_none_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'some GPU')
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    settings = settings_of(device='cpu', processor_time=True)
    assert describe(settings)['device'] == 'cpu' and '--device' not in settings.options()
    assert {one.device.type for one in Search(settings, 'plain').weights} == {'cpu'}
    assert min(measure_rates(clock_of(settings), 1, settings.device)) > 0
    assert describe(settings_of())['device'] == 'some GPU'


def test_a_process_apart_is_told_the_same(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'benchmarks'))
    parser = importlib.import_module('arguments').make_parser('', steps=20, warmup=3)
    args = vars(parser.parse_args([]))
    assert not args.pop('json') and StepSettings(**args) == StepSettings(executions=[*EXECUTIONS])
    for given in (
        settings_of(space='mobilenet_like', checkpoint=True, amp=True, order=2, seed=3),
        settings_of(processor_time=True),
        settings_of(method='darts_2nd'),
        settings_of(space=THREE_NODES),
    ):
        args = vars(parser.parse_args(given.options()))
        del args['json']
        assert dict(args, device='cpu') == asdict(given)
    assert '--amp' not in replace(given, amp=True).options('amp')
