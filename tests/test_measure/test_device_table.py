"""The table of a device: its rows, of cases that fail as well, and how a GPU is timed.

There is no GPU here: what asks one is asked of a stand-in.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure import device_table

NOTED = ('synchronize', 'empty_cache', 'reset_peak_memory_stats')


class Gpu:
    """Stands for ``torch.cuda``: what it is asked, in order; steps and copies take seconds."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seconds, self.peak = 0.0, 0

    def __getattr__(self, name: str):
        def note(*args, **kwargs):
            if name in NOTED:
                self.calls.append(name)
            return dict(max_memory_allocated=self.peak).get(name)

        return note

    def Event(self, enable_timing: bool):
        assert enable_timing
        gpu = self

        class Event:
            def record(self) -> None:
                gpu.calls.append('record')
                self.at = gpu.seconds

            def elapsed_time(self, other) -> float:
                assert gpu.calls[-1] == 'synchronize'
                return 1000 * (other.at - self.at)

        return Event()


class Steps:
    """Stands for a search whose n-th step takes n seconds on the GPU."""

    def __init__(self, gpu: Gpu, keeps_passes: bool = False) -> None:
        self.gpu, self.number, self.seeds = gpu, 0, []
        self.model = torch.nn.Module()
        self.model.backbone = torch.nn.Identity()
        self.architect = SimpleNamespace(keeps_passes=keeps_passes)

    def step(self) -> None:
        self.gpu.calls.append('step')
        self.seeds.append(torch.initial_seed())
        self.number += 1
        self.gpu.seconds += self.number
        self.gpu.peak = max(self.gpu.peak, self.number * 2**20)


@pytest.fixture
def gpu(monkeypatch) -> Gpu:
    found = Gpu()
    monkeypatch.setattr(device_table.torch, 'cuda', found)
    return found


def test_what_a_device_has(monkeypatch):
    assert device_table.check('cpu', None) == ['plain', 'plain_channels_last', 'compiled', 'fused']
    with pytest.raises(UserError, match='^--device cuda: PyTorch finds no GPU here$'):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        device_table.check('cuda', None)
    with pytest.raises(UserError, match="unknown execution 'cuda_graph' on cpu"):
        device_table.check('cpu', ['cuda_graph'])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert device_table.check('cuda', None) == [*device_table.EXECUTIONS]
    assert device_table.check('cuda', ['fused_triton', 'plain']) == ['plain', 'fused_triton']


def test_steps_of_a_gpu_are_timed_by_events_between_which_nothing_waits(gpu):
    search, settings = Steps(gpu), settings_of(steps=3, seed=5)
    assert device_table._take(search, settings, 'cuda', warmup=2) == [3, 4, 5]
    assert gpu.calls == ['step', 'step', 'synchronize', 'record'] + 3 * ['step', 'record'] + [
        'synchronize'
    ]
    assert search.seeds == [5, 6, 7, 8, 9]


@pytest.mark.parametrize('execution', ['plain', 'fused', 'cuda_graph'])
def test_every_precision_of_a_gpu(monkeypatch, gpu, execution):
    made = []

    def search(settings, name, amp, device):
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        made.append((name, amp, device, *flags))
        return Steps(gpu)

    matmul, cudnn = SimpleNamespace(), SimpleNamespace()
    monkeypatch.setattr(torch.backends.cuda, 'matmul', matmul)
    monkeypatch.setattr(torch.backends, 'cudnn', cudnn)
    monkeypatch.setattr(device_table, 'Search', search)
    found = [*device_table.rows(settings_of(steps=2, warmup=1), 'cuda', execution)]
    assert [row['precision'] for row in found] == ['float32', 'tf32', 'bfloat16']
    # compiled ones take three steps before
    expected = (4.5, 5) if execution == 'cuda_graph' else (2.5, 3)
    assert {(row['seconds'], row['mb'], row['failure']) for row in found} == {(*expected, None)}
    name = dict(cuda_graph='plain_channels_last').get(execution, execution)
    assert made == [
        (name, False, 'cuda', False, False),
        (name, False, 'cuda', True, True),
        (name, True, 'cuda', False, False),
    ]
    ends = [i for i, call in enumerate(gpu.calls) if call == 'empty_cache']
    starts = [i for i, call in enumerate(gpu.calls) if call == 'reset_peak_memory_stats']
    assert len(ends) == len(starts) == 3
    assert starts[0] < ends[0] < starts[1] < ends[1] < starts[2]


