"""Errors of tools: one line and an exit code; defects keep their traceback."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
import torch
from helpers import start_fails

from rdarts import cli
from rdarts.configuration.options import parse_options
from rdarts.errors import Interrupted, RunFailed, UserError


def test_mistakes_in_arguments(tmp_path):
    if not torch.cuda.is_available():
        assert '--amp fp16 needs a GPU: use --amp bf16' in start_fails(tmp_path, '--amp', 'fp16')
        assert 'slurm needs GPUs' in start_fails(tmp_path, '--launcher', 'slurm')
    assert 'fit' in start_fails(tmp_path, '--cfg-options', 'train_cfg.max_epochs.x=1')


@pytest.mark.parametrize(
    ('error', 'line', 'code'),
    [
        (UserError('what is wrong'), 'error: what is wrong', 2),
        (RunFailed('what failed'), 'error: what failed', 1),
        # as a data loader's worker sends it
        (
            UserError('Caught UserError in worker 0.\nTraceback ...\nrdarts.errors.UserError: bad'),
            'error: bad',
            2,
        ),
        (Interrupted('stopped', 15), 'stopped', 143),
        (KeyboardInterrupt(), 'stopped at once; what was saved before is kept', 130),
        (
            OSError(errno.ENOSPC, 'No space', 'log.txt'),
            'error: no space left on the disk: log.txt',
            1,
        ),
        (MemoryError(), 'error: out of memory: a smaller train_dataloader.batch_size', 1),
    ],
)
def test_run_guarded(error, line, code, capsys):
    def main():
        raise error

    assert cli.run_guarded(main) == code
    err = capsys.readouterr().err
    assert line in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ('option', 'line'),
    [
        ('foo', "takes KEY=VALUE, but got 'foo'"),
        ('', "takes KEY=VALUE, but got ''"),
        ('a=[1,(2]', "cannot read 'a=[1,(2]': ']' closes no bracket"),
    ],
)
def test_options_that_cannot_be_parsed(option, line, capsys):
    assert cli.run_guarded(lambda: parse_options(['model.x=1', option])) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: --cfg-options') and line in err
    assert len(err.splitlines()) == 1


def test_defects_are_not_hidden(capsys):
    def main():
        raise ZeroDivisionError('a defect')

    with pytest.raises(ZeroDivisionError):
        cli.run_guarded(main)
    assert cli.run_guarded(lambda: None) == 0
    assert cli.run_guarded(lambda: 3) == 3


@pytest.mark.parametrize('flush', [True, False])
def test_a_reader_that_leaves_ends_a_tool_quietly(flush):
    code = (
        'import sys; from rdarts.cli import run_guarded\n'
        'def main():\n'
        '    sys.stdin.read()\n'  # until nobody reads
        f"    for _ in range(3): print('line', flush={flush})\n"
        'sys.exit(run_guarded(main))'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b''
    process.stderr.close()
    assert process.wait(120) == 141


def test_a_broken_pipe_of_ours_is_a_defect(capsys):
    def main():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        cli.run_guarded(main)


def test_only_the_first_rank_says_what_all_find(capsys, monkeypatch):
    def main():
        raise UserError('wrong')

    monkeypatch.setenv('RANK', '1')
    assert cli.run_guarded(main) == 2
    assert capsys.readouterr().err == ''
