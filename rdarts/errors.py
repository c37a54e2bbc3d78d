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


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names what ``name`` may have meant.

    Args:
        name (str): The name that is not known.
        known (Iterable[str]): The names that are.

    Returns:
        str: ``did you mean 'x'?``, or the list of known names where none is near.
    """
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        # of names that are as near, the one as long as what was written
        ratios = [difflib.SequenceMatcher(None, other, name).ratio() for other in close]
        places = range(len(close))
        best = max(places, key=lambda i: (ratios[i], -abs(len(close[i]) - len(name)), -i))
        return f"did you mean '{close[best]}'?"
    return 'known: ' + ', '.join(known)
