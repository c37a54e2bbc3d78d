"""The part of the training images that weights, or alpha, are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt, Le

from rdarts.configuration.declarations import Among, Component, Count, Inside
from rdarts.datasets.hashing import hash_stream
from rdarts.datasets.seeded import SeededDataset, dataset_labels
from rdarts.datasets.splits import MODES, sample_indices, split_indices
from rdarts.errors import UserError, nearest
from rdarts.registry import DATASETS
from rdarts.utils.wording import plural

PARTS = ('weights', 'alpha')
BOTH = 'both'
LABELS = ('own', 'random')


@DATASETS.register_module()
class SearchSplit(SeededDataset):
    """One of the two disjoint parts that a search divides the training images into.

    Both parts are a function of the wrapped set's labels and of ``subset``, ``fraction``, ``mode``
    and ``seed``; together they are the whole set, or the subset of it. A subset has the same share
    of every class, and so has each part where the mode is ``stratified``.

    Args:
        dataset (dict | Dataset): The training images, or their config. Test images are refused.
        part (str): ``weights`` or ``alpha``; ``both`` where weights and alpha learn from the same
            images, all of them.
        fraction (float): Share of the weights' part, inside (0, 1). Defaults to .5.
        mode (str): ``stratified``, ``random`` or ``sequential``, see
            :func:`rdarts.datasets.splits.split_indices`. Defaults to ``stratified``.
        seed (int): Of the split, independent of the run's seed. Defaults to 0.
        subset (float): Share of the images that is divided at all, see
            :func:`rdarts.datasets.splits.sample_indices`: ``subset=0.125, fraction=0.8`` are 10 %
            of every class for the weights and 2.5 % for alpha. Defaults to 1.
        labels (str): ``own``, or ``random``: each image has one of the classes, drawn once,
            uniformly, by the seed and its place in the wrapped set, as RLNAS
            (https://arxiv.org/abs/2101.11834) trains its supernet. Defaults to ``own``.

    Attributes:
        indices (np.ndarray): int64, ascending: the wrapped set's indices of this part.

    Raises:
        UserError: Part, mode or labels are not known, the fraction is outside (0, 1) or the subset
            outside (0, 1], a subset leaves a class without an image in a part, or the wrapped set
            is a test set.
    """

    def __init__(
        self,
        dataset: Annotated[Mapping[str, Any] | torch.utils.data.Dataset, Component('DATASETS')],
        part: Annotated[str, Among((*PARTS, BOTH))],
        fraction: Inside = 0.5,
        mode: Annotated[str, Among(MODES)] = 'stratified',
        seed: Count = 0,
        subset: Annotated[float, Gt(0), Le(1)] = 1.0,
        labels: Annotated[str, Among(LABELS)] = 'own',
    ) -> None:
        known = (*PARTS, BOTH)
        if part not in known:
            raise UserError(f"unknown part '{part}' of a search split: {nearest(str(part), known)}")
        if labels not in LABELS:
            raise UserError(
                f"unknown labels '{labels}' of a search split: {nearest(str(labels), LABELS)}"
            )
        super().__init__(dataset)
        _refuse_test_images(self.dataset)
        self.part, self.fraction, self.mode, self.seed = part, fraction, mode, seed
        number = isinstance(subset, (int, float)) and not isinstance(subset, bool)
        if not number or not 0 < subset <= 1:
            raise UserError(f'subset of a search split must be in (0, 1], but is {subset!r}')
        self.subset = subset
        by_class = mode == 'stratified'
        own = dataset_labels(self.dataset) if by_class or subset < 1 else None
        if subset == 1:
            parts = split_indices(len(self.dataset), fraction, mode, seed, own)
        else:
            parts = sample_indices(own, subset, fraction, seed)
            if by_class:
                self._check_classes(own, parts)
            else:
                kept = np.sort(np.concatenate(parts))
                parts = tuple(kept[part] for part in split_indices(len(kept), fraction, mode, seed))
        self._parts = dict(zip(PARTS, parts, strict=True))
        self.indices = np.sort(np.concatenate(parts)) if part == BOTH else self._parts[part]
        self._drawn = self._draw_labels() if labels == 'random' else None

    def _draw_labels(self) -> np.ndarray:
        classes = self.metainfo.get('classes')
        count = len(classes) if classes else int(dataset_labels(self.dataset).max()) + 1
        numbers = hash_stream(len(self.dataset), 'labels', self.seed) % np.uint64(count)
        return numbers.astype(np.int64)[self.indices]

    def _check_classes(self, labels: np.ndarray, parts: Sequence[np.ndarray]) -> None:
        for name, indices in zip(PARTS, parts, strict=True):
            without = np.setdiff1d(labels, labels[indices])
            if len(without):
                number = plural(int((labels == without[0]).sum()), 'image')
                raise UserError(
                    f'subset {self.subset} and fraction {self.fraction} of a search split leave '
                    f'{name} no image of {plural(len(without), "class")}, such as class '
                    f'{without[0]} of {number}: take more images or larger shares'
                )

    def source_index(self, index: int) -> int:
        """The wrapped set's index of a sample of this part."""
        return int(self.indices[index])

    def get_gt_labels(self) -> np.ndarray:
        """The label of every sample of this part.

        Returns:
            np.ndarray: int64 of shape [len(self)].
        """
        if self._drawn is not None:
            return self._drawn
        return dataset_labels(self.dataset)[self.indices]

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one sample, as a list."""
        return super().get_cat_ids(idx) if self._drawn is None else [int(self._drawn[idx])]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        found = super().__getitems__(indices)
        if self._drawn is not None:
            samples = found
            if self.batched:
                samples = [dict(data_samples=sample) for sample in found['data_samples']]
            for sample, index in zip(samples, indices, strict=True):
                self._label(sample, index)
        return found

    def __getitem__(self, index: int) -> Any:
        found = super().__getitem__(index)
        if self._drawn is not None:
            self._label(found, index)
        return found

    def _label(self, sample: dict[str, Any], index: int) -> None:
        """Give what a pipeline made of an image, packed or not, the label that was drawn."""
        label = int(self._drawn[index])
        if 'data_samples' in sample:
            sample['data_samples'].set_gt_label(label)
        else:
            sample['gt_label'] = label

    def split_record(self) -> dict[str, Any]:
        """What a run stores of its split.

        Returns:
            dict: ``subset``, ``fraction``, ``mode``, ``seed``, and ``sizes`` and ``indices`` of
            both parts by name; plain data for JSON, the same for either part.
        """
        return dict(
            subset=self.subset,
            fraction=self.fraction,
            mode=self.mode,
            seed=self.seed,
            sizes={name: len(indices) for name, indices in self._parts.items()},
            indices={name: indices.tolist() for name, indices in self._parts.items()},
        )

    def __len__(self) -> int:
        return len(self.indices)


def check_parts(weights: SearchSplit, alpha: SearchSplit) -> None:
    """Check that two data sets are the two parts of one split.

    Overriding ``fraction``, ``mode``, ``seed`` or ``limit`` for one loader only would put images
    into both parts.

    Args:
        weights (SearchSplit): What the weights are trained on.
        alpha (SearchSplit): What alpha is trained on.

    Raises:
        UserError: They are not.
    """
    if (weights.part, alpha.part) != PARTS:
        raise UserError(
            "the train loader takes part='weights' and the architect's loader part='alpha', but "
            f"got '{weights.part}' and '{alpha.part}'"
        )
    ours, theirs = weights.split_record(), alpha.split_record()
    differing = [key for key in ours if ours[key] != theirs[key]]
    if differing:
        raise UserError(
            "the train loader and the architect's loader split the training images differently "
            f'({", ".join(differing)}): set fraction, mode, seed and data alike in both'
        )


def _refuse_test_images(dataset: Any) -> None:
    split = getattr(dataset, 'split', 'train')
    if split not in ('train', '') or getattr(dataset, 'test_mode', False):
        raise UserError(
            f'a search split is made of training images, but {type(dataset).__name__} is '
            f"split '{split}'"
            + (' in test_mode' if getattr(dataset, 'test_mode', False) else '')
            + ": set split='train'"
        )
    # Wrappers such as RepeatDataset and ConcatDataset
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            _refuse_test_images(inner)
