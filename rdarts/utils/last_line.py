"""The last line of what a program said: there most say what was wrong."""

from __future__ import annotations


def last_line(said: object, otherwise: str = '') -> str:
    """The last line with anything in it.

    Args:
        said (object): A text, or an error, whose text it is.
        otherwise (str): What it is where there is none. Defaults to nothing.
    """
    lines = (line.strip() for line in reversed(str(said).splitlines()))
    return next(filter(None, lines), otherwise)