def test_a_case_that_fails_is_a_row(monkeypatch, gpu):
    failures = [
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'),
        RuntimeError('backend failed | badly\nSet TORCHDYNAMO_VERBOSE=1'),
        RuntimeError('x' * 300),
    ]

    def fail(*args, **kwargs):
        raise failures.pop(0)

    monkeypatch.setattr(device_table, 'Search', fail)
    found = [*device_table.rows(settings_of(), 'cuda', 'compiled')]
    assert [row['failure'] for row in found] == [
        'out of memory',
        'backend failed / badly',
        97 * 'x' + '...',
    ]
    assert all(row['seconds'] is row['mb'] is None for row in found)
    assert gpu.calls.count('empty_cache') == 3


def test_triton_that_declines_is_a_row(monkeypatch, gpu):
    backend = device_table.get_backend('triton')
    monkeypatch.setattr(
        backend,
        'unsupported_reasons',
        lambda device, dtype, channels: [f'{device}: no {dtype}'],
    )
    found = [row['failure'] for row in device_table.rows(settings_of(), 'cuda', 'fused_triton')]
    assert found[0] == found[1] == 'declined: cuda:0: no torch.float32'
    assert found[2] == 'declined: cuda:0: no torch.bfloat16'


def test_steps_on_a_cpu():
    found = [*device_table.rows(settings_of(steps=2), 'cpu', 'plain')]
    assert [(row['execution'], row['precision']) for row in found] == [
        ('plain', 'float32'),
        ('plain', 'bfloat16'),
    ]
    assert all(row['seconds'] > 0 and row['mb'] is row['failure'] is None for row in found)


ROW = '{"execution": "plain", "precision": "float32", "seconds": 0.5, "mb": null, "failure": null}'


@pytest.mark.parametrize(
    ('program', 'failure'),
    [
        (f'print({ROW!r}); import sys; sys.exit("error: a GPU fell off")', 'a GPU fell off'),
        (f'print({ROW!r}, flush=True); import os; os._exit(7)', 'exit code 7'),
        (f'print({ROW!r}, flush=True); import os; os.kill(os.getpid(), 9)', 'killed by signal 9'),
        (f'print("{{}}"); print("{{a}}"); print({ROW!r}); print([1])', 'it gave no such row'),
    ],
)
def test_a_process_that_fails_leaves_the_rows_that_it_has_given(program, failure, capsys):
    found = device_table.table(settings_of(), 'cpu', ['plain'], 99, [sys.executable, '-c', program])
    first, second = found['rows']
    assert (first['seconds'], first['ratio'], first['images_per_s']) == (0.5, 1, 8)
    assert (second['precision'], second['seconds'], second['ratio']) == ('bfloat16', None, None)
    assert second['failure'] == failure
    capsys.readouterr()
    device_table.print_table(settings_of(), found)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith('nb201, C 4, N 1, batch 2, 8 x 8 pixels')
    assert f'PyTorch {torch.__version__}' in out[0]
    assert out[2:] == [
        '| execution | precision | ms a step | x plain float32 | images/s | peak, MB |',
        '| --- | --- | --- | --- | --- | --- |',
        '| plain | float32 | 500.00 | 1.00 | 8 |  |',
        f'| plain | bfloat16 | {failure} |  |  |  |',
    ]


def test_graphs_that_a_search_refuses_are_no_figures(monkeypatch, gpu):
    monkeypatch.setattr(torch.backends.cuda, 'matmul', SimpleNamespace())
    monkeypatch.setattr(torch.backends, 'cudnn', SimpleNamespace())
    monkeypatch.setattr(device_table, 'Search', lambda *a, **k: Steps(gpu, keeps_passes=True))
    rows = [*device_table.rows(settings_of(device='cpu'), 'cuda', 'cuda_graph')]
    assert len(rows) == 3
    for row in rows:
        assert row['seconds'] is None
        assert row['failure'].startswith("compile.mode='reduce-overhead' (--cuda-graph): ")


def test_a_process_that_does_not_end_leaves_them_too():
    command = ['sh', '-c', f"echo '{ROW}'; printf '%s' '{ROW[:30]}'; sleep 600"]
    found = device_table.table(settings_of(), 'cpu', ['plain'], 2, command)['rows']
    assert [row['seconds'] for row in found] == [0.5, None]
    assert found[1]['failure'] == 'did not finish within 2 s'


@pytest.mark.parametrize('limit', [float('inf'), 1e12])
def test_too_long_a_limit(limit):
    with pytest.raises(UserError, match=r'^--limit must be 1,000,000 seconds at most, but is '):
        device_table.table(settings_of(), 'cpu', ['plain'], limit, ['not started'])


def test_no_limit():
    with pytest.raises(UserError, match='^--limit must be above 0 seconds, but is 0$'):
        device_table.table(settings_of(), 'cpu', ['plain'], 0, [])
