"""How far a run of :mod:`rdarts.auto` is: one JSON file in its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.utils.commands import shown_path
from rdarts.utils.files import read_text, write_atomically

FILE = 'auto.json'
FORMAT = 1
MAX_BYTES = 2**26
HIDDEN = ('.lock',)


class State:
    """What a folder's run was started with, what it decided, and which of its steps have ended.

    Args:
        folder (Path): The folder.
        data (dict): What the file holds.
    """

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder, self.data = folder, data
        self._running: float | None = None  # the clock when the step that works began

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> State:
        """Go on with the run of a folder, or begin one.

        Args:
            folder (Path): The folder, which is this run's alone.
            settings (dict): What the run was asked for, as JSON data.

        Raises:
            UserError: The folder holds another run, or anything else.
        """
        path = folder / FILE
        try:
            data = json.loads(read_text(path, MAX_BYTES))
        except FileNotFoundError:
            held = sorted(entry.name for entry in folder.iterdir() if entry.name not in HIDDEN)
            if held:
                raise UserError(
                    f'{shown_path(folder)} holds something else ({held[0]}) and no {FILE}: '
                    'give another folder by --out'
                ) from None
            state = cls(folder, dict(format=FORMAT, settings=dict(settings), steps={}))
            state.save()
            return state
        except ValueError:
            data = None
        if not isinstance(data, dict) or data.get('format') != FORMAT:
            raise UserError(
                f'{shown_path(path)} is damaged, or of another version: give another --out'
            )
        before = data['settings']
        for key in settings:
            if before.get(key) != settings[key]:
                raise UserError(
                    f'{shown_path(folder)} holds another run, of {key} {before.get(key)} and not '
                    f'{settings[key]}: go on with its own command, or give another --out'
                )
        return cls(folder, data)

    def save(self) -> None:
        """Write the file.

        Raises:
            UserError: It cannot be written.
        """
        path = self.folder / FILE
        try:
            write_atomically(path, (json.dumps(self.data, indent=1) + '\n').encode())
        except OSError as error:
            raise UserError(f'{path} cannot be written: {error.strerror}') from None

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def keep(self, name: str, value: Any) -> Any:
        """Keep what a step found, as JSON data; gives it back."""
        self.data[name] = value
        self.save()
        return value

    def ended(self, step: str) -> bool:
        """Whether a step has ended."""
        return bool(self.data['steps'].get(step, {}).get('ended'))

    def seconds(self, step: str | None = None) -> float:
        """What a step has taken, or all of them together, in all sessions."""
        steps = self.data['steps']
        chosen = steps.values() if step is None else [steps.get(step, {})]
        return sum(one.get('seconds', 0.0) for one in chosen)

    def spent(self) -> float:
        """What all steps have taken, with what has passed of the one that works."""
        running = 0.0 if self._running is None else time.monotonic() - self._running
        return self.seconds() + running

    @contextmanager
    def step(self, name: str, folder: Path | None = None) -> Iterator[None]:
        """Within, a step works; its seconds count, whether it ends or is interrupted.

        Of a session that was killed, what its work directory's newest file tells is counted.

        Args:
            name (str): Of the step.
            folder (Path, optional): Its work directory.
        """
        entry = self.data['steps'].setdefault(name, dict(seconds=0.0, ended=False))
        began = entry.pop('began', None)
        if began is not None and folder is not None and folder.is_dir():
            newest = max((one.stat().st_mtime for one in folder.iterdir()), default=began)
            entry['seconds'] += max(0.0, newest - began)
        entry['began'] = time.time()
        self.save()
        clock = self._running = time.monotonic()
        try:
            yield
            entry['ended'] = True
        finally:
            self._running = None
            entry['seconds'] += time.monotonic() - clock
            entry.pop('began', None)
            self.save()
