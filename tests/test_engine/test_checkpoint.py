from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import digits_runner
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import CheckpointLoader
from test_engine.event_hooks import SignalAt
from torch import nn

from rdarts.checkpoint.directory import find_checkpoint, last_good, list_checkpoints, set_aside
from rdarts.checkpoint.hub_codec import pack_message_hub, unpack_message_hub
from rdarts.checkpoint.reading import read_checkpoint, read_named, safe_loaders
from rdarts.checkpoint.run_state import check_resumable
from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.stop_signals import StopRequest
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.utils.files import write_atomically


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


# Reading


def test_read_checkpoint(tmp_path):
    data = dict(
        state_dict=dict(weight=torch.arange(3.0)),
        meta=dict(epoch=1, iter=2, config='raise SystemExit', cfg='x = 1'),
        arrays=[np.arange(3), np.float64(0.5), np.array([True])],
    )
    torch.save(data, tmp_path / 'a.pth')
    read = read_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(read['state_dict']['weight'], torch.arange(3.0))
    assert read['meta'] == dict(epoch=1, iter=2, cfg='x = 1')
    assert [np.asarray(a).tolist() for a in read['arrays']] == [[0, 1, 2], 0.5, [True]]


@pytest.mark.parametrize('new_format', [True, False])
def test_code_is_refused_by_every_loader(new_format, tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save(
        dict(state_dict={}, evil=Evil(tmp_path / 'pwned')),
        path,
        _use_new_zipfile_serialization=new_format,
    )
    with safe_loaders():
        for load in (read_checkpoint, read_named, CheckpointLoader.load_checkpoint):
            with pytest.raises(UserError, match='refused: it would run code .*system'):
                load(str(path))
    assert not (tmp_path / 'pwned').exists()


def test_bare_pickle_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    path.write_bytes(pickle.dumps(Evil(tmp_path / 'pwned')))
    with pytest.raises(UserError):
        read_checkpoint(path)
    assert not (tmp_path / 'pwned').exists()


class ForgedDType:
    """Pickles as a dtype of any code and state."""

    def __init__(self, code, state):
        self.code, self.state = code, state

    def __reduce__(self):
        return np.dtype, (self.code, False, True), self.state


class ForgedArray:
    """Pickles as an array of a dtype."""

    def __init__(self, dtype):
        self.state = (1, (1,), dtype, False, b'AAAAAAAA')

    def __reduce__(self):
        return np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b'b'), self.state


@pytest.mark.parametrize(
    'dtype',
    [
        ForgedDType('O8', (3, '|', None, None, None, -1, -1, 63)),
        ForgedDType('V8', (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 8, 63)),
        ForgedDType('u1', (3, '|', (np.dtype('u1'), (9,)), None, None, 9, 1, 0)),
        ForgedDType('u1', (3, '|', None, None, None, 10**9, 1, 0)),
        ForgedDType('u1', None),
    ],
)
@pytest.mark.parametrize('new_format', [True, False])
def test_a_dtype_that_hides_something_is_refused(dtype, new_format, tmp_path):
    path = tmp_path / 'forged.pth'
    torch.save(
        dict(meta=dict(mean=ForgedArray(dtype))), path, _use_new_zipfile_serialization=new_format
    )
    with pytest.raises(UserError, match='refused: it holds numpy.dtype|damaged') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)


def test_what_others_let_torch_admit_is_not_admitted_here(tmp_path):
    before = list(torch.serialization.get_safe_globals())
    torch.save(dict(evil=Evil(tmp_path / 'pwned')), tmp_path / 'a.pth')
    torch.serialization.add_safe_globals([os.system])
    try:
        with pytest.raises(UserError, match='refused: it would run code .*system'):
            read_checkpoint(tmp_path / 'a.pth')
        assert os.system in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    assert not (tmp_path / 'pwned').exists()


@pytest.mark.parametrize(
    'where', ['rdarts.checkpoint.reading._history_data', 'rdarts.checkpoint.reading.unwrap']
)
@pytest.mark.parametrize('error', [AttributeError('x'), TypeError('x'), NameError('x')])
def test_a_defect_of_the_reader_is_not_reported_as_damage(where, error, tmp_path, monkeypatch):
    def broken(*args):
        raise error

    monkeypatch.setitem(broken.__globals__, '__name__', 'rdarts.broken')
    torch.save(dict(a=1), tmp_path / 'a.pth')
    monkeypatch.setattr(where, broken)
    with pytest.raises(type(error)) as caught:
        read_checkpoint(tmp_path / 'a.pth')
    assert not isinstance(caught.value, UserError)


