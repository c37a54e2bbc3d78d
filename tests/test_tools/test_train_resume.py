"""tools/train.py as real processes: killed, stopped, resumed, and given bad checkpoints."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from helpers import Finished, ToolProcess, run_tool, write_small_search
from same_runs import assert_same_run, rows, same

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.utils.commands import shown_path

LAST = 'epoch_3_iter_18.pth'


def train(config: Path, work_dir: Path, *args: Any) -> Finished:
    return run_tool(['train.py', config, '--work-dir', work_dir, *args])


def one_line(err: str) -> str:
    """The one line of an error."""
    assert 'Traceback' not in err
    lines = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, err
    return lines[0]


def snapshot(work_dir: Path) -> dict[str, bytes]:
    """Every file of a run, less the frameworks' logs of single starts."""
    files = [path for path in work_dir.iterdir() if path.is_file() and path.name != '.lock']
    files += (work_dir / 'genotypes').iterdir()
    return {str(path.relative_to(work_dir)): path.read_bytes() for path in files}


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    return write_small_search(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def reference(config, tmp_path_factory) -> Path:
    """An uninterrupted run: 18 iterations, 3 epochs."""
    work_dir = tmp_path_factory.mktemp('reference')
    done = train(config, work_dir)
    assert done.code == 0, done.err
    return work_dir


@pytest.fixture
def copied(reference, tmp_path) -> Path:
    """A copy of the uninterrupted run."""
    return Path(shutil.copytree(reference, tmp_path / 'run'))


def test_uninterrupted(reference):
    log = rows(reference)
    iterations = [(row['epoch'], row['iter']) for row in log if row['kind'] == 'iter']
    assert iterations == [((i - 1) // 6 + 1, i) for i in range(1, 19)]
    assert [row['epoch'] for row in log if row['kind'] == 'val'] == [1, 2, 3]
    assert [row['epoch'] for row in log if row['kind'] == 'epoch'] == [1, 2, 3]
    assert sorted(path.name for path in reference.glob('*.pth')) == [
        LAST,
        'iter_15.pth',
        'iter_18.pth',
    ]
    assert (reference / 'last_checkpoint').read_text() == str(reference / LAST)
    alphas = [row['arch_loss'] for row in log if row['kind'] == 'iter']
    assert len(set(alphas)) == 18
    # nothing but plain data and tensors: loads without any exception made for it
    assert torch.load(reference / LAST, weights_only=True)['meta']['iter'] == 18


@pytest.mark.slow
@pytest.mark.parametrize(
    ('event', 'number', 'newest'),
    [
        ('iter', 2, None),  # before any checkpoint
        ('iter', 5, 'iter_3.pth'),  # in mid-epoch
        ('saved', 9, 'iter_9.pth'),
        ('iter', 12, 'iter_9.pth'),  # in an epoch's last iteration, before its checkpoint
        ('saved', 12, 'iter_12.pth'),  # after it, before the epoch's end
        ('epoch', 2, 'epoch_2_iter_12.pth'),  # between a checkpoint and its validation
        ('val', 2, 'epoch_2_iter_12.pth'),
        ('writing', 9, 'epoch_1_iter_6.pth'),  # while a checkpoint is written
    ],
)
def test_kill_and_resume(event, number, newest, config, reference, tmp_path):
    kill = dict(type='SignalAt', event=event, number=number)
    killed = train(write_small_search(tmp_path, kill), tmp_path / 'run')
    assert killed.code == -signal.SIGKILL, killed.err
    found = [path.name for path in (tmp_path / 'run').glob('*.pth')]
    if newest is None:
        assert found == []
    else:
        assert newest in found
        assert max(int(name.split('_')[-1][:-4]) for name in found) == int(
            newest.split('_')[-1][:-4]
        )
    assert (tmp_path / 'run' / '.iter_9.pth.tmp').exists() == (event == 'writing')
    resumed = train(config, tmp_path / 'run', '--resume')
    assert resumed.code == 0, resumed.err
    assert ('found no checkpoint' in resumed.out) == (newest is None)
    assert_same_run(tmp_path / 'run', reference, LAST)


@pytest.mark.slow
def test_killed_twice(config, reference, tmp_path):
    for event, number in (('iter', 4), ('epoch', 2)):
        kill = write_small_search(tmp_path, dict(type='SignalAt', event=event, number=number))
        assert train(kill, tmp_path / 'run', '--resume').code == -signal.SIGKILL
    assert train(config, tmp_path / 'run', '--resume').code == 0
    assert_same_run(tmp_path / 'run', reference, LAST)


@pytest.mark.slow
def test_workers_change_nothing(config, reference, tmp_path):
    options = [
        f'{name}_dataloader.{key}'
        for name in ('train', 'arch', 'val')
        for key in ('num_workers=2', 'persistent_workers=True')
    ]
    kill = write_small_search(tmp_path, dict(type='SignalAt', event='iter', number=10))
    killed = train(kill, tmp_path / 'run', '--cfg-options', *options)
    assert killed.code == -signal.SIGKILL, killed.err
    resumed = train(config, tmp_path / 'run', '--resume', '--cfg-options', *options)
    assert resumed.code == 0, resumed.err
    assert_same_run(tmp_path / 'run', reference, LAST)


@pytest.mark.slow
def test_save_best_does_not_repeat_a_validation(config, reference, tmp_path):
    option = ['--cfg-options', 'default_hooks.checkpoint.save_best=accuracy/top1']
    kill = write_small_search(tmp_path, dict(type='SignalAt', event='val', number=1))
    assert train(kill, tmp_path / 'run', *option).code == -signal.SIGKILL
    assert read_checkpoint(tmp_path / 'run' / 'epoch_1_iter_6.pth')['validated']
    assert train(config, tmp_path / 'run', '--resume', *option).code == 0
    assert_same_run(tmp_path / 'run', reference, LAST)


@pytest.mark.slow
def test_noise_and_second_order(tmp_path):
    """S4's noise operation draws from the global generators; order 2 reads momentum."""
    small = dict(space='s4', images=48, batch_size=8, architect=dict(order=2))
    options = [
        '--cfg-options',
        'train_cfg.max_epochs=2',
        'default_hooks.checkpoint.iter_interval=2',
    ]
    plain = write_small_search(tmp_path, **small)
    done = train(plain, tmp_path / 'reference', *options)
    assert done.code == 0, done.err
    kill = dict(type='SignalAt', event='iter', number=5)
    killed = train(
        write_small_search(tmp_path, kill, name='kill.py', **small), tmp_path / 'run', *options
    )
    assert killed.code == -signal.SIGKILL, killed.err
    resumed = train(plain, tmp_path / 'run', '--resume', *options)
    assert resumed.code == 0, resumed.err
    assert_same_run(tmp_path / 'run', tmp_path / 'reference', last='epoch_2_iter_6.pth')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('signum', 'code', 'name'),
    [(signal.SIGTERM, 143, 'SIGTERM'), (signal.SIGINT, 130, 'Ctrl-C')],
)
def test_stop_and_resume(signum, code, name, config, reference, tmp_path):
    # the terminal sends Ctrl-C to the workers of the data loaders too
    stop = dict(type='SignalAt', event='iter', number=8, signum=int(signum))
    options = ['--cfg-options'] + [f'{n}_dataloader.num_workers=1' for n in ('train', 'arch')]
    stopped = train(write_small_search(tmp_path, stop), tmp_path / 'run', *options)
    assert stopped.code == code, stopped.err
    assert f'stopped by {name} after iteration 8' in stopped.err
    assert '--resume' in stopped.err
    assert 'Traceback' not in stopped.err
    assert (tmp_path / 'run' / 'iter_8.pth').exists()
    resumed = train(config, tmp_path / 'run', '--resume')
    assert resumed.code == 0, resumed.err
    assert_same_run(tmp_path / 'run', reference, LAST)


@pytest.mark.slow
def test_two_runs_in_one_work_dir(config, tmp_path):
    work_dir = tmp_path / 'run'
    stop = dict(type='SignalAt', event='iter', number=8, signum=int(signal.SIGSTOP))
    args = ['train.py', write_small_search(tmp_path, stop), '--work-dir', work_dir]
    first = ToolProcess(args)
    try:
        for _ in range(1200):
            if psutil.Process(first.pid).status() == psutil.STATUS_STOPPED:
                break
            time.sleep(0.05)
        before = snapshot(work_dir)
        for more in ([], ['--resume']):
            second = train(config, work_dir, *more)
            assert second.code == 2
            line = one_line(second.err)
            assert f'{work_dir} is in use: process {first.pid} on {socket.gethostname()}, ' in line
            assert snapshot(work_dir) == before
        assert train(config, work_dir, '--dry-run').code == 0
        assert snapshot(work_dir) == before
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    resumed = train(config, work_dir, '--resume')
    assert resumed.code == 0, resumed.err


def test_second_ctrl_c_stops_at_once(tmp_path):
    stop = dict(type='SignalAt', event='iter', number=2, signum=int(signal.SIGINT))
    stopped = train(write_small_search(tmp_path, stop, stop), tmp_path / 'run')
    assert stopped.code == 130
    assert 'stopped at once' in stopped.err
    assert 'Traceback' not in stopped.err
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.slow
def test_second_ctrl_c_while_it_saves(config, tmp_path):
    stop = dict(type='SignalAt', event='iter', number=2, signum=int(signal.SIGINT))
    stops = write_small_search(tmp_path, stop, dict(stop, event='writing'))
    each = 'default_hooks.checkpoint.iter_interval=1'
    stopped = train(stops, tmp_path / 'run', '--cfg-options', each)
    assert stopped.code == 130
    assert stopped.err.endswith('\nstopped at once; what was saved before is kept\n')
    assert 'Traceback' not in stopped.err
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_1.pth']
    resumed = train(config, tmp_path / 'run', '--resume')
    assert resumed.code == 0, resumed.err


# Damaged and foreign checkpoints


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    """One bit of a tensor; between two of them lies what nobody reads."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        place = data.index(archive.read(largest)) + largest.file_size // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def garbage(data: bytes) -> bytes:
    return bytes(range(256)) * 16


def empty(data: bytes) -> bytes:
    return b''


@pytest.mark.slow
@pytest.mark.parametrize('damage', [cut, flip, garbage, empty])
def test_damaged_newest(damage, config, reference, copied):
    for name in (LAST, 'iter_18.pth'):
        (copied / name).write_bytes(damage((copied / name).read_bytes()))
    resumed = train(config, copied, '--resume')
    assert resumed.code == 0, resumed.err
    for name in (LAST, 'iter_18.pth'):
        assert f'skipped: checkpoint {copied / name} is damaged' in resumed.out + resumed.err
    assert_same_run(copied, reference, LAST)


def test_all_damaged(config, copied):
    for path in copied.glob('*.pth'):
        path.write_bytes(cut(path.read_bytes()))
    before = snapshot(copied)
    resumed = train(config, copied, '--resume')
    assert resumed.code == 2
    assert f'no checkpoint in {copied} can be read: 3 are damaged' in one_line(resumed.err)
    assert snapshot(copied) == before


@pytest.mark.slow
def test_resume_a_file(config, reference, copied):
    resumed = train(config, copied, '--resume', copied / 'iter_15.pth')
    assert resumed.code == 0, resumed.err
    assert_same_run(copied, reference, LAST)
    # those past it, which a later --resume would have taken, are kept aside
    aside = sorted(path.name for path in (copied / 'previous_1').iterdir())
    assert aside == [LAST, 'iter_18.pth']
    assert (copied / 'previous_1' / LAST).read_bytes() == (reference / LAST).read_bytes()


def test_resume_a_file_that_is_missing(config, tmp_path):
    missing = train(config, tmp_path / 'run', '--resume', tmp_path / 'nothing.pth')
    assert missing.code == 2
    assert f'checkpoint not found: {tmp_path / "nothing.pth"}' in one_line(missing.err)


def test_resume_of_a_finished_run_changes_nothing(config, reference, copied):
    assert train(config, copied, '--resume').code == 0
    assert_same_run(copied, reference, LAST)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture(params=['zip', 'legacy'])
def evil(request, reference, tmp_path) -> Path:
    """A checkpoint of the run that would also make a file ``pwned``."""
    checkpoint = torch.load(reference / LAST, weights_only=True)
    checkpoint['extra'] = Evil(f'touch {tmp_path / "pwned"}')
    path = tmp_path / 'evil.pth'
    torch.save(checkpoint, path, _use_new_zipfile_serialization=request.param == 'zip')
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    'way',
    [
        ['--resume', '{}'],
        ['--cfg-options', 'load_from={}'],
        [
            '--cfg-options',
            'model.backbone.init_cfg.type=Pretrained',
            'model.backbone.init_cfg.checkpoint={}',
        ],
        [
            '--cfg-options',
            'model.init_cfg.type=Pretrained',
            'model.init_cfg.checkpoint={}',
        ],
        ['--cfg-options', 'model.pretrained={}'],
    ],
    ids=['resume', 'load_from', 'init_cfg', 'model_init_cfg', 'pretrained'],
)
def test_checkpoint_that_would_run_code(way, evil, config, tmp_path):
    refused = train(config, tmp_path / 'run', *(part.format(evil) for part in way))
    assert refused.code == 2, refused.err
    line = one_line(refused.err)
    assert f'checkpoint {evil} refused: it would run code' in line
    assert 'system' in line
    assert not (tmp_path / 'pwned').exists()
    # the attack itself works where it is let through
    torch.load(evil, weights_only=False)
    assert (tmp_path / 'pwned').exists()


def test_newest_that_would_run_code_is_passed_over(evil, config, reference, copied, tmp_path):
    shutil.copy(evil, copied / LAST)
    resumed = train(config, copied, '--resume')
    assert resumed.code == 0, resumed.err
    assert 'refused: it would run code' in resumed.out + resumed.err
    assert not (tmp_path / 'pwned').exists()
    assert_same_run(copied, reference, LAST)


@pytest.mark.slow
def test_stored_config_is_not_run(config, reference, copied, tmp_path):
    checkpoint = torch.load(copied / 'iter_15.pth', weights_only=True)
    code = f'import os\nos.system("touch {tmp_path / "pwned"}")\ngpu_ids = [0]\n'
    checkpoint['meta'].update(config=code, cfg=code)
    torch.save(checkpoint, copied / 'evil.pth')
    for way in (
        ['--resume', copied / 'evil.pth'],
        ['--cfg-options', f'load_from={copied}/evil.pth'],
    ):
        done = train(config, copied, *way)
        assert done.code == 0, done.err
        assert not (tmp_path / 'pwned').exists()


def test_checkpoint_of_weights_only(config, copied, tmp_path):
    state = read_checkpoint(copied / LAST)['state_dict']
    torch.save(dict(state_dict=state), tmp_path / 'weights.pth')
    refused = train(config, copied, '--resume', tmp_path / 'weights.pth')
    assert refused.code == 2
    assert 'the checkpoint is not of a search' in one_line(refused.err)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['model.backbone.channels=4', 'model.head.in_channels=16'], 'another width or depth'),
        (['model.head.num_classes=12'], 'is 10, but model.head.num_classes is 12'),
        (['model.backbone.cells_per_stage=2'], 'another depth or space'),
        (['train_dataloader.batch_size=2'], 'an epoch had 6 iterations and now has 12'),
        (['randomness.seed=5'], 'begun with seed 0, not 5'),
        (['default_hooks.architect.order=2'], 'with the architect FirstOrder, this config has'),
    ],
)
def test_resume_with_another_config(options, says, config, copied):
    before = snapshot(copied)
    refused = train(config, copied, '--resume', '--cfg-options', *options)
    assert refused.code == 2, refused.err
    assert says in one_line(refused.err)
    assert snapshot(copied) == before


def test_resume_with_another_space(copied, tmp_path):
    before = snapshot(copied)
    other = write_small_search(tmp_path, space='s2')
    refused = train(other, copied, '--resume')
    assert refused.code == 2, refused.err
    line = one_line(refused.err)
    assert "the space 'nas_bench_201'" in line
    assert "searches 's2'" in line
    assert snapshot(copied) == before


# Runs that fail


@pytest.mark.slow
@pytest.mark.parametrize(
    ('event', 'says'),
    [
        ('before_alpha', 'the search loss L_val became nan at iteration 6 (epoch 1)'),
        ('before_weights', 'the training loss became nan at iteration 6 (epoch 1)'),
        ('after', "'head.fc.weight' holds NaN or infinite values after iteration 6; not saved"),
    ],
)
def test_nan(event, says, config, reference, tmp_path):
    poison = dict(type='Poison', event=event, iteration=6)
    failed = train(write_small_search(tmp_path, poison), tmp_path / 'run')
    assert failed.code == 1, failed.err
    line = one_line(failed.err)
    assert says in line
    assert f'Last good checkpoint: {tmp_path / "run" / "iter_3.pth"}' in line
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_3.pth']
    if event == 'after':
        assert train(config, tmp_path / 'run', '--resume').code == 0
        assert_same_run(tmp_path / 'run', reference, LAST)


def test_nan_by_learning_rate(config, tmp_path):
    options = ['optim_wrapper.optimizer.lr=1e30', 'optim_wrapper.clip_grad=None']
    failed = train(config, tmp_path / 'run', '--cfg-options', *options)
    assert failed.code == 1, failed.err
    assert 'a lower learning rate may help. There is no checkpoint yet.' in one_line(failed.err)


@pytest.mark.slow
def test_full_disk(config, reference, tmp_path):
    full = dict(type='FullDisk', iteration=5)
    failed = train(write_small_search(tmp_path, full), tmp_path / 'run')
    assert failed.code == 1, failed.err
    line = one_line(failed.err)
    assert f'cannot write the checkpoint {tmp_path / "run" / "iter_6.pth"}: no space left' in line
    assert 'iter_3.pth' in line
    assert not list((tmp_path / 'run').glob('.*.tmp'))
    assert train(config, tmp_path / 'run', '--resume').code == 0
    assert_same_run(tmp_path / 'run', reference, LAST)


# The work directory


def test_work_dir_that_cannot_be_written(config, tmp_path):
    (tmp_path / 'file').write_text('kept')
    refused = train(config, tmp_path / 'file' / 'run')
    assert refused.code == 2
    line = one_line(refused.err)
    assert f'the work directory {tmp_path / "file" / "run"} cannot be written' in line
    assert '--work-dir' in line
    assert (tmp_path / 'file').read_text() == 'kept'


@pytest.mark.slow
def test_second_start_keeps_the_first_run(config, copied):
    before = snapshot(copied)
    again = train(config, copied, '--seed', '1')
    assert again.code == 0, again.err
    assert f'moved to {shown_path(copied / "previous_1")}' in again.out
    assert snapshot(copied / 'previous_1') == before
    # another seed is another search
    first, second = (
        read_checkpoint(folder / LAST)['state_dict'] for folder in (copied / 'previous_1', copied)
    )
    assert not same(first, second)
    assert read_checkpoint(copied / LAST)['meta']['seed'] == 1
