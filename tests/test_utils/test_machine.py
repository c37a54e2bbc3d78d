"""Cores by affinity, physical cores and quota, and what is set of the threads for them."""

from __future__ import annotations

import os

import pytest

from rdarts.utils import machine

V1 = '33 32 0:29 {mounted} /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n'
V2 = '30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n'


@pytest.fixture
def processors(monkeypatch):
    """Let this process seem to run on some processors of a machine of eight."""

    def choose(*numbers):
        monkeypatch.setattr(machine, '_affinity', lambda: set(numbers))
        monkeypatch.setattr(machine.os, 'cpu_count', lambda: 8)

    choose(*range(8))
    return choose


@pytest.fixture
def no_threads(monkeypatch):
    """An environment in which nothing of threads is set, and put back afterwards."""
    for name in (machine.THREADS, 'OMP_WAIT_POLICY', *machine.WAITING):
        monkeypatch.setenv(name, 'x')  # so that what is set meanwhile is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine, '_set_here', set())


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v1(root, quota, period=100000, mounted='/', group='/', folder=''):
    return write(root, {
        'proc/self/cgroup': f'9:memory:/other\n4:cpu,cpuacct:{group}\n0::/\n',
        'proc/self/mountinfo': '22 1 8:1 / / rw - ext4 /dev/vda rw\n' + V1.format(mounted=mounted),
        f'sys/fs/cgroup/cpu/{folder}cpu.cfs_quota_us': f'{quota}\n',
        f'sys/fs/cgroup/cpu/{folder}cpu.cfs_period_us': f'{period}\n',
    })  # fmt: skip


def v2(root, limit, mounted='/', group='/', folder=''):
    return write(root, {
        'proc/self/cgroup': f'0::{group}\n',
        'proc/self/mountinfo': V2.format(mounted=mounted),
        f'sys/fs/cgroup/{folder}cpu.max': f'{limit}\n',
    })  # fmt: skip


@pytest.mark.parametrize(
    ('make', 'quota'),
    [
        (lambda root: root, None),  # no control groups: macOS, or a kernel without
        (lambda root: v1(root, -1), None),
        (lambda root: v1(root, 100000), 1),
        (lambda root: v1(root, 50000), 0.5),
        (lambda root: v1(root, 350000, 200000), 1.75),
        (lambda root: v1(root, 200000, group='/a/b', folder='a/b/'), 2),
        (lambda root: v1(root, 200000, group='/a/b', folder='a/'), 2),  # of the group above
        # a container of version 1 without a namespace: its group is the root of the mount
        (lambda root: v1(root, 300000, mounted='/docker/1f', group='/docker/1f'), 3),
        (lambda root: v1(root, 300000, mounted='/docker/1f', group='/elsewhere'), 3),
        (lambda root: v2(root, 'max 100000'), None),
        (lambda root: v2(root, '150000 100000'), 1.5),
        (lambda root: v2(root, '20000 10000', group='/job/step', folder='job/'), 2),
        (lambda root: v2(root, '100000 100000', group='/../../other'), 1),
        (lambda root: v2(root, 'nonsense'), None),
    ],
)
def test_the_quota_of_control_groups(tmp_path, make, quota):
    assert machine.cpu_quota(make(tmp_path)) == quota


def test_the_least_quota_on_the_way_up_counts(tmp_path):
    v2(tmp_path, '400000 100000', group='/job/step', folder='job/step/')
    write(tmp_path, {'sys/fs/cgroup/job/cpu.max': '200000 100000\n'})
    assert machine.cpu_quota(tmp_path) == 2
    folders = machine.cgroup_folders('cpu', tmp_path)
    assert [folder.name for folder in folders] == ['cgroup', 'job', 'step']


def test_cores_and_their_reason(tmp_path, processors):
    def cores():
        found = machine.usable_cores(tmp_path)
        return found.count, found.reason

    assert cores() == (8, 'the machine has 8 processors')
    processors(0, 1, 4)
    assert cores() == (3, 'the affinity is 3 of 8 processors')
    for number in range(8):  # two threads a core
        name = f'sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list'
        write(tmp_path, {name: f'{number % 4},{number % 4 + 4}\n'})
    assert cores() == (2, '3 processors of 2 cores')
    processors(*range(8))
    v2(tmp_path, '600000 100000')
    assert cores() == (4, '8 processors of 4 cores')  # the quota is more than the cores
    v2(tmp_path, '290000 100000')
    assert cores() == (2, "the container's quota is 2.9 of 8 processors")
    v2(tmp_path, '50000 100000')
    assert cores() == (1, "the container's quota is 0.5 of 8 processors")


def test_threads_follow_the_quota_and_sleep_while_they_wait(tmp_path, processors, no_threads):
    machine.prepare_threads(v1(tmp_path, 100000))
    assert {name: os.environ[name] for name in machine.WAITING} == machine.WAITING
    assert os.environ[machine.THREADS] == '1'
    assert machine.wanted_threads() is None  # not the user's
    line = machine.threads_line(1, tmp_path)
    assert line == "1 thread (the container's quota is 1 of 8 processors)"


def test_without_a_quota_pytorch_chooses(tmp_path, processors, no_threads):
    machine.prepare_threads(tmp_path)
    assert machine.THREADS not in os.environ
    assert machine.threads_line(8, tmp_path) == '8 threads (the machine has 8 processors)'
    assert 'set by the program' in machine.threads_line(3, tmp_path)


def test_what_the_user_has_set_stays(tmp_path, processors, no_threads):
    own = {'GOMP_SPINCOUNT': '7', 'KMP_BLOCKTIME': '200', machine.THREADS: '5'}
    os.environ.update(own)
    machine.prepare_threads(v1(tmp_path, 100000))
    assert {name: os.environ[name] for name in own} == own
    assert machine.wanted_threads() == 5
    assert machine.threads_line(5, tmp_path).startswith('5 threads (OMP_NUM_THREADS; ')


def test_processes_share_the_cores(processors, no_threads):
    assert [machine.share_of_cores(n, machine.Path('/nowhere')) for n in (1, 3, 9)] == [8, 2, 1]
    environment = machine.shared_environment(4)
    assert machine.WAITING.items() <= environment.items()
    os.environ.update({machine.THREADS: '3', 'GOMP_SPINCOUNT': '7'})
    environment = machine.shared_environment(4)
    assert (environment[machine.THREADS], environment['GOMP_SPINCOUNT']) == ('3', '7')


def test_a_policy_of_the_user_decides_how_to_wait(tmp_path, no_threads):
    os.environ['OMP_WAIT_POLICY'] = 'active'
    machine.prepare_threads(tmp_path)
    assert not machine.WAITING.keys() & os.environ.keys()


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('model name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: 17\n\nmodel name\t: other\n',
         'AMD EPYC (family 25, model 17)'),
        ('cpu family\t: 6\nmodel\t: 85\nmodel name\t: Intel(R) Xeon(R) Gold 6226\n',
         'Intel(R) Xeon(R) Gold 6226'),
        ('processor\t: 0\nBogoMIPS\t: 50.00\n', 'aarch64'),
    ],
)  # fmt: skip
def test_the_name_of_the_processor(tmp_path, monkeypatch, text, name):
    monkeypatch.setattr(machine.platform, 'processor', lambda: '')
    monkeypatch.setattr(machine.platform, 'machine', lambda: 'aarch64')
    write(tmp_path, {'proc/cpuinfo': text})
    assert machine.cpu_name(tmp_path) == name
    assert machine.cpu_name(tmp_path / 'gone') == 'aarch64'
