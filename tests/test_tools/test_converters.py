"""``tools/converters``: what they print, and their mistakes."""

from __future__ import annotations

import pytest
import torch
from helpers import run_tool
from official_names import official

from rdarts.apis import build_net


@pytest.mark.slow
def test_a_checkpoint_of_another_code(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pt')
    args = [tmp_path / 'other.pt', tmp_path / 'ours.pth', '--genotype', 'DARTS_V2']
    done = run_tool(['converters/darts_official.py', *args])
    assert done.code == 2 and 'no network of the official DARTS code' in done.err
    assert 'Traceback' not in done.err and not (tmp_path / 'ours.pth').exists()


@pytest.mark.slow
def test_what_was_converted_is_said(tmp_path):
    torch.save(official(build_net('DARTS_V2', 7, channels=4, num_cells=6)), tmp_path / 'theirs.pt')
    args = [tmp_path / 'theirs.pt', tmp_path / 'ours.pth', '--genotype', 'DARTS_V2']
    done = run_tool(['converters/darts_official.py', *args])
    assert done.code == 0, done.err
    assert done.out.endswith('ours.pth: 4 channels, 6 cells, cifar stem, 7 classes\n')
