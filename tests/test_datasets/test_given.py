from __future__ import annotations

import numpy as np
import pytest
import torch

from rdarts.datasets.given import GivenDataset
from rdarts.errors import UserError

IMAGE = torch.zeros(3, 8, 8)


class WithTargets(list):
    """Pairs and, as torchvision's data sets, their labels."""

    def __init__(self, targets):
        super().__init__((IMAGE, label) for label in targets)
        self.targets = targets


@pytest.mark.parametrize('kind', [list, WithTargets])
@pytest.mark.parametrize(
    'labels', [[2, 0], [2.0, 0.0], np.array([2, 0], np.uint8), torch.tensor([2.0, 0]), [2, False]]
)
def test_whole_numbers_of_any_type_are_labels(kind, labels):
    pairs = kind(labels) if kind is WithTargets else [(IMAGE, label) for label in labels]
    data = GivenDataset(pairs)
    assert data.num_classes == 3 and data.get_gt_labels().tolist() == [2, 0]
    assert data[0]['data_samples'].gt_label.tolist() == [2]


@pytest.mark.parametrize('kind', [list, WithTargets])
@pytest.mark.parametrize(
    'label', [1.5, float('nan'), float('inf'), '1', None, torch.zeros(2), [1], torch.tensor(0.5)]
)
def test_anything_else_is_refused(kind, label):
    pairs = kind([0, label]) if kind is WithTargets else [(IMAGE, 0), (IMAGE, label)]
    where = r'dataset(\.targets)?\[1\]'
    with pytest.raises(UserError, match=f'{where}: the label is no integer: '):
        GivenDataset(pairs)


@pytest.mark.parametrize('kind', [list, WithTargets])
def test_labels_outside_the_classes(kind):
    pairs = kind([0, -1]) if kind is WithTargets else [(IMAGE, 0), (IMAGE, -1)]
    with pytest.raises(UserError, match=r'the label is -1, but labels are counted from 0$'):
        GivenDataset(pairs)
    with pytest.raises(UserError, match=r'the label is -1, but the 2 classes are counted from 0$'):
        GivenDataset(pairs, num_classes=2).get_gt_labels()
