from __future__ import annotations

import numpy as np
import pytest
from mmpretrain.datasets import Cutout as TheirCutout

from rdarts.datasets import Cutout
from rdarts.errors import UserError

FILL = [125.307, 122.961, 113.8575]


def darts_mask(height, width, length):
    """The original: https://github.com/quark0/darts/blob/master/cnn/utils.py"""
    mask = np.ones((height, width), bool)
    y, x = np.random.randint(height), np.random.randint(width)
    y1, y2 = np.clip([y - length // 2, y + length // 2], 0, height)
    x1, x2 = np.clip([x - length // 2, x + length // 2], 0, width)
    mask[y1:y2, x1:x2] = False
    return mask


def cut(transform):
    image = np.zeros((32, 32, 3), np.uint8)
    result = transform(dict(img=image))['img']
    assert not image.any() and result.dtype == np.uint8
    return result


def test_the_square_is_that_of_darts():
    transform = Cutout(16, FILL)
    for seed in range(200):
        np.random.seed(seed)
        result = cut(transform)
        np.random.seed(seed)
        mask = darts_mask(32, 32, 16)
        np.testing.assert_array_equal((result == 0).all(-1), mask)
        np.testing.assert_array_equal(np.unique(result[~mask], axis=0), [[125, 123, 114]])


def test_the_area_near_a_border_is_smaller():
    transform = Cutout(16, FILL)
    np.random.seed(0)
    areas = np.array([(cut(transform) > 0).all(-1).sum() for _ in range(2000)])
    assert areas.min() == 8 * 8 and areas.max() == 16 * 16
    # E[side] = (16 * 17 + sum of 8 .. 15 + sum of 9 .. 15) / 32 rows
    expected = ((16 * 17 + sum(range(8, 16)) + sum(range(9, 16))) / 32) ** 2
    assert abs(areas.mean() - expected) < 4


def test_mmpretrains_cutout_is_another():
    # Why there is one here: theirs keeps its full side at the upper and left border.
    np.random.seed(0)
    theirs = TheirCutout(shape=16, pad_val=tuple(FILL), prob=1.0)
    sides = [(cut(theirs) > 0).any((1, 2)).sum() for _ in range(500)]
    ours = [(cut(Cutout(16, FILL)) > 0).any((1, 2)).sum() for _ in range(500)]
    assert np.mean(sides) > np.mean(ours) + 0.5


def test_bad_shape():
    with pytest.raises(UserError, match='Cutout'):
        Cutout(0, FILL)
    assert 'shape=16' in repr(Cutout(16, FILL))
