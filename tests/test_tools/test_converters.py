"""``tools/converters``: official names to ours, and back by hand."""

from __future__ import annotations

import re

import pytest
import torch
from helpers import run_tool

from rdarts.apis import build_net
from rdarts.checkpoint.reading import read_checkpoint


def official(net) -> dict[str, torch.Tensor]:
    """The state dict as the official code names it, written from its model.py."""
    state = {}
    for key, value in net.state_dict().items():
        key = key.replace('head.fc.', 'classifier.').replace('head.auxiliary.', 'auxiliary_head.')
        key = key.removeprefix('backbone.')
        match = re.fullmatch(r'(cells\.\d+)\.nodes\.(\d)\.(\d)\.(.+)', key)
        if match:
            cell, node, place, rest = match.groups()
            # SepConv and DilConv hold a Sequential `op`; FactorizedReduce does not
            inner = rest if rest.startswith(('conv_', 'bn.')) else f'op.{rest}'
            key = f'{cell}._ops.{2 * int(node) + int(place)}.{inner}'
        key = re.sub(r'(preprocess[01])\.(\d)', r'\1.op.\2', key)
        state[key] = value.clone()
    return state


@pytest.mark.slow
@pytest.mark.parametrize('stem', ['cifar', 'imagenet'])
@pytest.mark.parametrize('auxiliary', [True, False])
def test_there_and_back(stem, auxiliary, tmp_path):
    torch.manual_seed(0)
    sizes = dict(stem=stem, channels=4, num_cells=6, auxiliary=auxiliary)
    net = build_net('DARTS_V2', 7, **sizes)
    theirs = official(net)
    assert 'cells.0._ops.7.op.1.weight' in theirs and 'cells.3.preprocess0.conv_1.weight' in theirs
    torch.save(theirs, tmp_path / 'theirs.pt')
    args = [tmp_path / 'theirs.pt', tmp_path / 'ours.pth', '--genotype', 'DARTS_V2']
    done = run_tool(['converters/darts_official.py', *args])
    assert done.code == 0, done.err
    assert f'4 channels, 6 cells, {stem} stem, 7 classes' in done.out
    found = read_checkpoint(tmp_path / 'ours.pth')['state_dict']
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())


@pytest.mark.slow
def test_what_does_not_fit(tmp_path):
    net = build_net('DARTS_V2', channels=4, num_cells=6)
    torch.save(official(net), tmp_path / 'theirs.pt')
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pt')
    for name, genotype, message in (
        ('theirs.pt', 'DARTS_V1', 'does not fit this network'),
        ('other.pt', 'DARTS_V2', 'no network of the official DARTS code'),
        ('gone.pt', 'DARTS_V2', 'checkpoint not found'),
    ):
        args = [tmp_path / name, tmp_path / 'ours.pth', '--genotype', genotype]
        done = run_tool(['converters/darts_official.py', *args])
        assert done.code == 2 and message in done.err and 'Traceback' not in done.err
        assert not (tmp_path / 'ours.pth').exists()
