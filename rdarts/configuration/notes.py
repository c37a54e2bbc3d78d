"""What was filled in while a config was read, for the first lines of a run and ``--dry-run``."""

from __future__ import annotations

from typing import Any

_NAME = '_notes'


def add_note(cfg: Any, note: str) -> None:
    """Remember what was filled in.

    Args:
        cfg (Config): The config; the note is none of its entries.
        note (str): A few words, without a stop.
    """
    object.__setattr__(cfg, _NAME, [*notes_of(cfg), note])


def notes_of(cfg: Any) -> list[str]:
    """See :func:`add_note`."""
    return list(vars(cfg).get(_NAME, ()))


def note_lines(cfg: Any, width: int = 84) -> list[tuple[str, str]]:
    """The notes of a config as named lines; the first alone has the name.

    Args:
        cfg (Config): The config.
        width (int): Characters of a line of more than one note. Defaults to 84.
    """
    lines: list[str] = []
    for note in notes_of(cfg):
        if lines and len(lines[-1]) + len(note) + 2 <= width:
            lines[-1] += f'; {note}'
        else:
            lines.append(note)
    return [('' if number else 'filled in', line) for number, line in enumerate(lines)]
