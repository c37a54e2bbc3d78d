"""``tools/benchmarks`` as processes: what a user sees."""

from __future__ import annotations

import functools
import json
import re

import pytest
import torch
from helpers import run_tool
from test_measure.test_counts import nb201_macs
from test_measure.tiny_settings import levels

pytestmark = pytest.mark.slow
TINY = ['--width', 4, '--depth', 1, '--image-size', 8, '--batch-size', 2, '--threads', 1,
        '--steps', 1, '--warmup', 0]  # fmt: skip
PLAIN = ['--executions', 'plain', 'plain_channels_last']
MB = 2**20
run_slowly = functools.partial(run_tool, timeout=400, forks=True)

KEYS = {
    'plain_s', 'plain_channels_last_s', 'fused_s', 'ratio', 'limit_ratio', 'plain_limit_ratio',
    'images_per_s', 'plain_images_per_s', 'regularizers_share', 'work_gflop', 'matrix_rate_gflops',
    'copy_rate_gbytes', 'roofline_s', 'roofline_ratio',
    'space', 'method', 'batch_size', 'width', 'depth', 'image_size', 'order', 'amp', 'steps',
    'warmup', 'threads', 'seed', 'processor_time', 'executions', 'checkpoint', 'device', 'cpu',
    'bf16_instructions', 'torch', 'rdarts', 'python',
}  # fmt: skip


def test_step_time_prints_one_object():
    done = run_slowly(['benchmarks/step_time.py', *TINY, *PLAIN, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert set(found) == KEYS
    assert found['fused_s'] is None and found['ratio'] is None
    forward, stem, first = nb201_macs(4, 8)
    assert found['work_gflop'] == 4 * (5 * forward - 2 * stem - first) / 1e9
    limit = found['work_gflop'] / found['matrix_rate_gflops']
    assert found['plain_limit_ratio'] == pytest.approx(limit / found['plain_s'])
    assert found['plain_images_per_s'] == pytest.approx(4 / found['plain_s'])
    assert (found['space'], found['method'], found['depth']) == ('nb201', 'rdarts', 1)
    assert (found['order'], found['threads']) == (1, 1)
    assert found['executions'] == ['plain', 'plain_channels_last']


def test_step_time_prints_a_table_with_units():
    done = run_slowly(
        ['benchmarks/step_time.py', *TINY, '--space', 's1', '--amp', '--executions', 'plain']
    )
    assert (done.code, done.err) == (0, '')
    assert 's1, C 4, 1 cell, batch 2, 8 x 8 pixels, order 1, 1 thread' in done.out
    for word in ('s a step', 'images/s', 'x plain', 'GFLOP/s', 'regularisers add'):
        assert word in done.out
    rows = [line.split() for line in done.out.splitlines() if line.startswith('plain')]
    assert [row[0] for row in rows] == ['plain', 'plain_amp'] and rows[0][3] == '1.00'


@pytest.mark.parametrize('space', ['nb201', 'darts'])
def test_step_time_compares_fused(space):
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--space', space, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert found['executions'] == ['plain', 'plain_channels_last', 'fused']
    assert found['ratio'] == pytest.approx(found['plain_s'] / found['fused_s'])
    assert found['images_per_s'] == pytest.approx(4 / found['fused_s'])
    limit = found['work_gflop'] / found['matrix_rate_gflops']
    assert found['limit_ratio'] == pytest.approx(limit / found['fused_s'])
    assert found['roofline_ratio'] == pytest.approx(found['roofline_s'] / found['fused_s'])


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('step_time', ['--space', 'nb20'], "--space: unknown space 'nb20': did you mean 'nb201'?"),
        ('step_time', ['--width', 'wide'], "argument --width: invalid int value: 'wide'"),
        ('step_time', ['--limit', '9'], '--limit is of the table of a device: add --device'),
        ('step_time', ['--device', 'cpu', '--scaling'], 'table of its own: leave out --scaling'),
        ('step_time', ['--device', 'cpu', '--limit', 'inf'], '--limit must be 1,000,000 seconds'),
        ('memory', ['--batch-size', '0'], '--batch-size must be 1 or more, but is 0'),
        ('memory', ['--speed'], 'unknown option --speed: did you mean'),
    ],
)
def test_mistakes_are_one_line(name, options, message):
    done = run_slowly([f'benchmarks/{name}.py', *TINY, *PLAIN, *options])
    assert done.code == 2 and done.out == ''
    assert message in done.err and len(done.err.strip().splitlines()) == 1


