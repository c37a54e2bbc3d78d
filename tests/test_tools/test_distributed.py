"""Two real processes over gloo: the same alpha on both, and the gradient of the joined batch."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import unmeasured
from helpers import Finished, ToolProcess, run_tool, write_small_search
from ranks import free_port, group, on_ranks, rank_env
from same_runs import rows
from test_tools.gradient_worker import gradient_worker
from test_tools.test_train_resume import same

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.results.log import read_search_log

ROOT = Path(__file__).resolve().parents[2]
RECORD = (dict(type='RecordAlpha'), dict(type='RecordGenotype'))
SMALL = dict(images=96, batch_size=4)  # 12 images a process and loader: 6 iterations an epoch


def train_on_two(config: Path, work_dir: Path, *args: Any) -> list[Finished]:
    """What torchrun would start, without its own processes."""
    command = ['train.py', config, '--work-dir', work_dir, '--launcher', 'pytorch', *args]
    ranks = [ToolProcess(command, env) for env in group(2)]
    return [rank.wait() for rank in ranks]


def alphas(work_dir: Path, rank: int, iteration: int) -> dict[str, torch.Tensor]:
    return torch.load(work_dir / f'alpha_{rank}_{iteration}.pt')['alpha']


def assert_ranks_equal(work_dir: Path, iterations: int = 18) -> None:
    seen = []
    for iteration in range(1, iterations + 1):
        first, second = (alphas(work_dir, rank, iteration) for rank in range(2))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), iteration
        seen.append(first['cell'])
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen))
    for epoch in range(1, iterations // 6 + 1):
        texts = [(work_dir / f'genotype_{rank}_{epoch}.txt').read_text() for rank in range(2)]
        assert texts[0] == texts[1]
        assert texts[0].startswith('|')


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    return write_small_search(tmp_path_factory.mktemp('config'), *RECORD, **SMALL)


@pytest.fixture(scope='module')
def reference(config, tmp_path_factory) -> Path:
    """An uninterrupted run of two processes."""
    work_dir = tmp_path_factory.mktemp('distributed')
    for done in train_on_two(config, work_dir):
        assert done.code == 0, done.err
    return work_dir


@pytest.mark.slow
def test_alpha_is_bit_equal_on_every_rank(reference):
    assert_ranks_equal(reference)
    # the ranks read different images, so that equality is the all-reduce's work
    assert (reference / 'genotype.json').exists()
    assert len((reference / 'search_log.jsonl').read_text().splitlines()) == 1 + 18 + 3 + 3


@pytest.mark.slow
def test_second_order_is_bit_equal_on_every_rank(tmp_path):
    small = write_small_search(tmp_path, *RECORD, **SMALL, architect=dict(order=2))
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    for done in train_on_two(small, tmp_path / 'run', *options):
        assert done.code == 0, done.err
    assert_ranks_equal(tmp_path / 'run', iterations=6)


@pytest.mark.slow
def test_kill_and_resume(config, reference, tmp_path):
    kill = dict(type='SignalAt', event='iter', number=11)
    killed = train_on_two(write_small_search(tmp_path, *RECORD, kill, **SMALL), tmp_path / 'run')
    assert [done.code for done in killed] == [-signal.SIGKILL] * 2
    for done in train_on_two(config, tmp_path / 'run', '--resume'):
        assert done.code == 0, done.err
    assert_ranks_equal(tmp_path / 'run')
    left, right = (
        read_checkpoint(folder / 'epoch_3_iter_18.pth')['state_dict']
        for folder in (tmp_path / 'run', reference)
    )
    assert all(torch.equal(left[key], right[key]) for key in right)
    name = 'genotype.json'
    assert (tmp_path / 'run' / name).read_bytes() == (reference / name).read_bytes()


@pytest.mark.slow
def test_two_ranks_go_back_alike(tmp_path):
    """After epoch 2 to epoch 1, as any growth is a sign; the second time killed before it."""
    anyhow = dict(window=1, delta=1, factor=1e-9, start_epoch=1, measure_interval=1, iterations=3)
    hooks = (*RECORD, dict(type='rdarts.AdaptiveDecayHook', **anyhow))
    config = write_small_search(tmp_path, *hooks, **SMALL)
    kill = dict(type='SignalAt', event='val', number=2)
    killed = write_small_search(tmp_path, *hooks, kill, **SMALL, name='killed.py')
    for done in train_on_two(config, tmp_path / 'whole'):
        assert done.code == 0, done.err
    assert_ranks_equal(tmp_path / 'whole')
    (mark,) = read_search_log(tmp_path / 'whole', 'roll_back')
    assert (mark['epoch'], mark['left_epoch'], mark['iter']) == (1, 2, 6)
    assert [done.code for done in train_on_two(killed, tmp_path / 'run')] == [-signal.SIGKILL] * 2
    for done in train_on_two(config, tmp_path / 'run', '--resume'):
        assert done.code == 0, done.err
    assert_ranks_equal(tmp_path / 'run')
    left, right = (
        read_checkpoint(tmp_path / name / 'epoch_3_iter_18.pth') for name in ('run', 'whole')
    )
    for key in ('state_dict', 'optimizer', 'arch', 'ranks', 'adaptive_decay'):
        assert same(left[key], right[key]), key
    assert left['optimizer']['param_groups'][0]['weight_decay'] == pytest.approx(3e-3)


@pytest.mark.slow
def test_two_ranks_ask_what_one_asks(tmp_path):
    config = ROOT / 'configs' / 'search' / 'az_nas_nb201_digits.py'
    options = ['--cfg-options', 'budget=5', 'model.backbone.channels=4', 'evaluator.batch_size=4']
    for done in train_on_two(config, tmp_path / 'two', *options):
        assert done.code == 0, done.err
    assert run_tool(['train.py', config, '--work-dir', tmp_path / 'one', *options]).code == 0
    one, two = (rows(tmp_path / name, 'query') for name in ('one', 'two'))
    assert one == two and len(one) == 5


@pytest.mark.slow
def test_signal_to_one_rank_stops_all(tmp_path):
    stop = dict(type='SignalAt', event='iter', number=4, signum=int(signal.SIGTERM), rank=1)
    small = write_small_search(tmp_path, stop, **SMALL)
    first, second = train_on_two(small, tmp_path / 'run')
    assert (first.code, second.code) == (143, 143), first.err + second.err
    assert 'stopped by SIGTERM after iteration 4' in first.err
    assert second.err.count('stopped by') == 0
    assert (tmp_path / 'run' / 'iter_4.pth').exists()


@pytest.mark.slow
def test_resume_with_another_number_of_processes(config, reference, tmp_path):
    work_dir = Path(shutil.copytree(reference, tmp_path / 'run'))
    refused = run_tool(['train.py', config, '--work-dir', work_dir, '--resume'])
    assert refused.code == 2
    assert 'an epoch had 6 iterations and now has 12 (another' in refused.err
    assert 'Traceback' not in refused.err


# A relaxation that samples


@pytest.mark.slow
def test_sampled_operations_on_two_ranks(tmp_path):
    """Some are never drawn, some draws are all `none`; both executions in one run."""
    hooks = (*RECORD, dict(type='RecordWeights'))
    switch = dict(type='SwitchExecution', iteration=4, execution='plain')
    relaxation = dict(type='HardDraw', never=3)
    small = write_small_search(tmp_path, *hooks, switch, **SMALL, relaxation=relaxation)
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    for done in train_on_two(small, tmp_path / 'run', *options):
        assert done.code == 0, done.err
    first, second = (torch.load(tmp_path / 'run' / f'weights_{rank}.pt') for rank in range(2))
    for part, expected in first.items():
        assert expected.keys() == second[part].keys()
        for name, tensor in expected.items():
            assert torch.equal(tensor, second[part][name]), (part, name)
    # what nobody drew has moved on no rank: neither momentum nor decay
    moved, names = first['momenta'].keys(), first['weights'].keys()
    assert not [name for name in moved if 'nor_conv_3x3' in name]
    assert [name for name in names if 'nor_conv_3x3' in name]
    assert [name for name in moved if 'nor_conv_1x1' in name]
    for iteration in range(1, 7):
        one, two = (alphas(tmp_path / 'run', rank, iteration) for rank in range(2))
        assert torch.equal(one['cell'], two['cell']), iteration


@pytest.mark.slow
def test_a_selection_on_two_ranks(tmp_path):
    """What is dropped has no gradient, and both ranks drop the same."""
    small = write_small_search(tmp_path, *RECORD, **SMALL)
    options = ('--cfg-options', 'train_cfg.type=rdarts.PerturbationSelection')
    for done in train_on_two(small, tmp_path / 'run', *options):
        assert done.code == 0, done.err
    assert_ranks_equal(tmp_path / 'run')
    decided = read_search_log(tmp_path / 'run', 'selection')
    assert len(decided) == 6
    # of the images of both
    shares = {round(v * 48 / 100, 9) for row in decided for v in row['scores'].values()}
    assert all(share == int(share) for share in shares) and any(share % 2 for share in shares)


@pytest.mark.slow
def test_the_first_rank_decides_on_the_execution(tmp_path):
    small = write_small_search(tmp_path, dict(type='ClockOfRank'), **SMALL)
    options = ['train_cfg.max_epochs=1', 'model.backbone.execution=auto']
    for done in train_on_two(small, tmp_path / 'run', '--cfg-options', *options):
        assert done.code == 0, done.err
    for rank in range(2):
        assert (tmp_path / 'run' / f'execution_{rank}.txt').read_text() == 'plain'


@pytest.mark.slow
def test_ranks_that_draw_apart(tmp_path):
    relaxation = dict(type='HardDraw', apart=4)
    small = write_small_search(tmp_path, **SMALL, relaxation=relaxation)
    for done in train_on_two(small, tmp_path / 'run'):
        assert done.code == 1, done.err
        assert 'Traceback' not in done.err
        assert 'the ranks drew different candidates at iteration ' in done.err


@pytest.mark.slow
def test_ranks_that_are_seeded_apart(tmp_path):
    small = write_small_search(tmp_path, **SMALL, relaxation=dict(type='HardDraw'))
    refused = run_tool(
        [
            *('train.py', small, '--work-dir', tmp_path / 'run', '--launcher', 'pytorch'),
            *('--cfg-options', 'randomness.diff_rank_seed=True'),
        ],
        group(1)[0],
    )
    assert refused.code == 2, refused.err
    assert 'error: randomness.diff_rank_seed is True, but' in refused.err
    assert 'Traceback' not in refused.err


# One gradient


def alpha_gradients(world_size: int, order: int, hessian: str) -> list[torch.Tensor]:
    results = on_ranks(gradient_worker, order, hessian, world_size=world_size, timeout=40)
    if world_size == 2:
        assert results[0] == results[1]
    return [torch.tensor(grad, dtype=torch.float64) for step in results[0] for grad in step]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('order', 'hessian', 'tolerance'),
    [
        (1, 'finite_difference', 1e-10),
        (2, 'autograd', 1e-10),
        # the difference of two nearly equal gradients, over a small radius
        (2, 'finite_difference', 1e-8),
    ],
)
def test_alpha_gradient_is_that_of_the_joined_batch(order, hessian, tolerance):
    one, two = (alpha_gradients(world_size, order, hessian) for world_size in (1, 2))
    assert len(one) == len(two) == 4
    for single, both in zip(one, two, strict=True):
        assert single.norm() > 1e-6
        assert (single - both).norm() <= tolerance * single.norm()
    # each step has a batch of its own
    assert not torch.allclose(one[0], one[1], rtol=1e-3)


# The launcher


def dist_train(*args: Any, **env: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT / 'tests'), str(ROOT)])
    own = dict(PYTHON=sys.executable, PYTHONPATH=path, OMP_NUM_THREADS='1', **env)
    with unmeasured():  # what they run, the other tests run
        return subprocess.run(
            ['bash', str(ROOT / 'tools' / 'dist_train.sh'), *map(str, args)],
            cwd=ROOT,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=180,
        )


@pytest.mark.slow
def test_dist_train(config, reference, tmp_path):
    """Under torchrun: the same search as the processes of the other tests."""
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    done = dist_train(config, 2, '--work-dir', tmp_path / 'run', *options, PORT=str(free_port()))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('genotype: ') == 1
    assert_ranks_equal(tmp_path / 'run', iterations=6)
    assert torch.equal(alphas(tmp_path / 'run', 0, 6)['cell'], alphas(reference, 0, 6)['cell'])


@pytest.mark.slow
def test_port_in_use(config, tmp_path):
    with socket.create_server(('', 0)) as server:
        port = server.getsockname()[1]
        done = dist_train(config, 2, '--work-dir', tmp_path / 'run', PORT=str(port))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert f'port {port} on 127.0.0.1 is in use; choose another' in done.stderr
        direct = run_tool(
            ['train.py', config, '--work-dir', tmp_path / 'run', '--launcher', 'pytorch'],
            rank_env(0, 2, port),
        )
    assert direct.code == 2
    lines = [line for line in direct.err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    assert f'cannot join the process group at port {port}' in lines[0]
    assert 'PORT=' in lines[0]
    assert 'Traceback' not in direct.err
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_launcher_without_its_environment(config, tmp_path):
    refused = run_tool(
        ['train.py', config, '--work-dir', tmp_path / 'run', '--launcher', 'pytorch']
    )
    assert refused.code == 2
    assert refused.err.startswith('error: --launcher pytorch: RANK is not set')
    assert 'Traceback' not in refused.err
