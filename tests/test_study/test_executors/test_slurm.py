"""Slurm, in whose place stand submitit's processes of this machine and commands that we write."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from cluster_runs import coded_run, search_with_a_killed_job

from rdarts.errors import Interrupted, UserError
from rdarts.study.executors.base import Job, Outcome, Resources
from rdarts.study.queue import cancel_all, run_all

pytest.importorskip('submitit', reason='submitit is not installed')

from rdarts.study.executors.slurm import SlurmExecutor

COUNT = 'import sys; open(sys.argv[1] + "/starts", "a").write(" ".join(sys.argv[2:]) + ";")'


@pytest.fixture
def local():
    return SlurmExecutor(Resources(), cluster='local')


def test_runs_end_and_fail_by_themselves(tmp_path, capsys, local):
    good = coded_run(tmp_path / 'good', COUNT)
    bad = coded_run(tmp_path / 'bad', 'raise SystemExit("error: no space left")')
    run_all([bad, good], local)
    assert (good.state(), bad.state(), bad.error) == ('done', 'new', 'no space left')
    out = capsys.readouterr().out
    assert 'failed  bad: no space left\n' in out and 'ended   good\n' in out
    run_all([coded_run(tmp_path / 'good', COUNT)], local)
    assert (tmp_path / 'good' / 'starts').read_text() == ';'


@pytest.mark.slow
def test_a_search_whose_worker_is_killed_ends_with_the_same(tmp_path, capsys, monkeypatch, local):
    search_with_a_killed_job(tmp_path, local, monkeypatch)
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ['new', 'lost', 'resume', 'ended']


SLEEPS = (
    COUNT
    + """
import time
while not __import__('os').path.exists(sys.argv[1] + '/go'):
    time.sleep(.05)
