"""A search in which the n-th file operation fails or ends the process resumes bit-equal.

A sample of the operations and faults runs with all tests; ``make test-faults`` runs every one.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty_train import ENDED
from faulty_train import __file__ as FAULTY
from helpers import Finished, run_tool, write_small_search

from rdarts.engine import read_checkpoint

FAULTS = ('ENOSPC', 'EIO', 'end')
SAMPLE = ((0.35, 'end'), (0.6, 'ENOSPC'), (0.85, 'EIO'))  # at these parts of the operations
SHARES = 8  # of the operations, so that several processes can go over them
MEASURED = ('time', 'data_time', 'memory')
LAST = 'epoch_2_iter_4.pth'
STATES = ('state_dict', 'optimizer', 'arch', 'random_state', 'meta')
OPTIONS = (
    'train_cfg.max_epochs=2',
    'default_hooks.checkpoint.iter_interval=1',
    'default_hooks.checkpoint.max_keep_ckpts=2',
    'default_hooks.search_log.interval=1',
)


def start(config: Path, work_dir: Path, fault: str, number: int, *args: Any) -> Finished:
    options = ['--cfg-options', *OPTIONS]
    return run_tool(
        [FAULTY, fault, number, work_dir, config, '--work-dir', work_dir, *args, *options]
    )


def result(work_dir: Path) -> dict[str, Any]:
    """What a search ends with, less times and memory."""
    found = {
        str(path.relative_to(work_dir)): json.loads(path.read_text())
        for path in [*sorted(work_dir.glob('genotype*/*.json')), work_dir / 'genotype.json']
    }
    found['split'] = (work_dir / 'split.json').read_text()
    found['last'] = Path((work_dir / 'last_checkpoint').read_text()).name
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    found['log'] = [
        {key: value for key, value in json.loads(line).items() if key not in MEASURED}
        for line in lines
    ]
    found['checkpoints'] = sorted(path.name for path in work_dir.glob('*.pth'))
    return found


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """A config, the work directory of a search that nothing went wrong in, its operations."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_small_search(folder, images=16, batch_size=4)
    done = start(config, folder / 'run', 'count', 0)
    assert done.code == 0, done.err
    (line,) = [text for text in done.out.splitlines() if text.startswith('operations: ')]
    return config, folder / 'run', line.removeprefix('operations: ').split('\t')


def check(whole: tuple[Path, Path, list[str]], folder: Path, fault: str, number: int) -> None:
    config, reference, operations = whole
    what = f'{fault} at {number} of {len(operations)}, {operations[number - 1]}'
    work_dir = folder / 'run'
    first = start(config, work_dir, fault, number)
    said = f'{what}:\n{first.out[-2000:]}\n{first.err[-2000:]}'
    assert 'Traceback' not in first.err + first.out, said
    if fault == 'end':
        assert first.code == ENDED, said
    elif first.code != 0:
        errors = [line for line in first.err.splitlines() if line.startswith('error: ')]
        assert len(errors) == 1 and first.code in (1, 2), said
    again = start(config, work_dir, 'count', 0, '--resume')
    assert again.code == 0, f'{what}, resumed:\n{again.out[-2000:]}\n{again.err[-2000:]}'
    expected, found = result(reference), result(work_dir)
    for key, value in expected.items():
        assert found[key] == value, f'{what}: {key}'
    assert found.keys() == expected.keys(), what
    old, new = (read_checkpoint(path / LAST) for path in (reference, work_dir))
    for key in STATES:
        if key == 'meta':
            assert (old[key]['epoch'], old[key]['iter']) == (new[key]['epoch'], new[key]['iter'])
        else:
            assert same(old[key], new[key]), f'{what}: {key}'
    assert not list(work_dir.glob('.*.pth.tmp')), what


@pytest.mark.parametrize(('part', 'fault'), SAMPLE)
def test_one_operation_goes_wrong(part, fault, whole, tmp_path):
    check(whole, tmp_path, fault, 1 + int(part * (len(whole[2]) - 1)))


@pytest.mark.slow
@pytest.mark.skipif('RDARTS_ALL_FAULTS' not in os.environ, reason='make test-faults runs it')
@pytest.mark.parametrize('share', range(SHARES))
@pytest.mark.parametrize('fault', FAULTS)
def test_each_operation_goes_wrong(fault, share, whole, tmp_path):
    """RDARTS_ALL_FAULTS is the distance of two operations that are tried: 1 tries every one."""
    numbers = range(1, len(whole[2]) + 1, int(os.environ['RDARTS_ALL_FAULTS']))[share::SHARES]
    wrong = []
    for number in numbers:
        try:
            check(whole, tmp_path / str(number), fault, number)
        except AssertionError as error:
            wrong.append(str(error).split('\nassert')[0])
        shutil.rmtree(tmp_path / str(number), ignore_errors=True)
    print(f'{fault}: {len(numbers)} of {len(whole[2])} operations, {len(wrong)} wrong')
    assert not wrong, '\n\n'.join(wrong)
