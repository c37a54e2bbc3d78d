"""A search in which the n-th file operation fails or ends the process resumes bit-equal.

A sample of the operations and faults runs with all tests; ``make test-faults`` runs every one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from faulty_train import __file__ as FAULTY
from faulty_train import choose
from helpers import run_tool, write_small_search

SAMPLE = (
    dict(faults=['end'], during='start', part=0.55),
    # the last checkpoint: the resumed start has nothing left to save
    dict(faults=['end'], during='start', after='replace .epoch_2_iter_4.pth.tmp'),
    dict(faults=['ENOSPC'], during='start', part=0.7),
    dict(faults=['EIO'], during='start', part=0.9),
    dict(faults=['end'], during='resume', part=0.3),
)
FAULTS = ['ENOSPC', 'EIO', 'end']
SHARES = [('start', share, 6) for share in range(6)] + [('resume', share, 3) for share in range(3)]
EVERY = int(os.environ.get('RDARTS_ALL_FAULTS', 0))  # 1: each operation, 10: every tenth


def check(folder: Path, *cases: dict[str, Any]) -> dict[str, Any]:
    """Try cases; see ``faulty_train.py``."""
    # a search on the digits draws nothing by itself: without the hook a lost random state is right
    config = write_small_search(folder, dict(type='Draw'), images=16)
    # a process that has used a GPU cannot be forked
    env = dict(CUDA_VISIBLE_DEVICES='')
    done = run_tool([FAULTY, config, folder, json.dumps(cases)], env=env, timeout=7200)
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    assert not found['wrong'], '\n\n'.join(found['wrong'])
    return found


def test_of_writes_in_a_row_three_are_tried():
    row = ['open a', *['write a'] * 9, 'close a', 'write b', 'write b', 'unlink a', 'unlink a']
    assert choose(row) == [1, 2, 6, 10, 11, 12, 13, 14, 15]
    assert choose(['write a']) == [1]


@pytest.mark.slow
def test_one_operation_goes_wrong(tmp_path):
    assert check(tmp_path, *SAMPLE)['cases'] == len(SAMPLE)


@pytest.mark.slow
@pytest.mark.skipif(not EVERY, reason='make test-faults runs it')
@pytest.mark.parametrize(('during', 'share', 'shares'), SHARES)
def test_each_operation_goes_wrong(during, share, shares, tmp_path):
    """In shares, so that several processes can go over them."""
    case = dict(faults=FAULTS, during=during, share=share, shares=shares, every=EVERY)
    found = check(tmp_path, case)
    print(f'{found["cases"]} cases, {found["resumed"]} resumed, of {found["chosen"]} operations')
