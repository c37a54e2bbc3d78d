"""Data sets, the search split, and sampling that does not depend on who loads the data."""

from __future__ import annotations

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):
    # mmpretrain prints that an optional package is missing
    import mmpretrain.datasets  # noqa: F401

from rdarts.datasets.array_dataset import ArrayDataset
from rdarts.datasets.batch_transforms import (
    BatchCutout,
    BatchPackInputs,
    BatchRandomCrop,
    BatchRandomFlip,
    BatchResize,
    BatchTransform,
    batch_collate,
)
from rdarts.datasets.cifar import CIFAR10, CIFAR100
from rdarts.datasets.digits import Digits
from rdarts.datasets.given import given
from rdarts.datasets.hashing import SampleGenerator
from rdarts.datasets.image_folder import ImageFolder, ImageNetFolder
from rdarts.datasets.imagenet16 import ImageNet16120
from rdarts.datasets.restricted_pickle import load_pickle
from rdarts.datasets.samplers import SeededSampler
from rdarts.datasets.search_split import SearchSplit, check_parts
from rdarts.datasets.seeded import SeededDataset, SeededIndex
from rdarts.datasets.transforms import Cutout

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'ArrayDataset',
    'BatchCutout',
    'BatchPackInputs',
    'BatchRandomCrop',
    'BatchRandomFlip',
    'BatchResize',
    'BatchTransform',
    'Cutout',
    'Digits',
    'ImageFolder',
    'ImageNet16120',
    'ImageNetFolder',
    'SampleGenerator',
    'SearchSplit',
    'SeededDataset',
    'SeededIndex',
    'SeededSampler',
    'batch_collate',
    'check_parts',
    'given',
    'load_pickle',
]
