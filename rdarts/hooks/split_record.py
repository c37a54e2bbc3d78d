"""Which images a search used for what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from rdarts.datasets.image_record import difference, image_record
from rdarts.engine.checkpoint import write_atomically
from rdarts.errors import UserError
from rdarts.registry import HOOKS

FILE = 'split.json'
SETTINGS = ('subset', 'fraction', 'mode', 'seed')


@HOOKS.register_module()
class SplitRecordHook(Hook):
    """Writes ``split.json``: the indices of the weights' and of alpha's half, and their images.

    A search that is resumed must have the split that it began with: that of its work directory,
    or of the folder of the checkpoint where its work directory is a new one.

    Raises:
        UserError: It has another; the line says what changed.
    """

    priority = 'VERY_HIGH'  # before anything of the run is written

    def before_train(self, runner) -> None:
        """See mmengine."""
        dataset = runner.train_dataloader.dataset
        if not hasattr(dataset, 'split_record'):
            return
        wrong: list[str | None] = [None]
        if is_main_process():
            wrong[0] = self._compare_and_write(runner, dataset)
        broadcast_object_list(wrong)  # the ranks stop together
        if wrong[0] is not None:
            raise UserError(wrong[0])

    def _compare_and_write(self, runner, dataset) -> str | None:
        record = dict(dataset.split_record(), images=image_record(dataset.dataset))
        # what a file can hold
        record = json.loads(json.dumps(record))
        path = Path(runner.work_dir) / FILE
        if getattr(runner, '_resume', False):
            places = [path, Path(getattr(runner, '_load_from', None) or path).parent / FILE]
            for place in places:
                if place.is_file():
                    wrong = _difference(place, record)
                    if wrong is not None:
                        return wrong
                    break
            else:
                runner.logger.warning(
                    f'no {FILE} in {path.parent}: whether the images are divided as they were '
                    'cannot be checked'
                )
        write_atomically(path, (json.dumps(record) + '\n').encode())
        return None


def _difference(path: Path, record: dict[str, Any]) -> str | None:
    """Why a search that wrote this file cannot go on with another split."""
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        indices = {name: list(before['indices'][name]) for name in record['indices']}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f'{path}: not the record of a split; without the file, nothing is compared'
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
        f'{what} that this search began with ({path}): {how}; going on would move images between '
        'the weights and alpha: put it back as it was, or begin anew with another --work-dir'
    )
