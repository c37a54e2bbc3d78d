"""Checkpoints are read as data: nothing in them runs, and damage is noticed."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from forged_pickles import ForgedArray, ForgedDType
from helpers import digits_runner
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import CheckpointLoader

from rdarts.checkpoint.reading import read_checkpoint, read_named, safe_loaders
from rdarts.errors import UserError


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


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


# What is wrong with a file, and the line that says so. None: there is no file.
DAMAGE = [
    (None, 'checkpoint not found'),
    (b'', 'is damaged'),
    (b'text', 'is damaged'),
    (b'PK\x03\x04' + bytes(200), 'is damaged'),
    ([torch.zeros(1)], 'holds no dict, but list'),
]


@pytest.mark.parametrize(('content', 'message'), DAMAGE, ids=lambda value: repr(value)[:24])
def test_a_damaged_file_is_one_line(content, message, tmp_path):
    path = tmp_path / 'a.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_every_flipped_byte_of_the_tensors_is_noticed(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(weight=torch.full((64,), 1.5)), path)
    data = path.read_bytes()
    start = data.index(torch.full((64,), 1.5).numpy().tobytes())
    for offset in range(start, start + 256, 17):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 4]) + data[offset + 1 :])
        with pytest.raises(UserError, match='damaged'):
            read_checkpoint(path)


def test_names_that_are_no_files():
    with pytest.raises(UserError, match='copy it to a local file first'):
        read_named('petrel://bucket/a.pth')
    with pytest.raises(UserError, match='no model of that name'):
        read_named('torchvision://no_such_model')


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
