from __future__ import annotations

import pytest

from rdarts.utils import memory

GB = 2**30
MEMINFO = f'MemTotal: {8 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {6 * 2**20} kB\n'


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def machine(root):
    return write(root, {'proc/meminfo': MEMINFO})


def version1(root, limit=3 * GB, used=2 * GB, cache=GB // 2):
    folder = 'sys/fs/cgroup/memory/'
    return write(
        machine(root),
        {
            'proc/self/cgroup': '4:memory:/\n',
            'proc/self/mountinfo': '1 2 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n',
            folder + 'memory.limit_in_bytes': f'{limit}\n',
            folder + 'memory.usage_in_bytes': f'{used}\n',
            folder + 'memory.stat': f'cache 7\ntotal_inactive_file {cache}\n',
        },
    )


def version2(root, limit=3 * GB, used=2 * GB, cache=GB // 2):
    folder = 'sys/fs/cgroup/'
    return write(
        machine(root),
        {
            'proc/self/cgroup': '0::/\n',
            'proc/self/mountinfo': '1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n',
            folder + 'memory.max': f'{limit}\n',
            folder + 'memory.current': f'{used}\n',
            folder + 'memory.stat': f'anon 7\ninactive_file {cache}\n',
        },
    )


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(memory, 'gpu_memory', lambda: None)


def test_the_machine(tmp_path):
    assert memory.main_memory(tmp_path) is None
    assert memory.memory_line(tmp_path) == 'not known'
    assert memory.tight_memory(1e9, root=tmp_path) == ''
    found = memory.main_memory(machine(tmp_path))
    assert found == memory.Memory('the machine', 8 * GB, 6 * GB)
    assert memory.memory_line(tmp_path) == '6.0 GB free of 8.0 GB (the machine)'


@pytest.mark.parametrize('make', [version1, version2])
def test_a_container(make, tmp_path):
    found = memory.main_memory(make(tmp_path))
    # what the page cache holds is given up
    assert found == memory.Memory('the container', 3 * GB, 3 * GB // 2)
    assert memory.memory_line(tmp_path) == '1.5 GB free of 3.0 GB (the container)'


@pytest.mark.parametrize(('make', 'limit'), [(version1, 2**63 - 4096), (version2, 'max')])
def test_a_container_without_a_limit(make, limit, tmp_path):
    assert memory.main_memory(make(tmp_path, limit)).name == 'the machine'


def test_a_peak_that_passes_it(tmp_path):
    version2(tmp_path)
    pages = GB // memory.PAGE
    write(tmp_path, {'proc/self/statm': f'9 {pages} 0\n'})  # 1 GB that this process has
    assert memory.tight_memory(2.5 * 1024, root=tmp_path) == ''
    line = memory.tight_memory(2.6 * 1024, root=tmp_path)
    assert line == (
        'warning: the peak of 2.6 GB passes what the container has for it, 2.5 GB: lower it by '
        'train_dataloader.batch_size, arch_dataloader.batch_size'
    )
    assert 'model.backbone.checkpoint=True' in memory.tight_memory(4096, True, tmp_path)


def test_the_gpu_counts_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, 'gpu_memory', lambda: memory.Memory('the GPU', 4 * GB, GB))
    machine(tmp_path)
    line = '1.0 GB free of 4.0 GB (the GPU), 6.0 GB free of 8.0 GB (the machine)'
    assert memory.memory_line(tmp_path) == line
    assert 'the GPU has for it, 1.0 GB' in memory.tight_memory(2048, root=tmp_path)