def test_a_module_that_lacks_something_is_not_reported_as_damage(tmp_path, monkeypatch):
    torch.save(dict(a=1), tmp_path / 'a.pth')
    monkeypatch.delattr(torch.serialization, 'get_safe_globals')  # as old releases lacked it
    with pytest.raises(AttributeError, match='get_safe_globals'):
        read_checkpoint(tmp_path / 'a.pth')


def test_what_is_downloaded_is_read_alike(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    source = tmp_path / 'source.pth'
    fetched = []

    def download(url: str, path: str) -> None:
        fetched.append(url)
        shutil.copy(source, path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    torch.save(dict(meta=dict(config='raise SystemExit'), evil=Evil(tmp_path / 'pwned')), source)
    with pytest.raises(UserError, match='refused: it would run code'):
        read_named('https://example.org/files/evil.pth?raw=1')
    assert not (tmp_path / 'pwned').exists()
    torch.save(dict(meta=dict(config='raise SystemExit', epoch=1)), source)
    for _ in range(2):  # the second time from the cache
        read = read_named('https://example.org/good.pth')
        assert read == dict(meta=dict(epoch=1))
    assert len(fetched) == 2

    def fail(url: str, path: str) -> None:
        raise OSError('no route')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    with pytest.raises(UserError, match='cannot be downloaded: no route'):
        read_named('https://example.org/none.pth')


IMPORT = """
from mmengine.runner import CheckpointLoader
before = CheckpointLoader._schemes
kept = dict(before)
import rdarts.architect, rdarts.datasets, rdarts.apis.search, rdarts.hooks
from rdarts.models.heads.auxiliary_cls_head import AuxiliaryClsHead
AuxiliaryClsHead(num_classes=3, in_channels=4, auxiliary=dict(in_channels=4))
assert CheckpointLoader._schemes is before and dict(before) == kept
"""


@pytest.mark.slow
def test_importing_and_building_change_nothing_in_mmengine():
    env = dict(os.environ, OMP_NUM_THREADS='1')
    done = subprocess.run([sys.executable, '-c', IMPORT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def loaders():
    return dict(CheckpointLoader._schemes)


@pytest.mark.slow
def test_loaders_are_replaced_while_a_run_goes_on_and_no_longer(tmp_path):
    before = loaders()
    assert read_named not in before.values()
    seen = []

    class Look(Hook):
        def before_run(self, runner):
            seen.append(loaders())

        def after_train(self, runner):
            seen.append(loaders())

    runner = digits_runner(tmp_path, hooks=[Look()])
    assert loaders() == before
    runner.train()
    assert loaders() == before
    assert len(seen) == 2
    for table in seen:
        assert table.keys() == before.keys()
        assert {loader.__module__ for loader in table.values()} == {'rdarts.checkpoint.reading'}
        assert table[''] is read_named


def test_loaders_are_as_before_after_a_run_that_fails(tmp_path):
    before = loaders()

    class Fail(Hook):
        def before_train(self, runner):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        digits_runner(tmp_path, hooks=[Fail()]).train()
    assert loaders() == before


def test_two_runs_in_threads_leave_the_loaders_as_they_were():
    before = CheckpointLoader._schemes
    both, ended = threading.Barrier(2), threading.Event()

    def run(last: bool) -> None:
        with safe_loaders():
            both.wait(10)
            if last:
                ended.wait(10)
                assert CheckpointLoader._schemes[''] is read_named
        ended.set()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run, last) for last in (False, True)]:
            future.result()
    assert CheckpointLoader._schemes is before


@pytest.mark.slow
@pytest.mark.parametrize('runner_type', [None, 'Runner'])
@pytest.mark.parametrize('where', ['load_from', 'init_cfg'])
def test_no_file_that_a_run_loads_runs_code(where, runner_type, tmp_path):
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, evil=Evil(tmp_path / 'pwned')), evil)
    keys = dict(load_from=str(evil)) if where == 'load_from' else {}
    options = {}
    if where == 'init_cfg':  # of a module of mmpretrain
        options = {'model.init_cfg.type': 'Pretrained', 'model.init_cfg.checkpoint': str(evil)}
    if runner_type:
        keys['runner_type'] = runner_type
    with pytest.raises(UserError, match='refused: it would run code'):
        digits_runner(tmp_path / 'run', options, **keys).train()
    assert not (tmp_path / 'pwned').exists()


