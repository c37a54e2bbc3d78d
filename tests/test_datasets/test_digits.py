from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rdarts.datasets import Digits, array_dataset
from rdarts.errors import UserError


def test_sizes_and_held_out_part():
    train, test = Digits(), Digits('test')
    assert (len(train), len(test)) == (1438, 359)
    counts = np.bincount(load_digits().target)
    held_out = np.bincount(test.get_gt_labels())
    assert np.abs(held_out - 0.2 * counts).max() < 1
    np.testing.assert_array_equal(held_out + np.bincount(train.get_gt_labels()), counts)


def test_images_are_the_scaled_digits():
    dataset = Digits()
    images = dataset.arrays.images
    assert images.shape == (1438, 32, 32, 3) and images.dtype == np.uint8
    assert images.min() == 0 and images.max() == 255
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    # Bilinear scaling by 4: every 4 x 4 block's mean is close to its grey level where that of
    # its neighbours is alike, and the overall mean is kept.
    grey = load_digits().images * 255 / 16
    means = np.concatenate([images, Digits('test').arrays.images]).mean()
    assert abs(means - grey.mean()) < 3


def test_the_held_out_part_is_seeded():
    first = Digits('test').get_gt_labels()
    array_dataset._loaded.clear()
    np.testing.assert_array_equal(Digits('test').get_gt_labels(), first)
    other = Digits('test', split_seed=1)
    assert not np.array_equal(other.arrays.images, Digits('test').arrays.images)
    assert len(Digits('test', test_fraction=0.5)) == 898


def test_bad_fraction_and_missing_package(monkeypatch):
    with pytest.raises(UserError, match='fraction'):
        Digits(test_fraction=1.0)
    array_dataset._loaded.clear()
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(UserError, match='pip install scikit-learn'):
        Digits(split_seed=12345)
