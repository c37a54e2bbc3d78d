"""A search in phases as a process: killed in a phase, on one rank and on two, and stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import run_tool, write_small_search
from same_runs import assert_same_state, rows
from test_tools.test_distributed import train_on_two

PHASES = """
train_cfg = dict(max_epochs=1)
phases = [
    {},
    dict(
        start=[dict(type='rdarts.KeepTopOps', keep=3)],
        continue_from_last=['weights', 'alpha', 'optimizer', 'schedule'],
        branches=BRANCHES,
        HOOKS
    ),
]
"""


def write(folder: Path, hook: dict[str, Any] | None = None, branches: int = 1) -> Path:
    """A search of two phases; a hook acts in the second one."""
    folder.mkdir(exist_ok=True)
    path = write_small_search(folder, images=48, batch_size=4)
    hooks = f'custom_hooks=[{hook!r}],' if hook else ''
    text = PHASES.replace('BRANCHES', str(branches)).replace('HOOKS', hooks)
    path.write_text(path.read_text() + text)
    return path


def assert_same(folder: Path, reference: Path) -> None:
    assert rows(folder) == rows(reference)
    names = ['genotype.json', 'genotypes/epoch_1.json', 'genotypes/epoch_2.json']
    for name in names:
        assert (folder / name).read_bytes() == (reference / name).read_bytes()
    for last in reference.glob('phase_*/**/last_checkpoint'):
        path = last.with_name(Path(last.read_text()).name).relative_to(reference)
        assert_same_state(folder / path, reference / path)


@pytest.mark.slow
@pytest.mark.parametrize('ranks', [1, 2])
def test_killed_in_the_second_phase_and_resumed(ranks, tmp_path):
    def start(config, work_dir, *args):
        if ranks == 2:
            return train_on_two(config, work_dir, *args)
        return [run_tool(['train.py', config, '--work-dir', work_dir, *args])]

    config = write(tmp_path / 'config', branches=ranks)
    for done in start(config, tmp_path / 'reference'):
        assert done.code == 0, done.err
    for number, event in ((1, 'alpha'), (2, 'weights')):
        kill = dict(type='SignalAt', event=event, number=number)
        kills = write(tmp_path / f'kill_{event}', kill, branches=ranks)
        found = start(kills, tmp_path / 'run', '--resume')
        assert [done.code for done in found] == [-signal.SIGKILL] * ranks, found[0].err
    for done in start(config, tmp_path / 'run', '--resume'):
        assert done.code == 0, done.err
    assert_same(tmp_path / 'run', tmp_path / 'reference')
    ended = json.loads((tmp_path / 'run' / 'phases.json').read_text())['ended']
    assert [one['phase'] for one in ended] == [0, 1]


@pytest.mark.slow
def test_stopped_and_resumed_and_a_phase_begun_anew(tmp_path):
    config, run = write(tmp_path / 'config'), tmp_path / 'run'
    stop = dict(type='SignalAt', event='iter', number=2, signum=int(signal.SIGTERM))
    stops = write(tmp_path / 'stop', stop)
    stopped = run_tool(['train.py', stops, '--work-dir', run])
    assert stopped.code == 128 + signal.SIGTERM
    assert 'saved: start the same command with --resume to go on' in stopped.err
    refused = run_tool(['train.py', config, '--work-dir', run, '--from-phase', '2'])
    assert (refused.code, refused.err.count('\n')) == (2, 1)
    assert '--from-phase must be 0 to 1, a phase of this config, but is 2' in refused.err
    done = run_tool(['train.py', config, '--work-dir', run, '--resume'])
    assert done.code == 0, done.err
    assert 'phase 2 of 2' in done.out
    before = rows(run)
    anew = run_tool(['train.py', config, '--work-dir', run, '--from-phase', '1'])
    assert anew.code == 0, anew.err
    assert rows(run) == before