def test_a_runner_type_that_is_not_known(tmp_path):
    with pytest.raises(UserError, match="unknown runner_type 'Runer': did you mean 'Runner'"):
        digits_runner(tmp_path, runner_type='Runer')


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b'', 'damaged'),
        (b'text', 'damaged'),
        (b'PK\x03\x04' + bytes(200), 'damaged'),
    ],
)
def test_damaged(content, says, tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(UserError, match=f'checkpoint {path} is {says}'):
        read_checkpoint(path)


def test_every_flipped_byte_of_the_tensors_is_noticed(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(weight=torch.full((64,), 1.5)), path)
    data = path.read_bytes()
    start = data.index(torch.full((64,), 1.5).numpy().tobytes())
    for offset in range(start, start + 256, 17):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 4]) + data[offset + 1 :])
        with pytest.raises(UserError, match='damaged'):
            read_checkpoint(path)


def test_no_dict_and_no_file(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / 'list.pth')
    with pytest.raises(UserError, match='holds no dict, but list'):
        read_checkpoint(tmp_path / 'list.pth')
    with pytest.raises(UserError, match='checkpoint not found'):
        read_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(UserError, match='copy it to a local file first'):
        read_named('petrel://bucket/a.pth')
    with pytest.raises(UserError, match='no model of that name'):
        read_named('torchvision://no_such_model')


def test_message_hub_is_packed_as_plain_data():
    hub = MessageHub('packed')
    for value in (1.0, 2.0, 4.0):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float32(0.5))
    hub.update_info('nested', dict(a=[np.int64(3), None, 'x']))
    hub.update_info('object', object())
    packed = pack_message_hub(hub.state_dict())
    assert packed['runtime_info'] == dict(best_score=0.5, nested=dict(a=[3, None, 'x']))
    assert type(packed['runtime_info']['best_score']) is float
    restored = MessageHub('restored')
    restored.load_state_dict(unpack_message_hub(packed))
    assert restored.get_scalar('train/loss').mean() == pytest.approx(7 / 3)
    assert restored.get_scalar('train/loss').data[0].tolist() == [1.0, 2.0, 4.0]
    assert restored.get_info('best_score') == 0.5


# Finding


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b'')


def test_list_checkpoints_newest_first(tmp_path):
    touch(
        tmp_path,
        'iter_9.pth',
        'epoch_1_iter_10.pth',
        'iter_10.pth',
        'iter_100.pth',
        'best_accuracy_epoch_3.pth',
        '.iter_200.pth.tmp',
        'iter_x.pth',
        'weights.pth',
    )
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['iter_100.pth', 'epoch_1_iter_10.pth', 'iter_10.pth', 'iter_9.pth']
    assert str(tmp_path / 'iter_100.pth') in last_good(tmp_path)
    assert last_good(tmp_path / 'nothing') == 'There is no checkpoint yet.'


def test_find_checkpoint(tmp_path, caplog):
    assert find_checkpoint(tmp_path) is None
    touch(tmp_path, 'iter_3.pth')
    with pytest.raises(UserError, match='can be read: 1 are damaged'):
        find_checkpoint(tmp_path)
    torch.save(dict(a=1), tmp_path / 'iter_2.pth')
    torch.save(dict(a=1), tmp_path / 'iter_1.pth')
    assert find_checkpoint(tmp_path) == tmp_path / 'iter_2.pth'


def test_set_aside_numbers_its_folders(tmp_path):
    for number in (1, 2):
        touch(tmp_path, 'iter_3.pth')
        target = set_aside(tmp_path, [tmp_path / 'iter_3.pth'])
        assert target == tmp_path / f'previous_{number}'
        assert [path.name for path in target.iterdir()] == ['iter_3.pth']
    assert not (tmp_path / 'iter_3.pth').exists()


class Small(nn.Module):
    def __init__(self, width: int = 4, classes: int = 3, extra: bool = False) -> None:
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Linear(4, classes)
        if extra:
            self.more = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ('saved', 'own', 'says'),
    [
        (Small(), Small(width=6), r"another width or depth \('body.weight' is \[4, 2\]"),
        (Small(), Small(classes=5), r"another class number \('head.weight' is \[3, 4\]"),
        (Small(), Small(extra=True), "the checkpoint lacks 'more.weight'"),
        (Small(extra=True), Small(), "network lacks 'more.weight'"),
    ],
)
def test_check_resumable(saved, own, says):
    checkpoint = dict(meta=dict(epoch=0, iter=1), state_dict=saved.state_dict())
    check_resumable(checkpoint, saved)
    with pytest.raises(UserError, match=says):
        check_resumable(checkpoint, own)
    with pytest.raises(UserError, match='no state of a run'):
        check_resumable(dict(state_dict=saved.state_dict()), saved)


