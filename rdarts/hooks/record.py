"""What a training began with, to be compared where it is resumed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from rdarts.errors import UserError
from rdarts.utils.files import write_atomically

# what a file that somebody changed may lead to
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


class RecordHook(Hook, ABC):
    """Writes what tells a training's images from others, and compares it where the run is resumed.

    A subclass says what is recorded, by :meth:`record`, and why a run cannot go on with another
    record, by :meth:`difference`.
    """

    priority = 'VERY_HIGH'  # before anything of the run is written
    file: str
    recorded: str  # what the file is the record of
    unchecked: str  # what cannot be checked where the file is missing

    @abstractmethod
    def record(self, dataset: Any) -> dict[str, Any] | None:
        """What the file holds of the training images; None where that is another hook's matter."""

    @abstractmethod
    def difference(self, path: Path, before: Any, record: dict[str, Any]) -> str | None:
        """Why a training that wrote a file does not go on with these images; None where it does.

        Args:
            path (Path): The file.
            before (Any): What it holds; whatever it lacks may raise.
            record (dict): That of now.
        """

    def before_train(self, runner) -> None:
        """See mmengine.

        Raises:
            UserError: The run is resumed with others; the line says what changed.
        """
        wrong: list[str | None] = [None]
        if is_main_process():
            wrong[0] = self._compare_and_write(runner)
        broadcast_object_list(wrong)  # the ranks stop together
        if wrong[0] is not None:
            raise UserError(wrong[0])

    def _compare_and_write(self, runner) -> str | None:
        record = self.record(runner.train_dataloader.dataset)
        if record is None:
            return None
        text = json.dumps(record)
        path = Path(runner.work_dir, self.file)
        if getattr(runner, '_resume', False):
            places = [path, Path(getattr(runner, '_load_from', None) or path).parent / self.file]
            place = next((place for place in places if place.is_file()), None)
            if place is None:
                runner.logger.warning(
                    f'no {self.file} in {path.parent}: whether {self.unchecked} cannot be checked'
                )
            else:
                try:
                    before = json.loads(place.read_text(encoding='utf-8'))
                    wrong = self.difference(place, before, json.loads(text))  # as a file has it
                except DAMAGED:
                    wrong = (
                        f'{place}: not the record of {self.recorded}; without the file, nothing '
                        'is compared'
                    )
                if wrong is not None:
                    return wrong
        write_atomically(path, (text + '\n').encode())
        return None
