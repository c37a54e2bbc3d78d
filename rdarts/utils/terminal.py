"""What a run shows of itself, beside the files of its log: nothing, lines, or lines over a bar."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from rdarts.utils.ranks import is_main_rank

PAUSE = 0.1  # seconds between two drawings of a bar
_output = dict(quiet=False, bar=False)


def set_output(quiet: bool = False, bar: bool = False) -> None:
    """What runs of this process show from now on.

    Args:
        quiet (bool): Whether warnings, errors and results alone are shown. Defaults to False.
        bar (bool): Whether a bar shows how far they are, on a terminal. Defaults to False.
    """
    _output.update(quiet=quiet, bar=bar and not quiet)


def is_quiet() -> bool:
    """Whether runs show warnings, errors and results alone."""
    return _output['quiet']


def has_bar() -> bool:
    """Whether runs show a bar: this process is the first of its launch, on a terminal."""
    able = os.environ.get('TERM') != 'dumb' and sys.stderr is not None and sys.stderr.isatty()
    return _output['bar'] and able and is_main_rank()


class Bar:
    """A line at the bottom of the terminal that says how far something is.

    What is logged or printed meanwhile goes above it. It draws itself in the calls of :meth:`show`
    alone, without a thread of its own: a process that forks meanwhile inherits no lock.

    Args:
        loggers (Iterable[Logger]): Whose lines on this terminal go above the bar.
    """

    def __init__(self, loggers: Iterable[logging.Logger]) -> None:
        from rich.console import Console
        from rich.file_proxy import FileProxy
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn('{task.fields[note]}', markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task('', total=None, note='')
        self._streams: list[tuple[logging.StreamHandler, Any]] = []
        for logger in loggers:
            for handler in logger.handlers:
                stream = getattr(handler, 'stream', None)
                if stream in (sys.stdout, sys.stderr) and stream.isatty():
                    self._streams.append((handler, stream))
                    handler.setStream(FileProxy(console, stream))
        self._drawn = float('-inf')

    def show(self, what: str, done: int, total: int | None, note: str = '') -> None:
        """Say how far it is; drawn at most ten times a second.

        Args:
            what (str): What it is at.
            done (int): How much is done.
            total (int, optional): Of how much; None where that is not known.
            note (str): What stands behind the bar. Defaults to nothing.
        """
        now = time.monotonic()
        if now - self._drawn < PAUSE and done != total:
            return
        self._drawn = now
        self._progress.update(self._task, description=what, completed=done, total=total, note=note)
        self._progress.start()
        self._progress.console.show_cursor(True)  # a process that is killed would leave it hidden
        self._progress.refresh()

    def close(self) -> None:
        """Leave the terminal as if there had been no bar."""
        self._progress.stop()
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams = []
