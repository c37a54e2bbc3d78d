"""mmdet's COCO and VOC data sets, with files that are checked instead of skipped.

This module needs mmdet; a config imports it by ``custom_imports``.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset, VOCDataset

from rdarts.errors import UserError
from rdarts.registry import DATASETS


def _is_box(values: Any, count: int = 4) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) == count
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        and all(math.isfinite(v) for v in values)
    )


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset``, which would leave out what is malformed.

    Args:
        **kwargs: See mmdet's ``CocoDataset``.

    Raises:
        UserError: The annotation file is missing or no COCO file; an annotation has a malformed
            box, or an image or category that the file does not list; a class of the data set is no
            category of the file; an image is missing. The line names the first.
    """

    def load_data_list(self) -> list[dict]:
        """See mmdet."""
        data = self._read(Path(self.ann_file))
        self._check_annotations(data)
        found = super().load_data_list()
        for entry in found:
            if not Path(entry['img_path']).is_file():
                raise UserError(f'{self.ann_file}: image {entry["img_path"]} is missing')
        return found

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            data = json.loads(path.read_text(encoding='utf-8'))
        except OSError as error:
            raise UserError(f'cannot read the annotations {path}: {error.strerror}') from None
        except ValueError as error:
            raise UserError(f'{path}: no JSON ({error})') from None
        for key in ('images', 'annotations', 'categories'):
            if not isinstance(data, dict) or not isinstance(data.get(key), list):
                raise UserError(f"{path}: no COCO file: it has no list '{key}'")
        return data

    def _check_annotations(self, data: dict[str, Any]) -> None:
        path = self.ann_file
        try:
            names = {entry['name'] for entry in data['categories']}
            categories = {entry['id'] for entry in data['categories']}
            images = {entry['id']: entry for entry in data['images']}
            for entry in images.values():
                if not (entry['width'] > 0 and entry['height'] > 0 and entry['file_name']):
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
        except (KeyError, TypeError) as error:
            raise UserError(f'{path}: no COCO file: an entry lacks {error}') from None
        missing = [name for name in self.metainfo['classes'] if name not in names]
        if missing:
            raise UserError(
                f"{path}: class '{missing[0]}' is no category of the file; set metainfo.classes to "
                'its categories'
            )


@DATASETS.register_module()
class CheckedVOCDataset(VOCDataset):
    """mmdet's ``VOCDataset``, which would fail within or skip what is malformed.

    Args:
        **kwargs: See mmdet's ``VOCDataset``.

    Raises:
        UserError: The list of images, an annotation or an image is missing; an object has another
            class or a malformed box. The line names the first.
    """

    def load_data_list(self) -> list[dict]:
        """See mmdet."""
        path = Path(self.ann_file)
        try:
            names = path.read_text(encoding='utf-8').split()
        except OSError as error:
            raise UserError(f'cannot read the list of images {path}: {error.strerror}') from None
        root = Path(self.sub_data_root)
        folder = root / self.ann_subdir
        if not folder.is_dir():
            raise UserError(f'{root}: no folder {self.ann_subdir} in it, which VOC has')
        for name in names:
            self._check(folder / f'{name}.xml')
            image = root / self.img_subdir / f'{name}.jpg'
            if not image.is_file():
                raise UserError(f'{path}: image {image} is missing')
        return super().load_data_list()

    def _check(self, path: Path) -> None:
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except OSError as error:
            raise UserError(f'cannot read the annotation {path}: {error.strerror}') from None
        except ElementTree.ParseError as error:
            raise UserError(f'{path}: no XML ({error})') from None
        for number, entry in enumerate(root.findall('object')):
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
