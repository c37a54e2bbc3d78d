"""A training that is resumed must have the images that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdarts.datasets.image_record import difference, image_record
from rdarts.errors import UserError
from rdarts.hooks.record import RecordHook
from rdarts.registry import HOOKS
from rdarts.utils.commands import shown_path


@HOOKS.register_module()
class ImageCheckHook(RecordHook):
    """Writes ``images.json``, which tells the training images from others, and compares it.

    Of a search, ``SplitRecordHook`` does so in ``split.json``.
    """

    file = 'images.json'
    recorded = 'images'
    unchecked = 'the training images are those that it began with'

    def record(self, dataset: Any) -> dict[str, Any] | None:
        """See the base class."""
        if hasattr(dataset, 'split_record'):
            return None
        try:
            return image_record(dataset)
        except UserError:  # a data set of one's own, which tells nothing of its images
            return None

    def difference(self, path: Path, before: Any, record: dict[str, Any]) -> str | None:
        """See the base class."""
        changed = difference(before, record)
        if changed is None:
            return None
        return (
            f'the training images are not those that this training began with ({path}): {changed}; '
            'put them back as they were, or begin anew with another --work-dir; to go on with '
            f'these all the same: rm {shown_path(path)}'
        )
