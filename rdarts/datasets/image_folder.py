"""Images of one's own, in class folders."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from rdarts.configuration.declarations import Positive
from rdarts.datasets.no_refetch import NoRefetch
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
NO_CLASSES = ('__MACOSX',)  # macOS's archives carry it
CHECKED = 2000  # images decoded before a run begins; the rest when they are loaded

_said: set[str] = set()
_decoded: set[tuple[Any, ...]] = set()


@DATASETS.register_module()
class ImageFolder(NoRefetch, CustomDataset):
    """mmpretrain's ``CustomDataset`` over class folders, without its silent replacements.

    The images lie in ``<root>/<split>/<class>/``, or, where there is no folder ``train``,
    ``split='train'`` are those in ``<root>/<class>/``. Classes are numbered in the order of their
    names; every split must have the classes of ``train``, and every class an image, in its folder
    or below it. What starts with a dot, and the folder ``__MACOSX``, is neither class nor image.
    Files of other endings are left out, which one warning says with their number. The pipeline
    starts with ``LoadImageFromFile``; it decodes up to 2,000 images, evenly spread over the list,
    before the set can be used.

    Args:
        split (str): A folder's name, such as ``train``, ``val`` or ``test``. Everything but
            ``train`` counts as test images. Defaults to ``train``.
        data_root (str, optional): The folder. Defaults to None: ``$RDARTS_DATA/image_folder``,
            else ``data/image_folder``.
        pipeline (Sequence): Transforms or their configs. Defaults to ().
        limit (int, optional): Use that many images, spread evenly over the list, which is
            sorted by class. Defaults to None, all.
        extensions (Sequence[str], optional): Endings of image files. Defaults to None: those of
            the formats that OpenCV reads here.
        **kwargs: Further arguments of ``CustomDataset``.

    Raises:
        UserError: The folder is missing, a class has no image, the classes are others than those
            of ``train``, a link leads to nothing, or an image is unreadable, which shows when a
            sample is taken where it was not among those that were tried. The line names the file.
    """

    default_folder = 'image_folder'

    def __init__(
        self,
        split: str = 'train',
        data_root: str | os.PathLike[str] | None = None,
        pipeline: Sequence[Any] = (),
        limit: Positive | None = None,
        extensions: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UserError(f'ImageFolder: limit is a number of images from 1, but got {limit!r}')
        self.split = split
        self.limit = limit
        root = resolve_data_root(data_root, self.default_folder)
        self._train_folder = _train_folder(root)
        folder = self._train_folder if split == 'train' else root / split
        if not folder.is_dir():
            raise UserError(
                f"{root}: no folder '{split}' in it; the images of that split lie in "
                f'{split}/<class>/'
            )
        super().__init__(
            data_root=str(folder),
            data_prefix='',
            pipeline=pipeline,
            extensions=readable_extensions() if extensions is None else extensions,
            **kwargs,
        )

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
        folder = _train_folder(resolve_data_root(data_root, cls.default_folder))
        return len(class_names(folder)), folder

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the images of all class folders.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each, sorted by class and name.
        """
        folder = Path(self.img_prefix)
        classes, expected = class_names(folder), class_names(self._train_folder)
        if not classes:
            raise UserError(f'{folder}: no class folders in it')
        if classes != expected:
            differing = ', '.join(sorted(set(classes) ^ set(expected)))
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
        samples = super().load_data_list() if self.ann_file else self._find_images(folder, classes)
        if self.limit is not None and self.limit < len(samples):
            samples = [samples[i * len(samples) // self.limit] for i in range(self.limit)]
        self._check_images(samples)
        return samples

    def _find_images(self, folder: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
        samples: list[dict[str, Any]] = []
        left_out: Counter[str] = Counter()
        for label, name in enumerate(classes):
            files = list(_files(str(folder / name)))
            images = sorted(path for path in files if self.is_valid_file(path))
            left_out.update(_ending(path) for path in files if not self.is_valid_file(path))
            if not images:
                held = f' (it holds {_counted(Counter(map(_ending, files)))})' if files else ''
                raise UserError(
                    f"{folder}: no image in the class folder '{name}'{held}; images end in "
                    f'{" ".join(sorted(self.extensions))}'
                )
            samples += [dict(img_path=path, gt_label=label) for path in images]
        if left_out:
            _say_once(
                f'{folder}: {_files_of(left_out)} left out, no images by their endings: '
                f'{_counted(left_out)}'
            )
        files = [entry.name for entry in _entries(folder) if entry.is_file()]
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
        count = min(CHECKED, len(samples))
        paths = [samples[i * len(samples) // count]['img_path'] for i in range(count)]

        def check(path: str) -> None:
            try:
                status = os.stat(path)
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
            return super().prepare_data(idx)
        except Exception:
            # where the image can be read, the error is a transform's own
            if self._loader() is not None:
                _decode(self._loader(), self.get_data_info(idx)['img_path'])
            raise

    def image_names(self) -> list[str]:
        """The images' paths in the folder, by index."""
        paths = (self.get_data_info(i)['img_path'] for i in range(len(self)))
        return [os.path.relpath(path, self.img_prefix) for path in paths]

    def describe_sample(self, idx: int) -> str:
        """The image's path."""
        return str(self.get_data_info(idx)['img_path'])


@DATASETS.register_module()
class ImageNetFolder(ImageFolder):
    """ImageNet-1k as :class:`ImageFolder`, in ``$RDARTS_DATA/imagenet`` or ``data/imagenet``."""

    default_folder = 'imagenet'
    config_name, title = 'imagenet', 'ImageNet'


def readable_extensions() -> tuple[str, ...]:
    """Endings of the image files that OpenCV's build reads."""
    # OpenCV tells of a format's writer by an ending alone; each of these has both or none.
    return EXTENSIONS + tuple(e for e in MORE_EXTENSIONS if cv2.haveImageWriter(f'image{e}'))


def _train_folder(root: Path) -> Path:
    return root / 'train' if (root / 'train').is_dir() else root


def _hidden(name: str) -> bool:
    return name.startswith('.') or name in NO_CLASSES


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in a folder, sorted.

    Raises:
        UserError: It cannot be read, or a link in it leads to nothing.
    """
    found = _entries(folder)
    for entry in found:
        _refuse_special(entry)
    return sorted(entry.name for entry in found if entry.is_dir())


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in a folder, hidden things left out."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _hidden(entry.name)]
    except OSError as error:
        raise UserError(f'{folder}: cannot be read: {error.strerror}') from None


def _files(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Every file in a folder and below it, hidden ones left out."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise UserError(f'{folder}: cannot be read: {error.strerror}') from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise UserError(f'{folder}: a link to a folder that it lies in')
    for entry in _entries(folder):
        _refuse_special(entry)
        if entry.is_dir():
            yield from _files(entry.path, (*above, here))
        else:
            yield entry.path


def _refuse_special(entry: os.DirEntry[str]) -> None:
    """What is neither a file nor a folder would be skipped, or waited for."""
    if entry.is_dir() or entry.is_file():
        return
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise UserError(f'{entry.path}: a link to {os.readlink(entry.path)}, which is not there')
    raise UserError(f'{entry.path}: neither a file nor a folder')


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower() or 'without an ending'


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
    return SampleError(f'{path}: unreadable image{why}')
