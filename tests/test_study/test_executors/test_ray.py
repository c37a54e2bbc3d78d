"""A Ray cluster of two machines, which are processes below this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from cluster_runs import TESTS, coded_run, search_with_a_killed_job

from rdarts.errors import UserError
from rdarts.study.executors.base import Resources
from rdarts.study.queue import cancel_all, run_all

pytest.importorskip('ray', reason='Ray is not installed')

from rdarts.study.executors.ray import RayExecutor

COUNT = 'import sys; open(sys.argv[1] + "/starts", "a").write(" ".join(sys.argv[2:]) + ";")'
KILL_PARENT = (
    COUNT
    + """
import os, signal, time
if sys.argv[2:] == []:
    open(sys.argv[1] + "/iter_3.pth", "w").close()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""
)


@pytest.fixture(scope='module')
def address():
    """Of two machines with one core each."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, sys.path)])
    patch = pytest.MonkeyPatch()
    patch.setenv('PYTHONPATH', path)  # of the machines' workers
    patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    node = dict(num_cpus=1, include_dashboard=False, object_store_memory=80 << 20)
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    yield cluster.address
    import ray

    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def executor(address):
    import ray

    found = RayExecutor(Resources(), address, patience=0.5)
    yield found
    ray.shutdown()


@pytest.mark.slow
def test_a_job_whose_worker_is_killed_goes_on_and_another_fails(tmp_path, capsys, executor):
    killed = coded_run(tmp_path / 'killed', KILL_PARENT, resume=('--resume',))
    bad = coded_run(tmp_path / 'bad', 'raise SystemExit("error: no space left")')
    run_all([killed, bad], executor)
    assert (killed.state(), bad.state(), bad.error) == ('done', 'new', 'no space left')
    assert (tmp_path / 'killed' / 'starts').read_text() == ';--resume;'
    out = capsys.readouterr().out
    assert 'lost    killed: Ray has lost the job ' in out and 'resume  killed\n' in out
    # one that a machine ends each time is given up
    again = coded_run(tmp_path / 'again', KILL_PARENT.replace('if sys.argv[2:] == []', 'if True'))
    run_all([again], executor, retries=1)
    assert (tmp_path / 'again' / 'starts').read_text() == ';;'
    assert again.error.startswith('Ray has lost the job ')


@pytest.mark.slow
def test_a_search_whose_worker_is_killed_ends_with_the_same(
    tmp_path, capsys, monkeypatch, executor
):
    search_with_a_killed_job(tmp_path, executor, monkeypatch)
    out = capsys.readouterr().out.splitlines()
    ours = [line.split()[0] for line in out if line[8:].startswith('cut')]  # Ray prints, too
    assert ours == ['new', 'lost', 'resume', 'ended']


@pytest.mark.slow
def test_jobs_outlive_who_started_them_and_are_cancelled(tmp_path, capsys, executor):
    import ray

    code = 'import os, sys, time; open(sys.argv[1] + "/pid", "w").write(f"{os.getpid()}\\n")'
    code += '; time.sleep(60)'
    run = coded_run(tmp_path / 'a', code)
    run.start(executor)
    path, deadline = tmp_path / 'a' / 'pid', time.monotonic() + 30
    while not (path.exists() and path.read_text().endswith('\n')):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    address = ray.get_runtime_context().gcs_address
    ray.shutdown()
    again = RayExecutor(Resources(), address, patience=0.5)
    other = coded_run(tmp_path / 'a', code)
    assert other.state(again) == 'running'
    assert psutil.pid_exists(int(path.read_text()))
    cancel_all([other], again)
    assert capsys.readouterr().out == 'cancelled a\n1 of 1 runs had a job\n'
    while psutil.pid_exists(int(path.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


HOLDS = (
    COUNT
    + """
import os, time
while not os.path.exists(sys.argv[1] + '/go'):
    time.sleep(.05)
"""
)
STARTS = """
import os, signal, sys, time
from pathlib import Path
from cluster_runs import coded_run
from rdarts.study.executors.base import Resources
from rdarts.study.executors.ray import RayExecutor
from test_ray import COUNT, HOLDS
executor, folder = RayExecutor(Resources(), sys.argv[1]), Path(sys.argv[2])
for name in 'ab':
    coded_run(folder / name, HOLDS).start(executor)
while not all((folder / name / 'starts').exists() for name in 'ab'):
    time.sleep(.05)
coded_run(folder / 'pending', COUNT).start(executor)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_job_that_waits_for_a_place_does_not_need_who_started_it(tmp_path, executor, address):
    """Both machines are taken when the command is killed; then they become free."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ['PYTHONPATH']])
    command = [sys.executable, '-c', STARTS, address, str(tmp_path)]
    env = dict(os.environ, PYTHONPATH=path)
    assert subprocess.run(command, env=env, timeout=90).returncode == -signal.SIGKILL
    runs = [coded_run(tmp_path / name, COUNT) for name in ('a', 'b', 'pending')]
    assert [run.state(executor) for run in runs] == ['running'] * 3
    assert not (tmp_path / 'pending' / 'starts').exists()
    for name in 'ab':
        (tmp_path / name / 'go').touch()
    codes, deadline = {}, time.monotonic() + 60
    while len(codes) < 3:
        assert time.monotonic() < deadline, codes
        for run in [run for run in runs if run.name not in codes]:
            codes.update((run.name, end.code) for end in executor.poll([run.job]).values())
        time.sleep(0.2)
    assert codes == dict(a=0, b=0, pending=0)
    assert (tmp_path / 'pending' / 'starts').read_text() == ';'


@pytest.mark.slow
def test_a_job_that_is_refused_leaves_nothing_to_wait_for(tmp_path, executor, monkeypatch):
    def remote(*args):
        raise error

    monkeypatch.setattr(executor._actor, 'options', lambda **keys: SimpleNamespace(remote=remote))
    states = []
    for error in (ValueError('not so'), RuntimeError('no answer')):
        run = coded_run(tmp_path / type(error).__name__, COUNT)
        with pytest.raises(UserError, match=f'^Ray refuses the job: {error}$'):
            run.start(executor)
        states.append(run.state(executor))
    assert states == ['new', 'running']


@pytest.mark.slow
def test_more_than_any_machine_has_is_said(capsys, executor, address):
    import ray

    assert capsys.readouterr().out == ''
    ray.shutdown()
    RayExecutor(Resources(cpus=2), address)
    assert capsys.readouterr().out.startswith('warning: no machine of the Ray cluster has what ')


def test_a_cluster_that_is_not_there():
    for address in ('127.0.0.1:1', 'no.such.machine.invalid:6379', 'nowhere'):
        with pytest.raises(
            UserError, match=f'^--ray-address {address}: no Ray cluster is reached: '
        ):
            RayExecutor(Resources(), address)
