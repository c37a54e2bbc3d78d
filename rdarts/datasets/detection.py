"""mmdet's COCO and VOC data sets, with files that are checked instead of skipped.

This module needs mmdet; a config imports it by ``custom_imports``.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

with contextlib.redirect_stdout(io.StringIO()):
    # mmdet prints that an optional package is missing
    from mmdet.datasets import CocoDataset, VOCDataset
    from mmdet.datasets.api_wrappers import COCO
    from mmdet.evaluation import CocoMetric

from rdarts.errors import UserError
from rdarts.registry import DATASETS, METRICS
from rdarts.utils.files import read_text
from rdarts.utils.wording import plural

MAX_BYTES = 2**32  # of a file of annotations


def _is_box(values: Any, count: int = 4) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) == count
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        and all(math.isfinite(v) for v in values)
    )


def read_coco(path: str | Path) -> dict[str, Any]:
    """A COCO file of boxes, checked.

    Args:
        path (str | Path): The file; a byte order mark before it is skipped.

    Returns:
        dict: Its content. An annotation without ``area`` gets width times height of its box, one
        without ``iscrowd`` 0.

    Raises:
        UserError: The file is missing or no COCO file, an id is there twice, or an annotation has a
            malformed box, or an image or category that the file does not list. The line names the
            first.
    """
    try:
        text = read_text(path, MAX_BYTES, 'the annotations')
    except FileNotFoundError as error:
        raise UserError(f'cannot read the annotations {path}: {error.strerror}') from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: no JSON ({error})') from None
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise UserError(f"{path}: no COCO file: it has no list '{key}'")
    try:
        _check_coco(path, data)
    except KeyError as error:
        raise UserError(f'{path}: no COCO file: an entry lacks {error}') from None
    except (TypeError, AttributeError) as error:
        raise UserError(f'{path}: no COCO file: an entry is of another form ({error})') from None
    return data


def _check_coco(path: str | Path, data: dict[str, Any]) -> None:
    for key, what in (
        ('images', 'image'),
        ('annotations', 'annotation'),
        ('categories', 'category'),
    ):
        _refuse_repeated(path, f'{what} id', [entry['id'] for entry in data[key]])
    _refuse_repeated(path, 'category', [entry['name'] for entry in data['categories']])
    categories = {entry['id'] for entry in data['categories']}
    images = {entry['id'] for entry in data['images']}
    for entry in data['images']:
        named = isinstance(entry['file_name'], str) and entry['file_name']
        if not (named and entry['width'] > 0 and entry['height'] > 0):
            raise UserError(f'{path}: image {entry["id"]} has no name or size')
    for entry in data['annotations']:
        where = f'{path}: annotation {entry["id"]}'
        if entry['image_id'] not in images:
            raise UserError(f'{where}: image {entry["image_id"]} is not in the file')
        if entry['category_id'] not in categories:
            raise UserError(f'{where}: category {entry["category_id"]} is not in the file')
        box = entry['bbox']
        if not _is_box(box) or box[2] <= 0 or box[3] <= 0:
            raise UserError(
                f'{where}: the box must be [x, y, width, height] with positive width and '
                f'height, but is {box}'
            )
        entry.setdefault('area', box[2] * box[3])
        entry.setdefault('iscrowd', 0)
        if not _is_box([entry['area']], 1):
            raise UserError(f'{where}: the area must be a number, but is {entry["area"]!r}')


def _refuse_repeated(path: str | Path, what: str, values: Sequence[Any]) -> None:
    value, count = (Counter(values).most_common(1) or [(None, 0)])[0]
    if count > 1:
        raise UserError(f'{path}: the {what} {value!r} is there {count} times')


def _index_coco(path: str | Path) -> COCO:
    """The file as mmdet's data set and metric hold it."""
    api = COCO()
    api.dataset = read_coco(path)
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
    return api


class _WithBoxes:
    """Mixin before mmdet's data sets, which fail within where no image is left."""

    def filter_data(self) -> list[dict]:
        """See mmdet.

        Raises:
            UserError: No image is left, or none to train on has a box.
        """
        left = super().filter_data()
        if not left or not (self.test_mode or any(entry['instances'] for entry in left)):
            if self.test_mode or not self.data_list:
                raise UserError(f'{self.ann_file}: it lists no image')
            least = (self.filter_cfg or {}).get('min_size', 0)
            sides = f' and {least} pixels a side' if least else ''
            raise UserError(
                f'{self.ann_file}: {plural(len(self.data_list), "image")}, none of which has a '
                f'box{sides}'
            )
        return left


