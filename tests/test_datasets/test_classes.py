from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead

from rdarts.datasets import Digits, ImageFolder, SearchSplit, SeededDataset, classes
from rdarts.datasets.given import GivenDataset
from rdarts.errors import UserError


class Model(torch.nn.Module):
    def __init__(self, head: int, preprocessor: int | None = None) -> None:
        super().__init__()
        self.head = LinearClsHead(head, 4)
        self.data_preprocessor = ClsDataPreprocessor(num_classes=preprocessor)


def folder(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        assert cv2.imwrite(str(tmp_path / name / '0.png'), np.zeros((4, 4, 3), np.uint8))
    return ImageFolder(data_root=tmp_path)


@pytest.mark.parametrize('names', [['a', 'b'], ['a', 'b', 'c', 'd']])
def test_more_or_fewer_folders_than_classes(tmp_path, names):
    dataset = SeededDataset(folder(tmp_path, names))
    classes.check_num_classes(Model(len(names), len(names)), dataset)
    with pytest.raises(UserError) as caught:
        classes.check_num_classes(Model(3, 3), dataset)
    count = len(names)
    assert str(caught.value) == (
        f'{count} class folders in {tmp_path} ({", ".join(names)}), but model.head.num_classes '
        f'and data_preprocessor.num_classes are 3: set model.head.num_classes={count} '
        f'data_preprocessor.num_classes={count}'
    )
    with pytest.raises(UserError, match='but data_preprocessor.num_classes is 3: set data_pre'):
        classes.check_num_classes(Model(count, 3), dataset)


def test_sets_in_memory():
    split = SearchSplit(Digits(limit=100), part='alpha')
    classes.check_num_classes(Model(10), split)
    with pytest.raises(UserError, match=r'Digits has 10 classes \(0, 1, .*\), but model.head.num_'):
        classes.check_num_classes(Model(100), split)


def test_wrappers_of_mmengine(tmp_path):
    from mmengine.dataset import ConcatDataset, RepeatDataset

    dataset = folder(tmp_path, ['a', 'b'])
    for wrapped in (RepeatDataset(dataset, 2), ConcatDataset([dataset, dataset])):
        assert classes.find_classes(wrapped) == ['a', 'b']
        with pytest.raises(UserError, match='model.head.num_classes=2'):
            classes.check_num_classes(Model(3), wrapped)


def test_a_set_handed_over():
    pairs = [(torch.zeros(3, 4, 4), label) for label in (0, 1, 2, 2)]
    classes.check_num_classes(Model(3), GivenDataset(pairs))
    with pytest.raises(UserError, match='GivenDataset has 3 classes, but model.head.num_classes'):
        classes.check_num_classes(Model(2), GivenDataset(pairs))


def test_a_set_that_names_no_classes():
    class Own:
        def __init__(self, labels):
            self.labels = labels

        def get_gt_labels(self):
            return np.array(self.labels)

    classes.check_num_classes(Model(3), Own([0, 1]))
    with pytest.raises(UserError, match=r'Own has the label 3, but model.head.num_classes is 3'):
        classes.check_num_classes(Model(3), Own([0, 3]))
    with pytest.raises(UserError, match='Own has the label -1'):
        classes.check_num_classes(Model(3), Own([-1, 2]))
    classes.check_num_classes(Model(3), object())