# Writing


def test_write_atomically(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    write_atomically(path, b'first')

    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError):
        write_atomically(path, b'second')
    assert path.read_bytes() == b'first'


def test_at_least_two_are_kept():
    assert AtomicCheckpointHook(max_keep_ckpts=1).keep == 2
    assert AtomicCheckpointHook(max_keep_ckpts=-1).keep is None
    assert AtomicCheckpointHook().keep == 3


@pytest.mark.parametrize(
    ('args', 'says'),
    [
        (dict(max_keep_ckpts=0), 'max_keep_ckpts must be a positive whole number, or -1'),
        (dict(max_keep_ckpts='3'), "max_keep_ckpts must be .* but is '3'"),
        (dict(save_optimizer=False), 'save_optimizer=False leaves out what resuming needs'),
        (dict(save_param_scheduler=False), 'save_param_scheduler=False leaves out'),
        (dict(out_dir='s3://bucket/run'), 'out_dir must be a local folder'),
    ],
)
def test_arguments_with_which_a_run_could_not_be_resumed(args, says):
    with pytest.raises(UserError, match=says):
        AtomicCheckpointHook(**args)


@pytest.mark.slow
def test_retention(tmp_path):
    options = {
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.checkpoint.iter_interval': 1,
    }
    before = signal.getsignal(signal.SIGINT)  # ignored in a shell's background
    runner = digits_runner(tmp_path, options)
    runner.train()
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_2_iter_4.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / names[0])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_by_minutes(tmp_path):
    runner = digits_runner(
        tmp_path,
        {'default_hooks.checkpoint.minutes': 1e-9, 'default_hooks.checkpoint.iter_interval': 0},
    )
    runner.train()
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_1_iter_2.pth', 'iter_2.pth', 'iter_1.pth']


@pytest.mark.parametrize('function', ['replace', 'fsync'])
def test_failed_write_keeps_the_old(function, tmp_path, monkeypatch):
    runner = digits_runner(tmp_path, {'default_hooks.checkpoint.iter_interval': 1})
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    save = hook._save

    def fail_at_second(runner, **kwargs):
        if kwargs['iteration'] == 2:

            def fail(*args):
                raise OSError('broken')  # without an error number

            monkeypatch.setattr(os, function, fail)
        save(runner, **kwargs)

    monkeypatch.setattr(hook, '_save', fail_at_second)
    with pytest.raises(RunFailed, match='cannot write the checkpoint .*iter_2.pth: broken. Last'):
        runner.train()
    monkeypatch.undo()
    assert [path.name for path in list_checkpoints(tmp_path)] == ['iter_1.pth']
    assert read_checkpoint(tmp_path / 'iter_1.pth')['meta']['iter'] == 1
    assert not list(tmp_path.glob('.*.tmp'))
    hook.stop.release()


def test_interrupted_exit_codes():
    assert Interrupted('', signal.SIGTERM).code == 143
    assert Interrupted('', signal.SIGINT).code == 130


@pytest.mark.slow
def test_a_closed_terminal_is_a_signal_unless_it_is_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        for ignored in (True, False):
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
            (runner := digits_runner(tmp_path)).register_hook(SignalAt('iter', 1, signal.SIGHUP))
            if ignored:  # as under nohup
                runner.train()
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            else:
                with pytest.raises(Interrupted, match='stopped by SIGHUP after iteration 1; saved'):
                    runner.train()
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [path.name for path in list_checkpoints(tmp_path)] == ['iter_1.pth']


# The history that mmengine's own hook saves


def test_a_checkpoint_of_mmengines_hook_is_read(tmp_path):
    hub = MessageHub('of_this_test')
    for value in (1.0, 2.0, 6.0):
        hub.update_scalar('train/loss', value)
    torch.save(dict(message_hub=hub.state_dict()), tmp_path / 'plain.pth')
    (history,) = read_checkpoint(tmp_path / 'plain.pth')['message_hub']['log_scalars'].values()
    assert history.mean() == 3.0 and history.statistics('max') == 6.0


