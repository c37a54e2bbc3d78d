"""The work directory of a run: made, set aside, resumed."""

from __future__ import annotations

import shutil

import pytest
from helpers import digits_config

from rdarts.engine.work_dir import prepare_work_dir, set_resume
from rdarts.errors import UserError
from rdarts.utils.commands import shown_path


def test_prepare_work_dir(tmp_path, capsys):
    folder = tmp_path / 'a' / 'b c'
    assert prepare_work_dir(folder, keep=False) == folder
    (folder / 'config.py').write_text('')
    prepare_work_dir(folder, keep=False)  # a start that failed is no run
    assert not (folder / 'previous_1').exists()
    for number in (1, 2):
        for name in ('search_log.jsonl', 'iter_3.pth', 'own_notes.txt'):
            (folder / name).write_text(str(number))
        (folder / 'genotypes').mkdir()
        prepare_work_dir(folder, keep=True)
        assert not (folder / f'previous_{number}').exists()
        prepare_work_dir(folder, keep=False)
        moved = sorted(path.name for path in (folder / f'previous_{number}').iterdir())
        assert {'genotypes', 'iter_3.pth', 'search_log.jsonl'} <= set(moved)
        assert 'own_notes.txt' not in moved
    targets = [shown_path(folder / f'previous_{number}') for number in (1, 2)]
    printed = capsys.readouterr().out
    assert all(f'held an earlier run: moved to {target} (' in printed for target in targets)
    with pytest.raises(UserError, match='cannot be written: Not a directory'):
        prepare_work_dir(folder / 'own_notes.txt' / 'run', keep=False)


def test_resume_without_a_checkpoint_keeps_what_is_there(tmp_path, capsys):
    """As after a kill while an earlier run was moved aside."""
    (tmp_path / 'search_log.jsonl').write_text('rows\n')
    cfg = digits_config(tmp_path)
    set_resume(cfg, True)
    assert not cfg.resume
    assert 'found no checkpoint' in capsys.readouterr().out
    assert (tmp_path / 'previous_1' / 'search_log.jsonl').read_text() == 'rows\n'


def test_checkpoints_are_moved_aside_first(tmp_path, monkeypatch):
    """Ended in between, a start with --resume never mixes two runs."""
    for name in ('iter_1.pth', 'iter_2.pth', 'search_log.jsonl'):
        (tmp_path / name).write_text('')
    moved = []
    monkeypatch.setattr(shutil, 'move', lambda path, target: moved.append(path.name))
    prepare_work_dir(tmp_path, keep=False)
    assert moved == ['iter_2.pth', 'iter_1.pth', 'search_log.jsonl']
