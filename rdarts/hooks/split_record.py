"""Which images a search used for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdarts.datasets.image_record import difference, image_record
from rdarts.hooks.record import RecordHook
from rdarts.registry import HOOKS

SETTINGS = ('subset', 'fraction', 'mode', 'seed')


@HOOKS.register_module()
class SplitRecordHook(RecordHook):
    """Writes ``split.json``: the indices of the weights' and of alpha's half, and their images.

    A search that is resumed must have the split that it began with: that of its work directory,
    or of the folder of the checkpoint where its work directory is a new one.
    """

    file = 'split.json'
    recorded = 'a split'
    unchecked = 'the images are divided as they were'

    def record(self, dataset: Any) -> dict[str, Any] | None:
        """See the base class."""
        if not hasattr(dataset, 'split_record'):
            return None
        return dict(dataset.split_record(), images=image_record(dataset.dataset))

    def difference(self, path: Path, before: Any, record: dict[str, Any]) -> str | None:
        """See the base class."""
        indices = {name: list(before['indices'][name]) for name in record['indices']}
        images = before.get('images')
        changed = difference(images, record['images']) if isinstance(images, dict) else None
        settings = [
            f'{key} {before.get(key)} -> {record[key]}'
            for key in SETTINGS
            if before.get(key, record[key]) != record[key]
        ]
        if changed is None and indices == record['indices']:
            return None
        if settings:
            what, how = 'the split of the training images is not the one', ', '.join(settings)
        elif changed is None:  # an older file names no images
            counts = [sum(map(len, parts.values())) for parts in (indices, record['indices'])]
            what, how = 'the training images are not those', f'{counts[0]} then, {counts[1]} now'
        else:
            what, how = 'the training images are not those', changed
        return (
            f'{what} that this search began with ({path}): {how}; going on would move images '
            'between the weights and alpha: put it back as it was, or begin anew with another '
            '--work-dir'
        )