@DATASETS.register_module()
class CheckedCocoDataset(_WithBoxes, CocoDataset):
    """mmdet's ``CocoDataset``, which would leave out what is malformed.

    Args:
        **kwargs: See mmdet's ``CocoDataset``.

    Raises:
        UserError: The annotation file is refused by :func:`read_coco`; a class of the data set is
            no category of it; an image is missing; no image with a box is left. The line names the
            first.
    """

    def load_data_list(self) -> list[dict]:
        """See mmdet."""
        found = super().load_data_list()
        for entry in found:
            if not Path(entry['img_path']).is_file():
                raise UserError(f'{self.ann_file}: image {entry["img_path"]} is missing')
        return found

    def COCOAPI(self, _: str) -> COCO:
        """The annotations, in place of the class that mmdet calls here."""
        api = _index_coco(self.ann_file)
        names = {entry['name'] for entry in api.dataset['categories']}
        missing = [name for name in self.metainfo['classes'] if name not in names]
        if missing:
            raise UserError(
                f"{self.ann_file}: class '{missing[0]}' is no category of the file; set "
                'metainfo.classes to its categories'
            )
        return api


@METRICS.register_module()
class CheckedCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric`` of an annotation file as :class:`CheckedCocoDataset` reads it.

    Args:
        ann_file (str): The file.
        **kwargs: See mmdet's ``CocoMetric``.

    Raises:
        UserError: See :func:`read_coco`.
    """

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(ann_file=None, **kwargs)
        self._coco_api = _index_coco(ann_file)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """See mmdet; of the images that were looked at: a data set may be limited."""
        self.img_ids = [prediction['img_id'] for _, prediction in results]
        return super().compute_metrics(results)


@DATASETS.register_module()
class CheckedVOCDataset(_WithBoxes, VOCDataset):
    """mmdet's ``VOCDataset``, which would fail within or skip what is malformed.

    Args:
        **kwargs: See mmdet's ``VOCDataset``.

    The list of images holds one name a line, which may hold spaces; blank lines are skipped.

    Raises:
        UserError: The list of images, an annotation or an image is missing; an object has another
            class or a malformed box; no image with a box is left. The line names the first.
    """

    def load_data_list(self) -> list[dict]:
        """See mmdet."""
        path = Path(self.ann_file)
        try:
            lines = read_text(path, MAX_BYTES, 'the list of images').splitlines()
        except FileNotFoundError as error:
            raise UserError(f'cannot read the list of images {path}: {error.strerror}') from None
        names = [line.strip() for line in lines if line.strip()]
        root = Path(self.sub_data_root)
        folder = root / self.ann_subdir
        if not folder.is_dir():
            raise UserError(f'{root}: no folder {self.ann_subdir} in it, which VOC has')
        _refuse_repeated(path, 'image', names)
        self.cat2label = {name: label for label, name in enumerate(self.metainfo['classes'])}
        found = []
        for name in names:
            self._check(folder / f'{name}.xml')
            image = root / self.img_subdir / f'{name}.jpg'
            if not image.is_file():
                raise UserError(f'{path}: image {image} is missing')
            found.append(
                self.parse_data_info(
                    dict(
                        img_id=name,
                        file_name=f'{self.img_subdir}/{name}.jpg',
                        xml_path=str(folder / f'{name}.xml'),
                    )
                )
            )
        return found

    def _check(self, path: Path) -> None:
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except OSError as error:
            raise UserError(f'cannot read the annotation {path}: {error.strerror}') from None
        except ElementTree.ParseError as error:
            raise UserError(f'{path}: no XML ({error})') from None
        size = root.find('size')
        if size is not None:
            edges = [size.findtext(key) for key in ('width', 'height')]
            if not all(text is not None and text.isdecimal() and int(text) for text in edges):
                raise UserError(
                    f'{path}: the size must be a width and a height in pixels, but is '
                    f'{edges[0]} x {edges[1]}'
                )
        for number, entry in enumerate(root.findall('object')):
            if (entry.findtext('difficult') or '0').strip() not in ('0', '1'):
                raise UserError(f'{path}: object {number}: difficult must be 0 or 1')
            name = entry.findtext('name')
            if name not in self.metainfo['classes']:
                raise UserError(f"{path}: object {number} is of the class '{name}', not of VOC's")
            try:
                keys = ('xmin', 'ymin', 'xmax', 'ymax')
                box = [float(entry.findtext(f'bndbox/{key}')) for key in keys]
            except (TypeError, ValueError):
                box = None
            if box is None or not _is_box(box) or box[0] >= box[2] or box[1] >= box[3]:
                raise UserError(
                    f'{path}: object {number}: the box must be xmin < xmax and ymin < ymax, '
                    f'but is {box}'
                )