class Attribute:
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return getattr, self.args


@pytest.mark.parametrize(
    'args', [(HistoryBuffer, 'register_statistics'), (HistoryBuffer, '__init__'), ([], 'append')]
)
def test_no_other_attribute_can_be_had(args, tmp_path):
    torch.save(dict(state=Attribute(*args)), tmp_path / 'evil.pth')
    with pytest.raises(UserError, match='refused|damaged'):
        read_checkpoint(tmp_path / 'evil.pth')


# Forked workers


def test_a_second_ctrl_c_stops_while_the_first_is_answered(monkeypatch):
    stop, said = StopRequest(), []

    def write(number, line):
        said.append(line)
        stop.note(signal.SIGINT, None)

    monkeypatch.setattr(os, 'write', write)
    with pytest.raises(KeyboardInterrupt):
        stop.note(signal.SIGINT, None)
    assert len(said) == 1


@pytest.mark.slow
def test_a_forked_worker_ends_by_sigterm_and_leaves_ctrl_c_to_its_parent():
    stop = StopRequest()
    before = {n: signal.signal(n, stop.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        context = multiprocessing.get_context('fork')
        worker = context.Process(target=time.sleep, args=(60,))
        worker.start()
        for _ in range(2):
            os.kill(worker.pid, signal.SIGINT)
        worker.join(0.5)
        assert worker.is_alive()
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == -signal.SIGTERM
        for _ in range(100):  # at any moment from its birth on
            worker = context.Process(target=time.sleep, args=(60,))
            worker.start()
            worker.terminate()
            worker.join(10)
            assert worker.exitcode == -signal.SIGTERM
        with context.Pool(1) as pool:
            assert pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Stopping: what is said at once, and validations


def equal(left, right):
    """Whether two nested states are equal bit by bit."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def epoch_rows(folder):
    rows = map(json.loads, (folder / 'search_log.jsonl').read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ('time', 'data_time', 'memory')}
            for row in rows if row.get('mode') != 'start']  # fmt: skip


@pytest.fixture
def ctrl_c():
    """SIGINT ends a run here, also where tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize('interval', [1, 2])
def test_a_stopped_validation_is_made_up(interval, tmp_path, ctrl_c, capfd):
    options = {'train_cfg.max_epochs': 2, 'default_hooks.checkpoint.interval': interval}
    ema = dict(type='EMAHook', momentum=0.5)

    def runner(name, hooks=(), **keys):
        return digits_runner(tmp_path / name, options, hooks=hooks, custom_hooks=[ema], **keys)

    runner('whole').train()
    capfd.readouterr()
    stop = SignalAt('val_iter', 1, signal.SIGINT)
    with pytest.raises(Interrupted, match='stopped by Ctrl-C in the validation of epoch 1; saved'):
        runner('run', [stop]).train()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith('Ctrl-C')]
    assert said == [
        'Ctrl-C: stops after a batch of the validation of epoch 1, with a checkpoint; '
        'Ctrl-C again stops at once'
    ]
    saved = read_checkpoint(tmp_path / 'run' / 'epoch_1_iter_2.pth')
    assert saved['validated'] is False
    runner('run', resume=True).train()
    last = 'epoch_2_iter_4.pth'
    left, right = (read_checkpoint(tmp_path / name / last) for name in ('run', 'whole'))
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'arch', 'random_state'):
        assert equal(left[key], right[key]), key
    assert epoch_rows(tmp_path / 'run') == epoch_rows(tmp_path / 'whole')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('event', 'number', 'says'),
    [
        ('iter', 1, 'iteration 1'),
        ('saved', 1, 'iteration 2'),
        ('saved', 2, 'epoch 1'),
        ('epoch', 1, 'epoch 1'),
        ('val', 1, 'a batch of the validation of epoch 1'),
    ],
)
def test_a_signal_says_what_is_being_finished(event, number, says, tmp_path, ctrl_c, capfd):
    options = {'train_cfg.max_epochs': 2}
    runner = digits_runner(tmp_path, options, hooks=[SignalAt(event, number, signal.SIGTERM)])
    with pytest.raises(Interrupted, match='stopped by SIGTERM') as stopped:
        runner.train()
    assert stopped.value.code == 143
    err = capfd.readouterr().err
    assert f'SIGTERM: stops after {says}, with a checkpoint; Ctrl-C again stops at once\n' in err
