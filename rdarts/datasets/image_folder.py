"""Images of one's own, in class folders.

Longer than 400 lines: one data set, from the list of its files to the images that are kept.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from rdarts.configuration.declarations import Positive
from rdarts.datasets.class_folders import class_names, entries, files_below
from rdarts.datasets.image_cache import ImageCache, parse_size, stamp_of
from rdarts.datasets.no_refetch import NoRefetch
from rdarts.datasets.shards import file_of, find_shards, in_groups, list_images, named
from rdarts.errors import SampleError, UserError
from rdarts.registry import DATASETS
from rdarts.utils.data_root import resolve_data_root
from rdarts.utils.wording import plural

# Endings of the formats that OpenCV reads in every build; a file's content says which it is.
EXTENSIONS = (
    '.jpg',
    '.jpeg',
    '.jpe',
    '.jfif',
    '.png',
    '.bmp',
    '.ppm',
    '.pgm',
    '.pnm',
    '.tif',
    '.tiff',
)
# Endings of those that some builds lack
MORE_EXTENSIONS = ('.webp', '.gif', '.avif', '.jp2')
CHECKED = 2000  # images decoded before a run begins; the rest when they are loaded
CHECKED_IN_GROUPS = 50

_said: set[str] = set()
_decoded: set[tuple[Any, ...]] = set()


@DATASETS.register_module()
class ImageFolder(NoRefetch, CustomDataset):
    """mmpretrain's ``CustomDataset`` over class folders, without its silent replacements.

    The images lie in ``<root>/<split>/<class>/``, or, where there is no folder ``train``,
    ``split='train'`` are those in ``<root>/<class>/``. Classes are numbered in the order of their
    names; every split must have the classes of ``train``, and every class an image, in its folder
    or below it. What starts with a dot, and the folder ``__MACOSX``, is neither class nor image.
    Files of other endings are left out, which one warning says with their number. Where there are
    no class folders, the images may lie in tar or Parquet files, from which they are read one by
    one, in any order: :func:`rdarts.datasets.shards.find_shards` says where these are looked for,
    :func:`~rdarts.datasets.shards.list_images` what is in them. The pipeline starts with
    ``LoadImageFromFile``; it decodes up to 2,000 images (50 of Parquet files), evenly spread over
    the list, before the set can be used.

    Args:
        split (str): A folder's name, such as ``train``, ``val`` or ``test``. Everything but
            ``train`` counts as test images. Defaults to ``train``.
        data_root (str, optional): The folder. Defaults to None: ``$RDARTS_DATA/image_folder``,
            else ``data/image_folder``.
        pipeline (Sequence): Transforms or their configs. Defaults to ().
        limit (int, optional): Use that many images, spread evenly over the list, which is
            sorted by class, or in the order of tar or Parquet files. Defaults to None, all.
        extensions (Sequence[str], optional): Endings of image files. Defaults to None: those of
            the formats that OpenCV reads here.
        image_cache (str, optional): How much memory decoded images may take, such as ``8GB``: see
            :class:`~rdarts.datasets.image_cache.ImageCache`. The samples are the same. Defaults to
            None: each image is decoded each time.
        **kwargs: Further arguments of ``CustomDataset``.

    Raises:
        UserError: The folder is missing, a tar or Parquet file is damaged, a class has no image,
            the classes are others than those of ``train``, a link leads to nothing, or an image is
            unreadable, which shows when a sample is taken where it was not among those that were
            tried. The line names the file.
    """

    default_folder = 'image_folder'

    def __init__(
        self,
        split: str = 'train',
        data_root: str | os.PathLike[str] | None = None,
        pipeline: Sequence[Any] = (),
        limit: Positive | None = None,
        extensions: Sequence[str] | None = None,
        image_cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UserError(f'ImageFolder: limit is a number of images from 1, but got {limit!r}')
        self.split = split
        self.limit = limit
        self._cache_size = None if image_cache is None else parse_size(image_cache)
        self.image_cache: ImageCache | None = None
        root = self._root = resolve_data_root(data_root, self.default_folder)
        self._train_folder = _train_folder(root)
        folder = self._train_folder if split == 'train' else root / split
        self._shards = _shards(root, split)
        if self._shards:
            folder = root
        elif not folder.is_dir():
            raise UserError(
                f"{root}: no folder '{split}' in it; the images of that split lie in "
                f'{split}/<class>/, or in {split}-*.tar or {split}-*.parquet'
            )
        super().__init__(
            data_root=str(folder),
            data_prefix='',
            pipeline=pipeline,
            extensions=readable_extensions() if extensions is None else extensions,
            **kwargs,
        )

    @classmethod
    def has_split(cls, data_root: str | os.PathLike[str] | None, split: str) -> bool:
        """Whether a folder has images of a split.

        Args:
            data_root (str | PathLike, optional): As the data set takes it.
            split (str): Which.

        Raises:
            UserError: There is no such folder.
        """
        root = resolve_data_root(data_root, cls.default_folder)
        return (root / split).is_dir() or bool(_shards(root, split))

    @classmethod
    def count_classes(cls, data_root: str | os.PathLike[str] | None) -> tuple[int, Path]:
        """How many classes a folder has, before a data set is made of it.

        Args:
            data_root (str | PathLike, optional): As the data set takes it.

        Returns:
            tuple[int, Path]: Their number, and the folder where they were counted.

        Raises:
            UserError: There is no such folder, it cannot be read, or a link in it leads to nothing.
        """
        root = resolve_data_root(data_root, cls.default_folder)
        files = _shards(root, 'train')
        if files:
            return len(list_images(files, readable_extensions()).classes), root
        folder = _train_folder(root)
        return len(class_names(folder)), folder

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the images of all class folders, or of tar or Parquet files.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each, sorted by class and name; of files,
            a locator in place of the path, in their order.
        """
        folder, found = Path(self.img_prefix), None
        if self._shards:
            found = list_images(self._shards, self.extensions)
            classes, expected = list(found.classes), self._classes_of_train()
            if found.numbered:  # by the largest label that there is
                classes += expected[len(classes) :]
        else:
            classes, expected = class_names(folder), self._classes_of_train()
        if not classes:
            raise UserError(f'{folder}: no class folders in it')
        if classes != expected:
            differing = ', '.join(sorted(set(classes) ^ set(expected))) or 'their order'
            raise UserError(
                f'{folder}: not the classes of {self._train_folder}; they differ in: {differing}'
            )
        given = self.metainfo.get('classes')
        if given is not None and len(given) != len(classes):
            raise UserError(
                f'{folder}: {plural(len(classes), "class folder")} ({_some(classes)}), '
                'but metainfo names '
                f'{plural(len(given), "class")}'
            )
        if given is None:
            self._metainfo['classes'] = tuple(classes)
        if found is not None:
            samples = [dict(img_path=path, gt_label=label) for path, label in found.images]
            _say_left_out(folder, Counter(map(_ending, found.left_out)))
        elif self.ann_file:
            samples = super().load_data_list()
        else:
            samples = self._find_images(folder, classes)
        if self.limit is not None and self.limit < len(samples):
            samples = [samples[i * len(samples) // self.limit] for i in range(self.limit)]
        self._check_images(samples)
        return samples

    def full_init(self) -> None:
        """List the images, and open the cache of those that are left of them."""
        if self._fully_initialized:
            return
        loader = self._loader()
        if self._cache_size is not None:
            if loader is None:
                raise UserError('image_cache: the pipeline must start with LoadImageFromFile')
            if loader.to_float32:
                raise UserError(
                    'image_cache keeps pixels of 8 bits: leave out to_float32 of LoadImageFromFile'
                )
        super().full_init()
        if self._cache_size is not None:
            paths = [self.get_data_info(i)['img_path'] for i in range(len(self))]
            decoder = f'{loader!r} {cv2.__version__}'
            self.image_cache = ImageCache(self._cache_size, paths, decoder)

    def _find_images(self, folder: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
        samples: list[dict[str, Any]] = []
        left_out: Counter[str] = Counter()
        for label, name in enumerate(classes):
            files = list(files_below(str(folder / name)))
            images = sorted(path for path in files if self.is_valid_file(path))
            left_out.update(_ending(path) for path in files if not self.is_valid_file(path))
            if not images:
                held = f' (it holds {_counted(Counter(map(_ending, files)))})' if files else ''
                raise UserError(
                    f"{folder}: no image in the class folder '{name}'{held}; images end in "
                    f'{" ".join(sorted(self.extensions))}'
                )
            samples += [dict(img_path=path, gt_label=label) for path in images]
        _say_left_out(folder, left_out)
        files = [entry.name for entry in entries(folder) if entry.is_file()]
        beside = Counter(_ending(name) for name in files if self.is_valid_file(name))
        if beside:
            _say_once(
                f'{folder}: {_files_of(beside)} left out, images beside the class folders: '
                f'{_counted(beside)}'
            )
        return samples

    def _check_images(self, samples: Sequence[dict[str, Any]]) -> None:
        """Decode images as the pipeline does, as many as take seconds."""
        loader = self._loader()
        if loader is None or not samples:
            return
        # of a Parquet file, a whole row group is read for each
        most = CHECKED_IN_GROUPS if in_groups(samples[0]['img_path']) else CHECKED
        count = min(most, len(samples))
        paths = [samples[i * len(samples) // count]['img_path'] for i in range(count)]

        def check(path: str) -> None:
            try:
                status = os.stat(file_of(path))
            except OSError as error:
                raise _unreadable(path, error) from None
            # the parts of a search and its validation read the same images
            key = (path, status.st_mtime_ns, status.st_size, repr(loader))
            if key not in _decoded:
                _decode(loader, path)
                _decoded.add(key)

        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            for _ in pool.map(check, paths):
                pass

    def _classes_of_train(self) -> list[str]:
        """The classes that every split must have."""
        files = _shards(self._root, 'train')
        if files:
            return list(list_images(files, self.extensions).classes)
        return class_names(self._train_folder)

    def _loader(self) -> LoadImageFromFile | None:
        first = next(iter(self.pipeline.transforms), None)
        return first if isinstance(first, LoadImageFromFile) else None

    def prepare_data(self, idx: int) -> Any:
        """One sample after the pipeline.

        Args:
            idx (int): Its index.

        Raises:
            SampleError: The image is unreadable.
        """
        try:
            if self.image_cache is None:
                return super().prepare_data(idx)
            return self._with_cache(self.get_data_info(idx))
        except Exception:
            # where the image can be read, the error is a transform's own
            if self._loader() is not None:
                _decode(self._loader(), self.get_data_info(idx)['img_path'])
            raise

    def _with_cache(self, sample: dict[str, Any] | None) -> Any:
        """The pipeline, whose first step is left out where its result is known."""
        index, path = sample['sample_idx'], sample['img_path']
        load, *others = self.pipeline.transforms
        stamp = stamp_of(path)  # of the file that is decoded, or of one before it
        image = self.image_cache.get(index, stamp)
        if image is not None:
            sample.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        else:
            sample = load(sample)
            if sample is not None:
                self.image_cache.put(index, stamp, sample['img'])
        for transform in others:
            if sample is None:
                break
            sample = transform(sample)
        return sample

    def image_names(self) -> list[str]:
        """The images' paths in the folder, by index."""
        paths = (named(self.get_data_info(i)['img_path']) for i in range(len(self)))
        return [os.path.relpath(path, self.img_prefix) for path in paths]

    def describe_sample(self, idx: int) -> str:
        """The image's path."""
        return named(str(self.get_data_info(idx)['img_path']))


@DATASETS.register_module()
class ImageNetFolder(ImageFolder):
    """ImageNet-1k as :class:`ImageFolder`, in ``$RDARTS_DATA/imagenet`` or ``data/imagenet``."""

    default_folder = 'imagenet'
    config_name, title = 'imagenet', 'ImageNet'


def readable_extensions() -> tuple[str, ...]:
    """Endings of the image files that OpenCV's build reads."""
    # OpenCV tells of a format's writer by an ending alone; each of these has both or none.
    return EXTENSIONS + tuple(e for e in MORE_EXTENSIONS if cv2.haveImageWriter(f'image{e}'))


def _shards(root: Path, split: str) -> list[Path]:
    """The tar or Parquet files of a split; none where it has class folders."""
    folder = _train_folder(root) if split == 'train' else root / split
    others = {'data', 'train', 'val', 'validation', 'test'} if folder == root else set()
    if folder.is_dir() and any(e.is_dir() and e.name not in others for e in entries(folder)):
        return []
    return find_shards(root, split)


def _train_folder(root: Path) -> Path:
    return root / 'train' if (root / 'train').is_dir() else root


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower() or 'without an ending'


def _say_left_out(folder: Path, endings: Counter[str]) -> None:
    if endings:
        _say_once(
            f'{folder}: {_files_of(endings)} left out, no images by their endings: '
            f'{_counted(endings)}'
        )


def _files_of(endings: Counter[str]) -> str:
    count = sum(endings.values())
    return f'{count} file{"s" if count > 1 else ""}'


def _counted(endings: Counter[str]) -> str:
    return ', '.join(f'{count} {ending}' for ending, count in sorted(endings.items()))


def _some(names: Sequence[str], most: int = 10) -> str:
    """Names, shortened where they are many."""
    more = f', ... {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def _say_once(line: str) -> None:
    """Warn once a process: a search builds the set of a folder three times."""
    if line not in _said:
        _said.add(line)
        print_log(line, logger='current', level=logging.WARNING)


def _decode(loader: LoadImageFromFile, path: str) -> None:
    try:
        image = loader(dict(img_path=path))
    except OSError as error:
        if error.errno not in (None, errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ELOOP):
            raise  # of the machine, not of the file
        raise _unreadable(path, error) from None
    except MemoryError:
        raise
    except Exception as error:  # of a decoder: mmcv's assertion, OpenCV's and Pillow's errors
        if isinstance(error, cv2.error) and error.code == cv2.Error.STS_NO_MEM:
            raise
        raise _unreadable(path) from None
    if image is None:  # ignore_empty
        raise _unreadable(path)


def _unreadable(path: str, error: OSError | None = None) -> SampleError:
    why = f' ({error.strerror})' if error is not None and error.strerror else ''
    return SampleError(f'{named(path)}: unreadable image{why}')
