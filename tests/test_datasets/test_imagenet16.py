from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers import dump_batch, write_imagenet16

from rdarts.datasets import ImageNet16120
from rdarts.errors import UserError


def test_official_batches_without_other_classes(tmp_path):
    written = write_imagenet16(tmp_path, 360, 120)
    for split, (images, labels) in written.items():
        dataset = ImageNet16120(split, data_root=tmp_path)
        np.testing.assert_array_equal(dataset.arrays.images, images)
        np.testing.assert_array_equal(dataset.get_gt_labels(), labels)
        assert dataset[0]['img_shape'] == (16, 16)
        assert len(dataset.metainfo['classes']) == 120


def test_fewer_classes_and_fewer_images(tmp_path):
    images, labels = write_imagenet16(tmp_path, 360, 120)['train']
    dataset = ImageNet16120(data_root=tmp_path, num_classes=7, limit=15)
    np.testing.assert_array_equal(dataset.arrays.images, images[labels < 7][:15])
    assert dataset.get_gt_labels().tolist() == [*range(7), *range(7), 0]
    assert len(ImageNet16120(data_root=tmp_path, num_classes=9)) == 27
    with pytest.raises(UserError, match='num_classes'):
        ImageNet16120(data_root=tmp_path, num_classes=0)


@pytest.mark.parametrize('label', [0, 1001])
def test_labels_out_of_range(tmp_path, label):
    write_imagenet16(tmp_path, 120, 120)
    path = tmp_path / 'val_data'
    batch = pickle.loads(path.read_bytes())
    batch['labels'][5] = label
    dump_batch(path, batch)
    with pytest.raises(UserError, match=rf'val_data: label {label} in row 5 .* 1 \.\. 1000'):
        ImageNet16120('test', data_root=tmp_path)


def test_batch_cut_off_or_missing(tmp_path):
    write_imagenet16(tmp_path, 120, 120)
    path = tmp_path / 'train_data_batch_7'
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match='train_data_batch_7: cut off'):
        ImageNet16120(data_root=tmp_path)
    path.unlink()
    with pytest.raises(UserError, match='train_data_batch_7: cannot be read'):
        ImageNet16120(data_root=tmp_path)
