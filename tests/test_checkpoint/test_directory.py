"""The checkpoints of a work directory: found, passed over, set aside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rdarts.checkpoint.directory import find_checkpoint, last_good, list_checkpoints, set_aside
from rdarts.errors import UserError


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
