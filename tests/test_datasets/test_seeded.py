from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader, Dataset

from rdarts.datasets import Digits, SeededDataset, SeededIndex, SeededSampler
from rdarts.errors import UserError

AUGMENT = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='rdarts.Cutout', shape=16, pad_val=[10, 20, 30]),
    dict(type='PackInputs'),
]


class Draws(Dataset):
    """A sample is what the three generators draw."""

    def __init__(self, fail_at=None):
        self.fail_at = fail_at

    def __getitem__(self, index):
        drawn = (index, random.random(), np.random.randn(), torch.rand(()).item())
        if index == self.fail_at:
            raise KeyError(index)
        return drawn

    def __len__(self):
        return 10


def states():
    return (
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        torch.get_rng_state().tolist(),
    )


def seed_all():
    random.seed(1)
    np.random.seed(2)
    np.random.randn()  # leaves a cached second value behind
    torch.manual_seed(3)


def test_index_is_an_int_that_survives_pickling():
    index = SeededIndex(7, 2**64 - 1, 3)
    copy = pickle.loads(pickle.dumps(index))
    assert (copy, copy.seed, copy.epoch, type(copy)) == (7, 2**64 - 1, 3, SeededIndex)
    assert [10, 20, 30, 40, 50, 60, 70, 80][index] == 80


@pytest.mark.parametrize('whole_batch', [False, True])
def test_a_sample_depends_on_its_seed_and_leaves_the_generators_alone(whole_batch):
    dataset = SeededDataset(Draws())
    indices = [SeededIndex(3, 11), SeededIndex(4, 12), SeededIndex(3, 11), SeededIndex(3, 12)]
    seed_all()
    before = states()
    if whole_batch:
        a, b, c, d = dataset.__getitems__(indices)
    else:
        a, b, c, d = (dataset[index] for index in indices)
    assert states() == before
    assert a == c
    assert b[1:] == d[1:]  # the seed decides, whatever the index
    assert all(x != y for x, y in zip(a[1:], b[1:], strict=True))
    torch.rand(5)
    assert dataset[indices[0]] == a


def test_the_generators_are_restored_after_an_error():
    dataset = SeededDataset(Draws(fail_at=3))
    seed_all()
    before = states()
    with pytest.raises(KeyError):
        dataset[SeededIndex(3, 11)]
    with pytest.raises(KeyError):
        dataset.__getitems__([SeededIndex(2, 1), SeededIndex(3, 11)])
    assert states() == before


def test_a_plain_index_draws_from_the_global_generators():
    dataset = SeededDataset(Draws())
    seed_all()
    expected = Draws()[3]
    seed_all()
    assert dataset[3] == expected
    before = states()
    dataset.__getitems__([1])
    assert states() != before


def batches(num_workers, seed=5, epochs=2, **kwargs):
    dataset = SeededDataset(dict(type='rdarts.Digits', limit=96, pipeline=AUGMENT))
    sampler = SeededSampler(dataset, seed=seed, **kwargs)
    loader = DataLoader(
        dataset,
        batch_size=16,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=default_collate,
    )
    result = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
            result.append((batch['inputs'], labels))
    return result


def test_results_do_not_depend_on_the_number_of_workers():
    alone, three_workers = batches(0), batches(3)
    assert len(alone) == 12
    for (a, la), (b, lb) in zip(alone, three_workers, strict=True):
        assert a.shape == (16, 3, 32, 32) and a.dtype == torch.uint8
        assert torch.equal(a, b) and torch.equal(la, lb)
    assert not torch.equal(alone[0][0], alone[6][0])  # another epoch


def test_augmentation_differs_between_seeds_loaders_and_epochs():
    def first(**kwargs):
        return batches(0, epochs=1, shuffle=False, **kwargs)[0][0]

    base = first()
    assert torch.equal(base, first())
    assert not torch.equal(base, first(seed=6))
    assert not torch.equal(base, first(name='arch'))
    plain = Digits(limit=96).arrays.images
    assert not np.array_equal(base[0].permute(1, 2, 0).numpy(), plain[0])


def test_what_the_wrapper_passes_on():
    inner = Digits(limit=50)
    dataset = SeededDataset(inner)
    assert len(dataset) == 50
    assert dataset.metainfo == inner.metainfo and len(dataset.metainfo['classes']) == 10
    np.testing.assert_array_equal(dataset.get_gt_labels(), inner.get_gt_labels())
    assert dataset.get_cat_ids(3) == inner.get_cat_ids(3)
    assert dataset.get_data_info(3)['sample_idx'] == 3
    assert 'Digits' in repr(dataset)


def test_a_set_without_labels():
    with pytest.raises(UserError, match='Draws does not tell its labels'):
        SeededDataset(Draws()).get_gt_labels()
