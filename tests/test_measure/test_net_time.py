"""A derived network's training step and evaluation in every way, timed."""

from __future__ import annotations

import copy
import itertools
import json
import sys

import pytest
import torch

from rdarts.errors import UserError
from rdarts.measure import net_time
from rdarts.measure.net_time import MODES, WAYS, Net, NetSettings

TINY = dict(width=4, depth=1, batch_size=2, image_size=8, steps=2, threads=1)


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_all_ways_take_turns(monkeypatch, capsys):
    ticks = itertools.count()
    monkeypatch.setattr(net_time, 'now', lambda: float(next(ticks)))
    settings = NetSettings(**TINY, drop_path=0.2)
    seconds = net_time.measure(settings)
    assert next(ticks) == len(WAYS) * len(MODES) * 3 * 2  # a step before two, two readings
    assert seconds == {mode: dict.fromkeys(WAYS, 1.0) for mode in MODES}
    result = net_time.summarise(settings, seconds, dict(train=0.5, eval=2.0))
    assert (result['train_compiled_ratio'], result['eval_compiled_ratio']) == (2.0, 0.5)
    assert result['train_fused_ratio'] == 1.0 and result['threads'] == 1
    net_time.print_table(result)
    heading, _, head, line, *rows = capsys.readouterr().out.splitlines()
    assert heading.startswith('DARTS_V2, batch 2, 8 x 8 pixels, drop-path 0.2, 1 thread; ')
    assert {row.count('|') for row in (head, line, *rows)} == {6}
    assert rows[-1] == '| compiled | 0.5000 | 2.00 | 2.0000 | 0.50 |'
    assert len(rows) == len(WAYS) + 1


def test_what_was_not_measured_is_left_out(capsys):
    settings = NetSettings(**TINY, ways=['fused'], processor_time=True)
    result = net_time.summarise(settings, dict(train=dict(fused=2.0), eval=dict(fused=1.0)))
    assert result['train_plain_s'] is None and result['train_fused_ratio'] is None
    net_time.print_table(result)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert (
        rows[0] == '| execution | training step, core s | x plain | evaluation, core s | x plain |'
    )
    assert rows[2:] == ['| fused | 2.0000 | - | 1.0000 | - |']


def test_ways_differ_in_layout_and_execution_alone():
    state = None
    for way in WAYS:
        net = Net(NetSettings(**TINY), way, state)
        backbone = net.model.backbone
        assert backbone.execution == ('fused' if way == 'fused' else 'plain')
        assert net.images.is_contiguous() == (way == 'plain')
        scores = net.model.eval()(net.images)
        if state is None:
            state, expected = copy.deepcopy(net.model.state_dict()), scores
        torch.testing.assert_close(scores, expected)
        before = [parameter.clone() for parameter in net.parameters]
        net.train()
        moved = [not torch.equal(*pair) for pair in zip(before, net.parameters, strict=True)]
        assert any(moved) and net.model.training


def test_networks_of_other_spaces():
    cell = '|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|'
    net = Net(NetSettings(cell, 'nas_bench_201', **TINY), 'plain')
    assert len(net.model.backbone.stages[0]) == 1 and net.model.backbone.channels == 4
    with pytest.raises(UserError, match="--drop-path: networks of 'nas_bench_201' take no"):
        Net(NetSettings(cell, 'nas_bench_201', **TINY, drop_path=0.1), 'plain')


def test_compiling_has_a_limit():
    settings = NetSettings(**TINY, processor_time=True)
    found = ['--genotype', 'DARTS_V2', '--width', '4', '--depth', '1', '--drop-path', '0.0']
    assert settings.options()[:8] == found and settings.options()[-1] == '--processor-time'
    sleeps = [sys.executable, '-c', 'import time; time.sleep(60)']
    limit = 'did not finish within 0.2 s'
    assert net_time.compiled_apart(settings, 0.2, sleeps) == (None, limit)
    fails = [sys.executable, '-c', "import sys; sys.exit('error: no compiler')"]
    assert net_time.compiled_apart(settings, 60, fails) == (None, 'no compiler')
    given = dict(train=1.0, eval=0.5)
    prints = [sys.executable, '-c', f'print("a line"); print(r"""{json.dumps(given)}""")']
    assert net_time.compiled_apart(settings, 60, prints) == (given, '')
    with pytest.raises(UserError, match='--compile must be above 0 seconds, but is 0'):
        net_time.compiled_apart(settings, 0, prints)


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match='--batch-size must be 1 or more, but is 0'):
        NetSettings(batch_size=0)
    with pytest.raises(UserError, match='--warmup must be 0 or more, but is -1'):
        NetSettings(warmup=-1)
    with pytest.raises(UserError, match="--executions: unknown execution 'fuse'.* 'fused'"):
        NetSettings(ways=['fuse'])