"""
)


def test_another_command_waits_for_what_runs(tmp_path, capsys, local):
    """The first is stopped: its job goes on, and is neither started twice nor lost."""
    first = coded_run(tmp_path / 'a', SLEEPS)

    def stop(number, frame):
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(Interrupted, match='by SIGTERM: 1 job goes on in Slurm: the same'):
            run_all([first], local)
    finally:
        signal.signal(signal.SIGALRM, before)
    again = SlurmExecutor(Resources(), cluster='local')
    second = coded_run(tmp_path / 'a', SLEEPS)
    assert second.state() == 'running' and second.state(again) == 'running'
    (tmp_path / 'a' / 'go').touch()
    run_all([second], again)
    assert (tmp_path / 'a' / 'starts').read_text() == ';'
    assert capsys.readouterr().out == 'new     a\nrunning a\nended   a\n'


def test_one_that_ended_while_nobody_waited_is_done(tmp_path, local):
    run = coded_run(tmp_path / 'a', COUNT)
    run.start(local)
    deadline = time.monotonic() + 30
    while not (tmp_path / 'a' / 'run_exit.json').exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert coded_run(tmp_path / 'a', COUNT).state() == 'done'
    local.poll([run.job])


def test_jobs_are_cancelled(tmp_path, capsys, local):
    run = coded_run(tmp_path / 'a', SLEEPS)
    run.start(local)
    deadline = time.monotonic() + 30
    while not (tmp_path / 'a' / 'starts').exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cancel_all([coded_run(tmp_path / 'a', SLEEPS), coded_run(tmp_path / 'b', SLEEPS)], local)
    assert capsys.readouterr().out == 'cancelled a\n1 of 2 runs had a job\n'
    while not local.poll([run.job]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_job_of_another_executor_is_not_forgotten(tmp_path):
    folder = tmp_path / 'a'
    folder.mkdir()
    stored = dict(settings=dict(seed=0), ended=False, executor='ray', token='rdarts-1', job='7')
    (folder / 'run.json').write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r'a job of ray \(7\) may still run in it: go on with'):
        coded_run(folder, COUNT).state(SlurmExecutor(Resources(), cluster='local'))


# Slurm's commands


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of commands of Slurm that print what files beside them say."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in ('sbatch', 'srun', 'squeue', 'sacct', 'sinfo', 'scancel'):
        text = f'#!/bin/sh\necho "$@" >> {folder}/{name}.asked\n'
        text += (
            f'cat {folder}/{name}.out\ncat {folder}/{name}.err >&2\n[ ! -s {folder}/{name}.err ]'
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        for suffix in ('out', 'err'):
            (folder / f'{name}.{suffix}').touch()
    (folder / 'sinfo.out').write_text('small\ngpu\n')
    monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')
    return folder


def test_what_a_job_is_given(tmp_path, slurm):
    (slurm / 'sbatch.out').write_text('Submitted batch job 12\n')
    executor = SlurmExecutor(Resources(1, 8, 32 << 30), 'gpu', hours=2)
    job = Job('a', tmp_path / 'a', ['true'])
    assert executor.submit(job) == '12'
    script = (tmp_path / 'a' / 'slurm' / '12_submission.sh').read_text().splitlines()
    for option in ('gpus-per-node=1', 'cpus-per-task=8', 'mem=32768M', 'partition=gpu', 'time=120'):
        assert f'#SBATCH --{option}' in script
    assert '#SBATCH --requeue' in script and f'#SBATCH --job-name={job.token}' in script
    assert '--cpus-per-task=8' in script[-1] or '--cpus-per-task=8' in script[-2]


@pytest.mark.parametrize(
    ('state', 'error', 'again'),
    [
        ('PENDING', None, None),
        ('COMPLETING', None, None),
        ('REQUEUED', None, None),
        ('NODE_FAIL', 'job 12 of Slurm ended as NODE_FAIL', True),
        ('PREEMPTED', 'job 12 of Slurm ended as PREEMPTED', True),
        ('FAILED', 'job 12 of Slurm ended as FAILED: srun: error: task 0: Killed', True),
        ('CANCELLED by 0', 'job 12 of Slurm was cancelled', False),
        ('OUT_OF_MEMORY', 'job 12 of Slurm needed more than its memory (--memory)', False),
        ('COMPLETED', None, None),  # what it has left may be seen later
    ],
)
def test_what_a_state_means(tmp_path, slurm, state, error, again):
    executor, job = SlurmExecutor(Resources()), Job('a', tmp_path, token='t', id='12')
    (slurm / 'squeue.out').write_text(f'other|11|RUNNING\nt|12|{state}\n')
    if state == 'FAILED':
        (tmp_path / 'slurm').mkdir()
        (tmp_path / 'slurm' / '12_0_log.err').write_text('x\nsrun: error: task 0: Killed\n')
    found = executor.poll([job])
    if error is None:
        assert found == {}
    else:
        assert (found['t'].code, found['t'].error, found['t'].again) == (None, error, again)


def test_what_squeue_has_forgotten_the_accounting_knows(tmp_path, slurm):
    executor, job = SlurmExecutor(Resources()), Job('a', tmp_path, token='t', id='12')
    (slurm / 'sacct.out').write_text('t|12|OUT_OF_MEMORY\n')
    assert executor.poll([job])['t'].error.endswith('needed more than its memory (--memory)')


def test_each_job_that_squeue_has_forgotten_is_asked_for(tmp_path, slurm):
    """Runs are asked for one by one, and squeue at most once a second."""
    executor = SlurmExecutor(Resources())
    executor.interval = 60.0
    (slurm / 'sacct.out').write_text('a|11|CANCELLED by 0\nb|12|CANCELLED by 0\n')
    (slurm / 'squeue.out').write_text('c|13|RUNNING\n')
    jobs = [Job(name, tmp_path, token=name, id=str(11 + i)) for i, name in enumerate('abcd')]
    found = [executor.poll([job]) for job in (*jobs, jobs[0])]
    errors = [[outcome.error for outcome in one.values()] for one in found]
    first, second = (f'job {number} of Slurm was cancelled' for number in (11, 12))
    assert errors == [[first], [second], [], [], [first]]
    asked = (slurm / 'sacct.asked').read_text()
    assert [name in asked for name in ('--name=a ', '--name=b ', '--name=d ')] == [True] * 3
    assert asked.count('\n') == 3 and (slurm / 'squeue.asked').read_text().count('\n') == 1


def test_a_controller_that_does_not_answer_ends_nothing(tmp_path, slurm):
    executor, job = SlurmExecutor(Resources()), Job('a', tmp_path, token='t', id='12')
    (slurm / 'squeue.err').write_text('slurm_load_jobs error: Unable to contact slurm controller\n')
    assert executor.poll([job]) == {}


def test_cancelling_names_the_jobs(tmp_path, slurm):
    (slurm / 'squeue.out').write_text('t|12|RUNNING\n')
    SlurmExecutor(Resources()).cancel([Job('a', tmp_path, token='t', id='12')])
    assert (slurm / 'scancel.asked').read_text() == '12\n'


def test_what_cannot_be_cancelled_keeps_no_other_from_it(tmp_path, slurm):
    (slurm / 'squeue.out').write_text('a|12|RUNNING\nb|13|RUNNING\n')
    (slurm / 'scancel').write_text(
        f'#!/bin/sh\necho "$@" >> {slurm}/scancel.asked\n'
        'case "$*" in *12*) echo "scancel: error: Invalid job id 12" >&2; exit 1;; esac\n'
    )
    jobs = [Job(name, tmp_path, token=name) for name in 'abc']
    reason = 'a: Slurm cannot be asked: scancel: error: Invalid job id 12$'
    with pytest.raises(UserError, match=f'^1 of 3 jobs are not cancelled: {reason}'):
        SlurmExecutor(Resources()).cancel(jobs)
    assert (slurm / 'scancel.asked').read_text() == '12\n13\n--name=c\n'
    with pytest.raises(UserError, match=f'^{reason}'):
        SlurmExecutor(Resources()).cancel(jobs[:1])


def test_what_slurm_may_have_taken_is_cancelled_by_its_name(tmp_path, slurm):
    (slurm / 'squeue.out').write_text('t|12|RUNNING\n')
    jobs = [Job('a', tmp_path, token='t'), Job('b', tmp_path, token='u')]
    SlurmExecutor(Resources()).cancel(jobs)
    assert (slurm / 'scancel.asked').read_text() == '12\n--name=u\n'


def test_a_job_that_is_refused_fails_alone(tmp_path, slurm, capsys):
    message = 'sbatch: error: Batch job submission failed: Requested node configuration is not here'
    (slurm / 'sbatch.err').write_text(f'{message}\n')
    run = coded_run(tmp_path / 'a', COUNT)
    run_all([run], SlurmExecutor(Resources()))
    assert run.error == f'Slurm refuses the job: {message.removeprefix("sbatch: error: ")}'
    assert capsys.readouterr().out.count('\n') == 2
    # nothing of it is waited for
    assert coded_run(tmp_path / 'a', COUNT).state(SlurmExecutor(Resources())) == 'new'


def test_a_job_that_sbatch_may_have_handed_in_is_not_forgotten(tmp_path, slurm, capsys):
    """What it printed names no job, or the disk was full after it."""
    (slurm / 'sbatch.out').write_text('sent\n')
    run = coded_run(tmp_path / 'a', COUNT)
    run_all([run], SlurmExecutor(Resources()))
    assert run.error.startswith('Slurm refuses the job: ')
    again = SlurmExecutor(Resources())
    assert coded_run(tmp_path / 'a', COUNT).state(again) == 'running'


DOWN = 'sbatch: error: Batch job submission failed: {}'


def test_while_the_controller_is_down_a_run_waits(tmp_path, slurm, capsys, monkeypatch):
    reason = 'Unable to contact slurm controller (connect failure)'
    (slurm / 'sbatch.err').write_text(DOWN.format(reason))
    (slurm / 'squeue.err').write_text('slurm_load_jobs error: Unable to contact slurm controller\n')
    runs, polls = [coded_run(tmp_path / name, COUNT) for name in 'ab'], []
    executor = SlurmExecutor(Resources())
    executor.interval = 0.05

    def poll(jobs):
        polls.append([job.name for job in jobs])
        if len(polls) == 3:
            (slurm / 'sbatch.err').write_text('')
            (slurm / 'squeue.err').write_text('')
            (slurm / 'sbatch.out').write_text('Submitted batch job 12\n')
        return {job.token: Outcome(0) for job in jobs}

    monkeypatch.setattr(executor, 'poll', poll)
    run_all(runs, executor)
    waits = f'waits   a: Slurm does not answer: Batch job submission failed: {reason}'
    expected = ['new     a', waits, 'new     b', 'ended   a', 'ended   b']
    assert capsys.readouterr().out.splitlines() == expected
    assert polls == [[], [], [], ['a', 'b']]
    # the controller is asked, not the job handed in, until it answers
    assert (slurm / 'sbatch.asked').read_text().count('\n') == 3


@pytest.mark.parametrize(
    'reason',
    ['Socket timed out on send/recv operation', 'Zero Bytes were transmitted or received'],
)
def test_a_job_that_slurm_may_have_taken_is_not_handed_in_again(tmp_path, slurm, reason):
    (slurm / 'sbatch.err').write_text(DOWN.format(reason))
    run, executor = coded_run(tmp_path / 'a', COUNT), SlurmExecutor(Resources())
    run.start(executor)
    token = run.job.token
    (slurm / 'squeue.out').write_text(f'{token}|14|RUNNING\n')
    assert executor.poll([run.job]) == {}
    assert coded_run(tmp_path / 'a', COUNT).state(SlurmExecutor(Resources())) == 'running'
    (slurm / 'squeue.out').write_text(f'{token}|14|CANCELLED\n')
    (outcome,) = SlurmExecutor(Resources()).poll([run.job]).values()
    assert outcome.error == 'job 14 of Slurm was cancelled'


def written_number(run):
    return json.loads((run.folder / 'run.json').read_text())['job']


@pytest.mark.parametrize('again', [False, True])
def test_a_number_that_is_known_later_is_written_down(tmp_path, slurm, monkeypatch, again):
    """By who started the job, or by another command."""
    (slurm / 'sbatch.err').write_text(DOWN.format('Socket timed out on send/recv operation'))
    run, executor = coded_run(tmp_path / 'a', COUNT), SlurmExecutor(Resources())
    if again:
        run.start(executor)
        assert written_number(run) == ''
        (slurm / 'squeue.out').write_text(f'{run.job.token}|14|RUNNING\n')
        run, executor = coded_run(tmp_path / 'a', COUNT), SlurmExecutor(Resources())
    executor.interval, poll, numbers = 0.05, executor.poll, []

    def one_after_another(jobs):
        numbers.append(written_number(run))
        if jobs:
            (slurm / 'squeue.out').write_text(f'{jobs[0].token}|14|RUNNING\n')
        return poll(jobs) if len(numbers) < 3 else {job.token: Outcome(0) for job in jobs}

    monkeypatch.setattr(executor, 'poll', one_after_another)
    run_all([run], executor)
    assert numbers[0] == '' and numbers[-1] == '14'


def test_the_accounting_is_asked_for_what_has_no_number(tmp_path, slurm):
    (slurm / 'sacct.out').write_text('t|14|OUT_OF_MEMORY\n')
    job = Job('a', tmp_path, token='t')
    assert SlurmExecutor(Resources()).poll([job])['t'].error.startswith('job 14 of Slurm needed')
    assert job.id == '14'


@pytest.mark.parametrize('tag', ['%j', '%t', '%A', '%a'])
def test_a_folder_that_submitit_would_rename(tmp_path, slurm, tag):
    good, bad = coded_run(tmp_path / 'a', COUNT), coded_run(tmp_path / f'b{tag}' / 'c', COUNT)
    with pytest.raises(
        UserError, match=f'b{tag}/c has {tag} in it, in whose place submitit .*-dir'
    ):
        run_all([good, bad], SlurmExecutor(Resources()))
    assert not good.folder.exists() and not bad.folder.exists()


def test_a_cluster_that_is_not_there(slurm, monkeypatch):
    with pytest.raises(UserError, match='--slurm-partition big: Slurm has no such .* gpu, small$'):
        SlurmExecutor(Resources(), 'big')
    (slurm / 'sinfo.err').write_text('sinfo: error: Unable to contact slurm controller\n')
    with pytest.raises(UserError, match='^Slurm cannot be asked: sinfo: error: Unable to contact'):
        SlurmExecutor(Resources())
    monkeypatch.setenv('PATH', str(slurm.parent))
    with pytest.raises(UserError, match='there is no sbatch here'):
        SlurmExecutor(Resources())
