"""The two ways in which a run ends early, told apart by the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import ModuleType


class UserError(ValueError):
    """A user's mistake: one line that says what is wrong, where, and what would be right.

    The tools print the line and exit with code 2.
    """


class SampleError(UserError):
    """A sample that cannot be loaded: only the process that met it can say which it is."""


class RunFailed(RuntimeError):
    """A run that cannot go on although its input was right, such as a loss that became NaN.

    The tools print the line and exit with code 1.
    """


class Interrupted(Exception):
    """A run that a signal stopped after it had saved a checkpoint.

    Args:
        message (str): One line that says how to go on.
        signum (int): The signal; the tools exit with 128 + ``signum``.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.code = 128 + signum


def is_defect(error: BaseException) -> bool:
    """Whether an error that damaged data may have caused is a defect of the program instead.

    It is where a module lacks what it was asked for, or where it was raised in a function of this
    package that the catching one has called: damaged data makes a reader fail within the reader.

    Args:
        error (BaseException): An error that was caught, in the function that caught it.
    """
    if isinstance(error, (ImportError, NameError)):
        return True
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return True
    trace = error.__traceback__
    if trace is None or trace.tb_next is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get('__name__', '')).partition('.')[0] == 'rdarts'


def likeness(first: str, second: str) -> float:
    """How alike two names are, from 0 to 1."""
    return difflib.SequenceMatcher(None, first, second).ratio()


def closest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The name that another may have meant; None where none is near.

    Args:
        name (str): The name that is not known.
        known (Iterable[str]): The names that are.
        least (float): The least :func:`likeness`. Defaults to 0.6.
    """
    close = difflib.get_close_matches(name, sorted(set(known)), n=5, cutoff=least)
    # of names that are as near, the one as long as what was written
    return max(
        close, key=lambda one: (likeness(one, name), -abs(len(one) - len(name))), default=None
    )


def nearest(name: str, known: Iterable[str], most: int = 24) -> str:
    """A hint that names what ``name`` may have meant.

    Args:
        name (str): The name that is not known.
        known (Iterable[str]): The names that are. A prefix ``rdarts.`` counts on neither side.
        most (int): How many are listed. Defaults to 24.

    Returns:
        str: ``did you mean 'x'?``, or the list of known names where none is near.
    """
    known = sorted(set(known))
    bare = {one.removeprefix('rdarts.'): one for one in reversed(known)}
    for part in (name.removeprefix('rdarts.'), name.rpartition('.')[2]):  # or of another package
        close = closest(part, bare, 0.5)
        if close is not None:
            return f"did you mean '{bare[close]}'?"
    more = f' and {len(known) - most} more' if len(known) > most else ''
    return f'known: {", ".join(known[:most])}{more}'
