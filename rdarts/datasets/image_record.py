"""Which images a data set holds, as a run stores it to know them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rdarts.datasets.seeded import dataset_labels
from rdarts.errors import UserError

MOST_NAMES = 50_000  # of more images, only their digest is stored


def image_record(dataset: Any) -> dict[str, Any]:
    """What tells the images of a data set from those of another.

    Args:
        dataset (Dataset): One with ``image_names()``, with ``arrays``, with an ``img_id`` of each
            image as mmdetection's have, or with labels; also what wraps such.

    Returns:
        dict: ``count``, ``sha256``, and ``names`` where the images have some and are not too many;
        plain data for JSON.

    Raises:
        UserError: It tells nothing of its images.
    """
    digest = hashlib.sha256()
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())]
    try:
        records = [image_record(one) for one in inner if one is not None]
    except UserError:  # then the labels of what wraps it tell it
        records = []
    if len(records) == 1:
        return records[0]
    if records:
        digest.update(''.join(one['sha256'] for one in records).encode())
        return dict(count=sum(one['count'] for one in records), sha256=digest.hexdigest())
    record: dict[str, Any] = dict(count=len(dataset))
    names = _names(dataset)
    if names is not None:
        digest.update('\n'.join(names).encode('utf-8', 'surrogateescape'))
        if len(names) <= MOST_NAMES:
            record['names'] = names
    elif getattr(dataset, 'arrays', None) is not None:
        for array in (dataset.arrays.labels, dataset.arrays.images):
            digest.update(np.ascontiguousarray(array))
    else:
        digest.update(dataset_labels(dataset).tobytes())
    record['sha256'] = digest.hexdigest()
    return record


def _names(dataset: Any) -> list[str] | None:
    """What a data set calls its images; None where it does not."""
    if hasattr(dataset, 'image_names'):
        return dataset.image_names()
    info = getattr(dataset, 'get_data_info', None)
    if not callable(info) or not len(dataset) or 'img_id' not in info(0):
        return None
    return [str(info(i)['img_id']) for i in range(len(dataset))]


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the images of two records differ.

    Args:
        before, now (dict): What :func:`image_record` gave.

    Returns:
        str | None: Such as ``1 added (a/9.jpg)``; None where they do not.
    """
    if all(before.get(key) == now.get(key) for key in ('sha256', 'count')):
        return None
    if 'names' not in before or 'names' not in now:
        if before.get('count') != now.get('count'):
            return f'{before.get("count")} then, {now.get("count")} now'
        return f'{now.get("count")} other images or labels'
    changes = [
        f'{len(names)} {what} ({_some(names)})'
        for what, names in (
            ('added', sorted(set(now['names']) - set(before['names']))),
            ('gone', sorted(set(before['names']) - set(now['names']))),
        )
        if names
    ]
    return ', '.join(changes) or 'another order'


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