def test_step_time_has_a_table_of_a_device():
    options = [*TINY, '--device', 'cpu', '--executions', 'fused', 'plain']
    done = run_slowly(['benchmarks/step_time.py', *options])
    assert (done.code, done.err) == (0, 'plain ...\nfused ...\n')
    rows = [line.split(' | ') for line in done.out.splitlines() if line.startswith('|')]
    assert [row[:2] for row in rows[2:]] == [
        ['| plain', 'float32'],
        ['| plain', 'bfloat16'],
        ['| fused', 'float32'],
        ['| fused', 'bfloat16'],
    ]
    assert rows[2][3] == '1.00' and all(float(row[2]) > 0 for row in rows[2:])


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is there')
def test_step_time_needs_a_gpu_for_its_table():
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--device', 'cuda'])
    assert done.code == 2 and done.out == ''
    assert done.err == 'error: --device cuda: PyTorch finds no GPU here\n'


def test_memory_measures_each_execution_apart():
    options = [*TINY, '--image-size', 32, '--batch-size', 16, '--executions', 'plain', '--amp']
    done = run_slowly(['benchmarks/memory.py', *options, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert found['ratio'] is None and found['fused_mb'] is None
    # the cells' activations alone: 6 edges x 4 results of the operations and of their norms
    least = 16 * sum(w * s * s for w, s in levels(4, 32)) * 6 * 4 * 4 / MB
    for key in ('plain_mb', 'plain_amp_mb'):
        assert least / 2 < found[key] < 400
    assert found['plain_idle_mb'] > 100


def test_memory_compares_fused():
    options = [*TINY, '--executions', 'plain', 'fused']
    done = run_slowly(['benchmarks/memory.py', *options])
    assert (done.code, done.err) == (0, '')
    assert 'peak above idle, MB' in done.out and 'MB of 2^20 bytes' in done.out
    rows = [
        line.split()[0] for line in done.out.splitlines() if line.startswith(('plain', 'fused'))
    ]
    assert rows == ['plain', 'fused']


def test_a_profile_names_the_operators():
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--executions', 'plain', '--profile'])
    assert (done.code, 'by the profiler' in done.out) == (0, True), done.err
    rows, (split, last) = done.out.splitlines()[:-2], done.out.splitlines()[-2:]
    shares = [float(n) for n in re.findall(r'([\d.]+)%', '\n'.join(rows))]
    assert len(shares) == 20 and sum(shares) <= 100.5
    assert re.match(r'nodes 0\.0%, outside of them 100\.0%, of which optimizers and clips ', split)
    assert re.match(r'whole step, .*: [\d.]+ ms, roofline [\d.]+ ms, quotient 0\.\d\d$', last)
    done = run_slowly(['benchmarks/step_time.py', *TINY, '--profile', '--json'])
    assert done.code == 2 and 'leave out --json' in done.err


def test_threads_scale():
    options = [*TINY[:-6], '--threads', 2, '--steps', 1, '--warmup', 0, '--executions', 'fused']
    done = run_slowly(['benchmarks/step_time.py', *options, '--scaling'])
    assert done.code == 0, done.err
    assert re.search(r'^the machine: copies +\d\.\d\d$', done.out, re.M)
    last = done.out.splitlines()[-1]
    assert re.match(
        r'whole step, .*: one thread [\d.]+ ms, 2 threads [\d.]+ ms, scaling \d\.\d\d$', last
    )
    done = run_slowly(['benchmarks/step_time.py', *options, '--scaling', '--json'])
    assert done.code == 2 and '--scaling prints a table: leave out --json' in done.err


def test_ranks_are_measured_beside_processes_that_do_not_speak():
    done = run_slowly(['benchmarks/rank_time.py', *TINY, '--json', '--rounds', 1])
    # a busy machine may exceed any ratio
    assert (done.code in (0, 1), done.err) == (True, '')
    result = json.loads(done.out)
    assert (result['ranks'], result['rounds'], result['threads']) == (2, 1, 1)
    assert all(result[f'{case}_s'] > 0 for case in ('alone', 'apart', 'together'))


def test_the_error_of_float32_has_a_table_and_one_line_for_mistakes():
    done = run_slowly(['benchmarks/float32_error.py', *TINY, '--seeds', 1])
    assert (done.code, done.err) == (0, '')
    assert 'x plain' in done.out and 'float64' in done.out
    done = run_slowly(['benchmarks/float32_error.py', *TINY, '--seeds', 0])
    assert done.code == 2 and '--seeds must be 1 or more, but is 0' in done.err


def test_neighbours_are_measured():
    args = ['benchmarks/neighbours.py', '--json', '--rounds', 1, '--seconds', 0.1]
    done = run_slowly([*args, '--width', 4, '--depth', 1, '--image-size', 8, '--batch-size', 2,
                       '--steps', 1, '--warmup', 0])  # fmt: skip
    assert done.code in (0, 1), done.err  # a busy machine may exceed any ratio
    result = json.loads(done.out)
    assert (result['seconds'], result['rounds']) == (0.1, 1)
    for case in ('alone', 'spinning', 'one', 'second', 'busy'):
        assert result[f'{case}_s'] > 0
    assert result['second_steps'] >= 2
    assert (result['one_threads'], result['width']) == (1, 4)


def test_methods_are_measured_beside_the_softmax():
    args = [
        'benchmarks/method_time.py',
        *TINY,
        '--width',
        8,
        '--cases',
        'gdas',
        'drnas',
        'fairdarts',
    ]
    done = run_slowly([*args, '--draws', 2, '--processor-time'])
    assert done.code in (0, 1), done.err  # so small a net is not what the ratios are about
    rows = [line.split(' | ')[0] for line in done.out.splitlines() if line.startswith('|')]
    assert rows == ['| case', '| ---', '| GDAS', '| DrNAS (Dirichlet)', '| FairDARTS (sigmoid)']
    done = run_slowly([*args, '--draws', 2, '--json'])
    found = json.loads(done.out)
    assert done.code == bool(found['exceeded'])
    assert {name: row['steps'] for name, row in found['cases'].items()} == dict(
        gdas=2, drnas=1, fairdarts=1
    )
    assert (found['method'], found['executions'], found['width']) == ('darts', ['fused'], 8)
    done = run_slowly([*args, '--space', 'nb20'])
    assert done.code == 2 and "--space: unknown space 'nb20'" in done.err


def test_net_time_times_derived_networks():
    args = ['benchmarks/net_time.py', *TINY]
    done = run_slowly([*args, '--json'])
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out.splitlines()[-1])
    assert found['train_fused_ratio'] == found['train_plain_s'] / found['train_fused_s']
    assert (found['genotype'], found['eval_compiled_s'], found['threads']) == ('DARTS_V2', None, 1)
    done = run_slowly([*args, '--executions', 'plain', '--compile', '.1'])
    assert (done.code, done.err) == (0, '')
    rows = [line.split(' | ')[0] for line in done.out.splitlines() if line.startswith('|')]
    assert rows == ['| execution', '| ---', '| plain']
    assert done.out.endswith('torch.compile: did not finish within 0.1 s\n')
    done = run_slowly([*args, '--executions', 'fuse'])
    assert done.code == 2 and "--executions: unknown execution 'fuse'" in done.err
