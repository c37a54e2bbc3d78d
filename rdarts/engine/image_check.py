"""A training that is resumed must have the images that it began with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from rdarts.datasets.image_record import difference, image_record
from rdarts.engine.checkpoint import write_atomically
from rdarts.errors import UserError
from rdarts.utils.commands import shown_path

FILE = 'images.json'


class ImageCheckHook(Hook):
    """Writes ``images.json``, which tells the training images from others, and compares it.

    Of a search, ``SplitRecordHook`` does so in ``split.json``.

    Raises:
        UserError: The run is resumed with other images than the file names; the line says which.
    """

    priority = 'VERY_HIGH'  # before anything of the run is written

    def before_train(self, runner) -> None:
        """See mmengine."""
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'split_record'):
            return
        wrong: list[str | None] = [None]
        if is_main_process():
            wrong[0] = self._compare_and_write(runner, dataset)
        broadcast_object_list(wrong)  # the ranks stop together
        if wrong[0] is not None:
            raise UserError(wrong[0])

    def _compare_and_write(self, runner, dataset: Any) -> str | None:
        try:
            record = image_record(dataset)
        except UserError:  # a data set of one's own, which tells nothing of its images
            return None
        path = Path(runner.work_dir, FILE)
        if getattr(runner, '_resume', False):
            places = [path, Path(getattr(runner, '_load_from', None) or path).parent / FILE]
            place = next((place for place in places if place.is_file()), None)
            if place is None:
                runner.logger.warning(
                    f'no {FILE} in {path.parent}: whether the training images are those that it '
                    'began with cannot be checked'
                )
            else:
                wrong = _difference(place, record)
                if wrong is not None:
                    return wrong
        write_atomically(path, (json.dumps(record) + '\n').encode())
        return None


def _difference(path: Path, record: dict[str, Any]) -> str | None:
    """Why a training that wrote this file does not go on with these images."""
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
        changed = difference(before, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f'{path}: not the record of images; without the file, nothing is compared'
    if changed is None:
        return None
    return (
        f'the training images are not those that this training began with ({path}): {changed}; put '
        'them back as they were, or begin anew with another --work-dir; to go on with these all '
        f'the same: rm {shown_path(path)}'
    )
