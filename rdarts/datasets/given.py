"""A data set of one's own that a program hands over as an object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample

from rdarts.errors import UserError
from rdarts.registry import DATASETS
from rdarts.utils.given_objects import GivenObjects
from rdarts.utils.wording import plural


class GivenDataset(torch.utils.data.Dataset):
    """Pairs (image, label) as mmpretrain's classifiers take them.

    Args:
        dataset (Dataset): Of (image, label): float tensors [C, H, W] of one shape, and integers
            from 0, as numbers of any type (a tensor of one element, 3.0).
        num_classes (int, optional): Defaults to the number of the set's ``classes``, else to one
            more than the largest label.

    Raises:
        UserError: The set is empty or not of that form; a label such as 2.5 is no integer.
    """

    def __init__(self, dataset: Any, num_classes: int | None = None) -> None:
        if not (hasattr(dataset, '__getitem__') and hasattr(dataset, '__len__')):
            raise UserError(
                'dataset: it must be a torch Dataset with __len__ and __getitem__, but is '
                f'{type(dataset).__name__}'
            )
        if not len(dataset):
            raise UserError('dataset: it holds no image')
        self.dataset = dataset
        self.shape: torch.Size | None = None
        self.num_classes = num_classes
        self.shape = self._pair(0)[0].shape
        if num_classes is None:
            classes = getattr(dataset, 'classes', None)
            self.num_classes = len(classes) if classes else int(self.get_gt_labels().max()) + 1

    def _pair(self, index: int) -> tuple[torch.Tensor, int]:
        pair = self.dataset[index]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise UserError(
                f'dataset[{index}]: it must be a pair (image, label), but is {type(pair).__name__}'
            )
        image, label = pair
        if not isinstance(image, torch.Tensor) or not image.is_floating_point() or image.dim() != 3:
            what = (
                f'{image.dtype} of shape {list(image.shape)}'
                if isinstance(image, torch.Tensor)
                else type(image).__name__
            )
            raise UserError(
                f'dataset[{index}]: the image must be a float tensor [C, H, W], but is {what}'
            )
        if self.shape is not None and image.shape != self.shape:
            raise UserError(
                f'dataset[{index}]: the image is {list(image.shape)}, but that of dataset[0] is '
                f'{list(self.shape)}: all must have one shape'
            )
        return image, self._label(label, f'dataset[{index}]')

    def _label(self, value: Any, where: str) -> int:
        try:
            label = int(value)
            whole = bool(label == value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            whole = False
        if not whole:
            raise UserError(f'{where}: the label is no integer: {value!r}')
        if label < 0 or (self.num_classes is not None and label >= self.num_classes):
            known = (
                'labels' if self.num_classes is None else f'the {plural(self.num_classes, "class")}'
            )
            raise UserError(f'{where}: the label is {label}, but {known} are counted from 0')
        return label

    def get_gt_labels(self) -> np.ndarray:
        """Every label, int64 [len(self)]."""
        targets = getattr(self.dataset, 'targets', None)
        if targets is not None and len(targets) == len(self):
            labels = [self._label(x, f'dataset.targets[{i}]') for i, x in enumerate(targets)]
            return np.array(labels, dtype=np.int64)
        return np.array([self._pair(i)[1] for i in range(len(self))], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self._pair(int(index))
        return dict(inputs=image, data_samples=DataSample().set_gt_label(label))


_given = GivenObjects('data set')
give = _given.give  # within, dict(type='rdarts.Given', name=name) is a data set


@DATASETS.register_module(name='Given')
def given(name: str) -> GivenDataset:
    """The data set that ``give`` has given that name: a config holds no objects.

    Raises:
        UserError: There is none: the config is that of a search by ``rdarts.apis.search``.
    """
    return _given.find(name)
