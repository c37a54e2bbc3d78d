"""Official names to ours, and back by hand."""

from __future__ import annotations

import pytest
import torch
from official_names import official

from rdarts.apis import build_net
from rdarts.apis.darts_official import convert_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.errors import UserError

DENSE = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'


@pytest.mark.parametrize('stem', ['cifar', 'imagenet'])
@pytest.mark.parametrize('auxiliary', [True, False])
def test_there_and_back(stem, auxiliary, tmp_path):
    torch.manual_seed(0)
    sizes = dict(stem=stem, channels=4, num_cells=6, auxiliary=auxiliary)
    net = build_net('DARTS_V2', 7, **sizes)
    theirs = official(net)
    assert 'cells.0._ops.7.op.1.weight' in theirs and 'cells.3.preprocess0.conv_1.weight' in theirs
    torch.save(theirs, tmp_path / 'theirs.pt')
    found = convert_checkpoint(tmp_path / 'theirs.pt', tmp_path / 'ours.pth', 'DARTS_V2')
    assert found == dict(sizes, num_classes=7)
    found = read_checkpoint(tmp_path / 'ours.pth')['state_dict']
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())


def test_what_does_not_fit(tmp_path):
    net = build_net('DARTS_V2', channels=4, num_cells=6)
    torch.save(official(net), tmp_path / 'theirs.pt')
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pt')
    for name, genotype, message in (
        ('theirs.pt', 'DARTS_V1', 'does not fit this network'),
        ('theirs.pt', DENSE, 'one of the DARTS space is needed'),
        ('other.pt', 'DARTS_V2', 'no network of the official DARTS code'),
        ('gone.pt', 'DARTS_V2', 'checkpoint not found'),
    ):
        with pytest.raises(UserError, match=message):
            convert_checkpoint(tmp_path / name, tmp_path / 'ours.pth', genotype)
        assert not (tmp_path / 'ours.pth').exists()
