"""ImageNet16-120, the third set of NAS-Bench-201 (https://arxiv.org/abs/1707.08819)."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from rdarts.configuration.declarations import Among
from rdarts.datasets.array_dataset import SPLITS, ArrayDataset
from rdarts.datasets.batch_files import read_batches
from rdarts.errors import UserError
from rdarts.registry import DATASETS
from rdarts.utils.data_root import resolve_data_root

IMAGE_SIZE = 16
FILE_CLASSES = 1000
FILES = dict(
    train=(
        ('train_data_batch_1', '27846dcaa50de8e21a7d1a35f30f0e91'),
        ('train_data_batch_2', 'c7254a054e0e795c69120a5727050e3f'),
        ('train_data_batch_3', '4333d3df2e5ffb114b05d2ffc19b1e87'),
        ('train_data_batch_4', '1620cdf193304f4a92677b695d70d10f'),
        ('train_data_batch_5', '348b3c2fdbb3940c4e9e834affd3b18d'),
        ('train_data_batch_6', '6e765307c242a1b3d7d5ef9139b48945'),
        ('train_data_batch_7', '564926d8cbf8fc4818ba23d2faac7564'),
        ('train_data_batch_8', 'f4755871f718ccb653440b9dd0ebac66'),
        ('train_data_batch_9', 'bb6dd660c38c58552125b1a92f86b5d4'),
        ('train_data_batch_10', '8f03f34ac4b42271a294f91bf480f29b'),
    ),
    test=(('val_data', '3410e3017fdaefba8d5073aaa65e4bd6'),),
)


@DATASETS.register_module()
class ImageNet16120(ArrayDataset):
    """The first 120 classes of ImageNet at 16 x 16 pixels, from the official batches.

    The folder holds ``train_data_batch_1`` to ``_10`` and ``val_data``, pickles with ``data``
    [N, 768] and ``labels`` counted from 1. ``split='test'`` is ``val_data``; the benchmark's own
    division of it into validation and test halves is not applied.

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        data_root (str, optional): The folder. Defaults to None: ``$RDARTS_DATA/imagenet16_120``,
            else ``data/imagenet16_120``.
        num_classes (int): Keep the images of the first that many classes. Defaults to 120.
        **kwargs: ``pipeline``, ``limit`` and so on, see
            :class:`rdarts.datasets.ArrayDataset`.

    Raises:
        UserError: Folder or files are missing or damaged, a pickle asks for code, or a label
            is out of range; the line names the file.
    """

    default_folder = 'imagenet16_120'
    image_size = IMAGE_SIZE
    METAINFO: ClassVar[dict[str, Any]] = dict()
    config_name, title = 'in16', 'ImageNet16-120'

    def __init__(
        self,
        split: Annotated[str, Among(SPLITS)] = 'train',
        data_root: str | os.PathLike[str] | None = None,
        num_classes: Annotated[int, Ge(1), Le(FILE_CLASSES)] = 120,
        metainfo: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(num_classes, int) or not 1 <= num_classes <= FILE_CLASSES:
            raise UserError(
                f'ImageNet16120: num_classes lies in 1 .. {FILE_CLASSES}, but got {num_classes!r}'
            )
        self.folder = data_root
        self.num_classes = num_classes
        # The batches number their classes in an order of their own and name none.
        names = tuple(f'class {number}' for number in range(1, num_classes + 1))
        super().__init__(split=split, metainfo={'classes': names, **(metainfo or {})}, **kwargs)

    def source(self) -> Hashable:
        """The resolved folder and the number of classes."""
        root = resolve_data_root(self.folder, self.default_folder).resolve()
        return str(root), self.num_classes

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split's batches and keep the first classes."""
        return read_batches(
            resolve_data_root(self.folder, self.default_folder),
            FILES[self.split],
            'labels',
            IMAGE_SIZE,
            FILE_CLASSES,
            first=1,
            keep_classes=self.num_classes,
            limit=self.limit,
        )
