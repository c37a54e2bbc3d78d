"""Whether a network has as many classes as its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from rdarts.datasets.seeded import dataset_labels
from rdarts.errors import UserError
from rdarts.utils.wording import plural

HEADS = ('head', 'bbox_head', 'data_preprocessor')


def find_classes(dataset: Any) -> Sequence[str] | int | None:
    """The classes of a data set.

    Args:
        dataset (Dataset): A data set, wrapped or not.

    Returns:
        Sequence[str] | int | None: Their names or their number; None where the set tells neither.
    """
    dataset = _unwrapped(dataset)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and not isinstance(classes, str):
        return list(classes)
    count = getattr(dataset, 'num_classes', None)
    return count if isinstance(count, int) else None


def _unwrapped(dataset: Any) -> Any:
    """The data set within wrappers, the first where one joins several."""
    while not isinstance(getattr(dataset, 'num_classes', None), int):
        inner = getattr(dataset, 'dataset', None)
        if inner is None:
            inner = next(iter(getattr(dataset, 'datasets', None) or ()), None)
        if inner is None:
            break
        dataset = inner
    return dataset


def check_num_classes(model: nn.Module, dataset: Any) -> None:
    """Heads and data preprocessor must have the number of classes of a data set.

    Args:
        model (Module): Its ``head``, ``bbox_head`` and ``data_preprocessor`` are looked at, where
            they name a ``num_classes``.
        dataset (Dataset): What it is trained, validated or tested on.

    Raises:
        UserError: One has another number; or, where the set does not tell its classes, one of its
            labels is none of the head's.
    """
    given = {
        f'model.{name}.num_classes': module.num_classes
        for name, module in model.named_modules()
        if name.rpartition('.')[2] in HEADS
        and isinstance(getattr(module, 'num_classes', None), int)
    }
    if not given:
        return
    classes = find_classes(dataset)
    if classes is None:
        _check_labels(dataset, given)
        return
    count = classes if isinstance(classes, int) else len(classes)
    wrong = {key: value for key, value in given.items() if value != count}
    if not wrong:
        return
    # the config's key; the model's is a copy of it
    wrong = {key.replace('model.data_pre', 'data_pre'): value for key, value in wrong.items()}
    if len(set(wrong.values())) == 1:
        (value,) = set(wrong.values())
        values = f'{" and ".join(wrong)} {"are" if len(wrong) > 1 else "is"} {value}'
    else:
        values = ' and '.join(f'{key} is {value}' for key, value in wrong.items())
    options = ' '.join(f'{key}={count}' for key in wrong)
    raise UserError(f'{_describe(dataset, classes)}, but {values}: set {options}')


def _check_labels(dataset: Any, given: dict[str, int]) -> None:
    try:
        labels = dataset_labels(dataset)
    except Exception:  # a set of one's own need not tell them
        return
    key, least = min(given.items(), key=lambda item: item[1])
    if len(labels) and not 0 <= labels.min() <= labels.max() < least:
        wrong = labels.max() if labels.max() >= least else labels.min()
        raise UserError(
            f'{_name(dataset)} has the label {int(wrong)}, but {key} is {least}: labels are '
            'counted from 0'
        )


def _describe(dataset: Any, classes: Sequence[str] | int) -> str:
    if isinstance(classes, int):
        return f'{_name(dataset)} has {plural(classes, "class")}'
    shown = ', '.join(map(str, classes[:10])) + (', ...' if len(classes) > 10 else '')
    folder = str(getattr(_unwrapped(dataset), 'img_prefix', '') or '')
    if folder:
        return f'{plural(len(classes), "class folder")} in {folder.rstrip("/")} ({shown})'
    return f'{_name(dataset)} has {plural(len(classes), "class")} ({shown})'


def _name(dataset: Any) -> str:
    return type(_unwrapped(dataset)).__name__
