from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from rdarts.datasets import SeededSampler
from rdarts.datasets.loaders import check_loader, iterate_from
from rdarts.errors import UserError

IMAGES = TensorDataset(torch.arange(20))


def test_iterate_from():
    loader = DataLoader(IMAGES, batch_size=4, sampler=SeededSampler(IMAGES, seed=1))
    whole = [batch[0].tolist() for batch in iterate_from(loader, 0)]
    assert [batch[0].tolist() for batch in iterate_from(loader, 3)] == whole[3:]
    assert [batch[0].tolist() for batch in iterate_from(loader, 0)] == whole  # only once
    plain = DataLoader(IMAGES, batch_size=4)
    assert len(list(iterate_from(plain, 0))) == 5
    with pytest.raises(UserError, match='the sampler SequentialSampler cannot skip'):
        iterate_from(plain, 1)


def test_fewer_images_than_a_batch():
    few = DataLoader(TensorDataset(torch.arange(3)), batch_size=4, drop_last=True)
    says = 'train_dataloader: only 3 images for a batch of 4 on each process'
    with pytest.raises(UserError, match=says):
        check_loader(few, 'train_dataloader')
