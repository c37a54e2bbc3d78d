"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html)."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from mmpretrain.datasets import CIFAR10 as OfficialCIFAR10
from mmpretrain.datasets import CIFAR100 as OfficialCIFAR100
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, CIFAR100_CATEGORIES

from rdarts.configuration.declarations import Among
from rdarts.datasets.array_dataset import SPLITS, ArrayDataset
from rdarts.datasets.batch_files import read_batches
from rdarts.datasets.parquet import find_parquet, read_hub, read_parquet
from rdarts.errors import UserError
from rdarts.registry import DATASETS
from rdarts.utils.data_root import resolve_data_root

IMAGE_SIZE = 32


@DATASETS.register_module()
class CIFAR10(ArrayDataset):
    """CIFAR-10 from the official batches, from Hugging Face parquet files, or by hub name.

    The folder holds, looked for in this order: ``cifar-10-batches-py/`` (or is that folder);
    ``train.parquet`` and ``test.parquet``, or ``train-*.parquet`` and so on, there or in one
    sub-folder. Official batches with another md5 sum are warned of and read.

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        data_root (str, optional): The folder. Defaults to None: ``$RDARTS_DATA/cifar10``, else
            ``data/cifar10``.
        hub (str, optional): A name on the Hugging Face hub instead, such as
            ``uoft-cs/cifar10``; needs the package ``datasets``. Defaults to None.
        **kwargs: ``pipeline``, ``limit`` and so on, see
            :class:`rdarts.datasets.ArrayDataset`.

    Raises:
        UserError: Folder or files are missing or damaged, a pickle asks for code, an image is
            unreadable, or a label is out of range; the line names the file.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(classes=CIFAR10_CATEGORIES)
    config_name, title = 'c10', 'CIFAR-10'
    default_folder = 'cifar10'
    image_size = IMAGE_SIZE
    base_folder = OfficialCIFAR10.base_folder
    files: ClassVar[dict[str, list[list[str]]]] = dict(
        train=OfficialCIFAR10.train_list, test=OfficialCIFAR10.test_list
    )
    batch_label_key = 'labels'
    parquet_label_column = 'label'

    def __init__(
        self,
        split: Annotated[str, Among(SPLITS)] = 'train',
        data_root: str | os.PathLike[str] | None = None,
        hub: str | None = None,
        **kwargs: Any,
    ) -> None:
        if hub is not None and data_root is not None:
            raise UserError(
                f"{type(self).__name__}: hub='{hub}' and data_root='{data_root}' exclude each other"
            )
        self.hub = hub
        self.folder = data_root
        super().__init__(split=split, **kwargs)

    def source(self) -> Hashable:
        """The resolved folder, or the hub name."""
        if self.hub is not None:
            return f'hub {self.hub}'
        return resolve_data_root(self.folder, self.default_folder).resolve()

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split from whichever layout there is."""
        num_classes = len(self.METAINFO['classes'])
        if self.hub is not None:
            return read_hub(
                self.hub, self.split, self.parquet_label_column, IMAGE_SIZE, num_classes, self.limit
            )
        root = Path(self.source())
        files = self.files[self.split]
        for folder in (root / self.base_folder, root):
            if folder.name == self.base_folder or (folder / files[0][0]).is_file():
                if folder.is_dir():
                    return read_batches(
                        folder,
                        files,
                        self.batch_label_key,
                        IMAGE_SIZE,
                        num_classes,
                        limit=self.limit,
                    )
        parquet = find_parquet(root, self.split)
        if not parquet:
            raise UserError(
                f'{root}: neither {self.base_folder}/ nor {self.split}.parquet nor '
                f'{self.split}-*.parquet is there'
            )
        return read_parquet(parquet, self.parquet_label_column, IMAGE_SIZE, num_classes, self.limit)


@DATASETS.register_module()
class CIFAR100(CIFAR10):
    """CIFAR-100 with its 100 fine labels; arguments and layouts as :class:`CIFAR10`.

    The folder is ``cifar100``, the official one in it ``cifar-100-python/``, and the column of
    parquet files ``fine_label``.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(classes=CIFAR100_CATEGORIES)
    config_name, title = 'c100', 'CIFAR-100'
    default_folder = 'cifar100'
    base_folder = OfficialCIFAR100.base_folder
    files: ClassVar[dict[str, list[list[str]]]] = dict(
        train=OfficialCIFAR100.train_list, test=OfficialCIFAR100.test_list
    )
    batch_label_key = 'fine_labels'
    parquet_label_column = 'fine_label'
