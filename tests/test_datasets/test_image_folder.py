from __future__ import annotations

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from rdarts.datasets import ImageFolder, SearchSplit, SeededDataset
from rdarts.errors import UserError

LOAD = [dict(type='LoadImageFromFile')]


def write_images(folder, classes=('cat', 'dog'), count=4):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = np.full((12, 10, 3), 20 * i + number, np.uint8)
            assert cv2.imwrite(str(folder / name / f'{i}.png'), image)


def test_class_folders_under_train(tmp_path):
    write_images(tmp_path / 'train')
    write_images(tmp_path / 'val', count=2)
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.get_gt_labels().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert dataset[5]['img'].shape == (12, 10, 3) and dataset[5]['img'][0, 0, 0] == 21
    assert len(ImageFolder('val', data_root=tmp_path)) == 4


def test_class_folders_in_the_root(tmp_path):
    write_images(tmp_path)
    assert len(ImageFolder(data_root=tmp_path)) == 8
    with pytest.raises(UserError, match="no folder 'val'"):
        ImageFolder('val', data_root=tmp_path)


def test_limit_keeps_all_classes(tmp_path):
    write_images(tmp_path)
    assert ImageFolder(data_root=tmp_path, limit=4).get_gt_labels().tolist() == [0, 0, 1, 1]


def test_real_folder(data_root):
    dataset = ImageFolder('val', data_root=data_root / 'imagenet_mini', pipeline=LOAD)
    assert len(dataset) == 300
    assert np.bincount(dataset.get_gt_labels()).tolist() == [30] * 10
    assert dataset[123]['img'].shape == (160, 160, 3)


def test_other_classes_than_train(tmp_path):
    write_images(tmp_path / 'train')
    write_images(tmp_path / 'val', classes=('dog', 'fish'))
    with pytest.raises(UserError, match='cat, fish'):
        ImageFolder('val', data_root=tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match='no class folders'):
        ImageFolder(data_root=tmp_path)
    (tmp_path / 'cat').mkdir()
    with pytest.raises(UserError, match='Found 0 files'):
        ImageFolder(data_root=tmp_path)


@pytest.mark.parametrize('content', [b'', b'no image'])
@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_image_is_named_and_not_replaced(tmp_path, content, workers):
    write_images(tmp_path)
    (tmp_path / 'dog' / '1.png').write_bytes(content)
    dataset = SeededDataset(ImageFolder(data_root=tmp_path, pipeline=LOAD))
    for i in (0, 4):
        assert dataset[i]['img'] is not None
    batches = iter(DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=list))
    assert len(next(batches)) == 4
    with pytest.raises(UserError, match=r'dog/1\.png: unreadable image'):
        next(batches)
    if workers:
        batches._shutdown_workers()  # left to the garbage collector, it waits five seconds


def test_a_file_that_vanished(tmp_path):
    write_images(tmp_path)
    dataset = ImageFolder(data_root=tmp_path, pipeline=LOAD)
    (tmp_path / 'cat' / '0.png').unlink()
    with pytest.raises(UserError, match=r'cat/0\.png'):
        dataset[0]


def test_errors_of_a_transform_are_its_own(tmp_path):
    def broken(results):
        raise ZeroDivisionError('from the transform')

    write_images(tmp_path)
    with pytest.raises(ZeroDivisionError, match='from the transform'):
        ImageFolder(data_root=tmp_path, pipeline=[*LOAD, broken])[0]
    with pytest.raises(UserError, match=r'cat/0\.png: the pipeline returned no sample'):
        ImageFolder(data_root=tmp_path, pipeline=[lambda results: None])[0]


def test_a_split_is_made_of_the_train_folder_only(tmp_path):
    write_images(tmp_path / 'train')
    write_images(tmp_path / 'val')
    part = SearchSplit(ImageFolder(data_root=tmp_path), part='alpha')
    assert part.get_gt_labels().tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match="split 'val'"):
        SearchSplit(ImageFolder('val', data_root=tmp_path), part='alpha')
