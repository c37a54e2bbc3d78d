"""What speaking costs ranks: quotients by hand."""

from __future__ import annotations

import os
import sys

import pytest

from rdarts.errors import RunFailed, UserError
from rdarts.measure import rank_time
from rdarts.measure.rank_time import Ranks
from rdarts.measure.settings import StepSettings

# Ranks wait for each other, as over gloo; rank 1 does not live long, but until all have begun.
ENDS = """
import os, signal, sys, time
from pathlib import Path
Path(sys.argv[1], str(os.getpid())).touch()
first, last = int(os.environ.get('RANK', 1)) == 0, sys.argv[2]
speaks = '--speak' in sys.argv
if speaks and not first and last == 'start':
    for _ in range(3000):
        if len(os.listdir(sys.argv[1])) == 4:
            break
        time.sleep(0.02)
    sys.exit('error: there is no such device')
if speaks and last == 'start':
    time.sleep(100)
print('ready', flush=True)
while sys.stdin.readline():
    if speaks and not first:
        os.kill(os.getpid(), signal.SIGKILL)
    if speaks:
        time.sleep(100)
    print(1.0, flush=True)
"""
DESCRIBED = dict(cpu='c', torch='t', threads=1, steps=4, batch_size=8)


def test_quotients_of_rounds_by_hand(capsys):
    # the machine is slower in the second round: a quotient is of one round
    found = dict(
        alone=[[1.0], [2.0], [1.0]],
        apart=[[1.0, 1.5], [2.0, 3.0], [1.0, 1.5]],
        together=[[1.5, 1.5], [2.5, 2.5], [2.0, 2.0]],
        described=DESCRIBED,
    )
    result = rank_time.summarise(found)
    assert (result['alone_s'], result['apart_s'], result['together_s']) == (1.0, 1.25, 2.0)
    assert result['cost_ratio'] == 1.5 / 1.25  # of 1.2, 1.0 and 1.6
    assert result['scaling_ratio'] == 1.0 / 1.5
    assert (result['ranks'], result['rounds'], result['exceeded']) == (2, 3, True)
    rank_time.print_table(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split() == '2 processes that do not speak 1.2500 25.6'.split()
    assert lines[-2] == 'ranks / processes that do not speak: 1.200, at most 1.08  too much'
    assert lines[-1] == 'images/s of 2 ranks / 2 times one process: 0.667'
    found['together'] = found['apart']
    assert not rank_time.summarise(found)['exceeded']


def test_mistakes_are_refused():
    fused = StepSettings(executions=['fused'])
    for settings, ranks, rounds in (
        (fused, 1, 1),
        (fused, 2, 0),
        (StepSettings(executions=['fused'], amp=True), 2, 1),
        (StepSettings(), 2, 1),
    ):
        with pytest.raises(UserError):
            Ranks(settings, [], ranks, rounds)


@pytest.mark.parametrize(
    ('when', 'why'), [('start', 'there is no such device'), ('turn', 'signal SIGKILL')]
)
def test_a_rank_that_ends_ends_all(tmp_path, when, why):
    (tmp_path / 'ends.py').write_text(ENDS)
    (tmp_path / 'pids').mkdir()
    command = [sys.executable, str(tmp_path / 'ends.py'), str(tmp_path / 'pids'), when]
    plan = Ranks(StepSettings(executions=['fused'], threads=1), command, rounds=1)
    with pytest.raises(RunFailed, match=f'^rank 1 has ended: {why}$'):
        rank_time.measure(plan)
    pids = [int(path.name) for path in (tmp_path / 'pids').iterdir()]
    assert len(pids) == 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_mistakes_of_settings_are_met_before_a_process_starts():
    settings = StepSettings(executions=['fused'], threads=1, steps=0)
    with pytest.raises(UserError, match='^--steps must be 1 or more, but is 0$'):
        rank_time.measure(Ranks(settings, ['not started']))
    with pytest.raises(UserError, match=r'^--ranks must be \d+ or less here, but is 1000: '):
        Ranks(settings, ['not started'], ranks=1000)


# Says its seed, and joins a group whose store must be there before any rank is.
SAYS = """
import os, socket, sys
if '--speak' in sys.argv:
    socket.create_connection((os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))).close()
sys.stderr.write('x' * 200_000)
print('ready', flush=True)
seed = int(sys.argv[sys.argv.index('--seed') + 1])
while sys.stdin.readline():
    print(seed, flush=True)
print('{}')
"""


def test_ranks_have_batches_of_their_own_and_a_port_that_is_held():
    """And what they say on stderr does not stop them."""
    settings = StepSettings(executions=['fused'], threads=1, seed=5)
    plan = Ranks(settings, [sys.executable, '-c', SAYS], rounds=1)
    expected = dict(alone=[[5]], apart=[[5, 6]], together=[[5, 6]], described={})
    assert rank_time.measure(plan) == expected
