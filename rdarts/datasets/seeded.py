"""Augmentation that depends on the sample's seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from rdarts.errors import UserError
from rdarts.registry import DATASETS

_UINT32 = 0xFFFFFFFF


class SeededIndex(int):
    """An index of a data set that carries the seed and the epoch of its augmentation.

    Args:
        index (int): The index.
        seed (int): 64 bits, unsigned.
        epoch (int): Of its loader, from 0: an augmentation may change over the epochs. Defaults
            to 0.
    """

    seed: int
    epoch: int

    def __new__(cls, index: int, seed: int, epoch: int = 0) -> SeededIndex:
        self = super().__new__(cls, index)
        self.seed, self.epoch = seed, epoch
        return self

    def __reduce__(self) -> tuple[type, tuple[int, int, int]]:
        return SeededIndex, (int(self), self.seed, self.epoch)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore the states of ``random``, ``numpy.random`` and torch's CPU generator at the end."""
    python, array = random.getstate(), np.random.get_state()
    tensor = torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.default_generator.set_state(tensor)


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed & _UINT32)
    # torch.manual_seed visits every device, which costs a hundred times as much.
    torch.default_generator.manual_seed(seed)


@DATASETS.register_module()
class SeededDataset(torch.utils.data.Dataset):
    """A data set whose samples depend on index and seed, never on who loads them.

    Where the index is a :class:`SeededIndex` (``rdarts.SeededSampler`` yields them), the three
    global generators are set from its seed before the wrapped pipeline runs, and restored
    afterwards. A sample is then the same with any number of workers, and the generators of
    the main process are left untouched. With a plain ``int`` nothing is seeded.

    Where the wrapped set has a pipeline of batch transforms (its ``batched`` is True), the index
    reaches it with its seed instead, and ``__getitems__`` gives one collated batch.

    Args:
        dataset (dict | Dataset): The data set to wrap, or its config.
    """

    def __init__(self, dataset: Mapping[str, Any] | torch.utils.data.Dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.full_init()

    def full_init(self) -> None:
        """Load the wrapped set, where that has not been done."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """dict: Of the wrapped set, such as its ``classes``."""
        return dict(getattr(self.dataset, 'metainfo', {}))

    @property
    def batched(self) -> bool:
        """bool: Whether the wrapped set's pipeline transforms whole batches."""
        return getattr(self.dataset, 'batched', False)

    def source_index(self, index: int) -> int:
        """The wrapped set's index of a sample.

        Args:
            index (int): The index here.

        Returns:
            int: The same; a subset overrides this.
        """
        return int(index)

    def get_gt_labels(self) -> np.ndarray:
        """The label of every sample.

        Returns:
            np.ndarray: int64 of shape [len(self)].

        Raises:
            UserError: The wrapped set does not tell its labels.
        """
        return dataset_labels(self.dataset)

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one sample, as a list."""
        return self.dataset.get_cat_ids(self.source_index(idx))

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """One sample before the pipeline."""
        return self.dataset.get_data_info(self.source_index(idx))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, SeededIndex):
            return self._load(index)
        with preserved_generators():
            return self._load(index)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        if self.batched:
            return self.dataset.__getitems__([self._seeded_source(index) for index in indices])
        # The data loader asks for a whole batch here, so the states are saved once a batch.
        if not any(isinstance(index, SeededIndex) for index in indices):
            return [self._load(index) for index in indices]
        with preserved_generators():
            return [self._load(index) for index in indices]

    def _seeded_source(self, index: int) -> int:
        source = self.source_index(index)
        if not isinstance(index, SeededIndex):
            return source
        return SeededIndex(source, index.seed, index.epoch)

    def _load(self, index: int) -> Any:
        if self.batched:
            return self.dataset[self._seeded_source(index)]
        source = self.source_index(index)
        if isinstance(index, SeededIndex):
            _seed_generators(index.seed)
        return self.dataset[source]

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self)} samples of\n{self.dataset!r})'


def dataset_labels(dataset: Any) -> np.ndarray:
    """The label of every sample of a data set.

    Args:
        dataset (Dataset): One with ``get_gt_labels()`` or ``get_cat_ids(index)``.

    Returns:
        np.ndarray: int64 of shape [len(dataset)].

    Raises:
        UserError: It has neither.
    """
    if hasattr(dataset, 'get_gt_labels'):
        return np.asarray(dataset.get_gt_labels(), dtype=np.int64)
    if hasattr(dataset, 'get_cat_ids'):
        return np.asarray([dataset.get_cat_ids(i)[0] for i in range(len(dataset))], np.int64)
    raise UserError(
        f'{type(dataset).__name__} does not tell its labels: it needs get_gt_labels() '
        'or get_cat_ids(index)'
    )
