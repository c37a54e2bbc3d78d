"""Which images a data set holds, as a run stores it to know them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rdarts.datasets.seeded import dataset_labels

MOST_NAMES = 50_000  # of more images, only their digest is stored


def image_record(dataset: Any) -> dict[str, Any]:
    """What tells the images of a data set from those of another.

    Args:
        dataset (Dataset): One with ``image_names()``, with ``arrays``, or with labels.

    Returns:
        dict: ``count``, ``sha256``, and ``names`` where the images have some and are not too many;
        plain data for JSON.
    """
    digest = hashlib.sha256()
    record: dict[str, Any] = dict(count=len(dataset))
    if hasattr(dataset, 'image_names'):
        names = dataset.image_names()
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


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the images of two records differ.

    Args:
        before, now (dict): What :func:`image_record` gave.

    Returns:
        str | None: Such as ``1 added (a/9.jpg)``; None where they do not.
    """
    if before.get('sha256') == now.get('sha256'):
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
