"""``rdarts.torchrun``: the exit code of what has ended a run, and no traceback."""

from __future__ import annotations

import pytest
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from rdarts import cli, torchrun


def failed(code):
    return ChildFailedError('train.py', {1: ProcessFailure(1, 12, code, 'none')})


@pytest.mark.parametrize(
    ('error', 'code', 'says'),
    [
        (None, 0, ''),
        (SignalException('got 2', 2), 130, ''),
        (failed(2), 2, ''),  # the process has said why
        (failed(130), 130, ''),
        (failed(-15), 143, 'error: process 1 of the run was ended by SIGTERM\n'),
        (failed(-9), 137, 'was ended by SIGKILL; the system does so to what takes too much mem'),
    ],
)
def test_exit_codes(error, code, says, monkeypatch, capsys):
    def start(args):
        assert args.nproc_per_node == '2'
        if error is not None:
            raise error

    monkeypatch.setattr(run, 'run', start)
    monkeypatch.setattr('sys.argv', ['torchrun', '--nproc-per-node=2', 'train.py', 'config.py'])
    assert cli.run_guarded(torchrun.main) == code
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == bool(says)
