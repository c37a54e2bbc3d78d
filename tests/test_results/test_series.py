"""What pictures and the report show over epochs."""

from __future__ import annotations

from rdarts.benchmarks import NASBench201
from rdarts.datasets import CIFAR10, CIFAR100, ImageNet16120
from rdarts.results.series import DATASET_NAMES


def test_data_sets_of_the_table_are_called_as_their_classes_say():
    classes = (CIFAR10, CIFAR100, ImageNet16120)
    assert DATASET_NAMES == {cls.default_folder: cls.title for cls in classes}
    assert list(DATASET_NAMES) == list(NASBench201.datasets)
