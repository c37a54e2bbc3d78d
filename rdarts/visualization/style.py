"""What all pictures share: colours, formats, and the same bytes from the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rdarts.errors import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ('.svg', '.png', '.pdf')
NO_DATE = {'.svg': {'Date': None}, '.pdf': {'CreationDate': None}}
VALUE_BINS = 30  # of the histogram of the values that a search saw

# Okabe and Ito's colours, which colour-blind people tell apart; line styles and markers do in grey
LINES = (
    dict(color='#0072B2', linestyle='-', marker='o'),
    dict(color='#D55E00', linestyle=(0, (3.7, 1.6)), marker='s'),
    dict(color='#009E73', linestyle=(0, (1, 1.65)), marker='^'),
    dict(color='#CC79A7', linestyle=(0, (6.4, 1.6, 1, 1.6)), marker='D'),
    dict(color='#000000', linestyle=(0, (5, 1)), marker='v'),
    dict(color='#E69F00', linestyle=(0, (3, 1, 1, 1)), marker='P'),
    dict(color='#7A6A00', linestyle=(0, (6, 2, 1, 2, 1, 2)), marker='*'),
    dict(color='#56B4E9', linestyle=(0, (1, 1)), marker='X'),
)


def line_style(number: int) -> dict:
    """Colour, line style and marker of the n-th line."""
    shift = number // len(LINES)  # beyond those there are, with other markers
    return dict(LINES[number % len(LINES)], marker=LINES[(number + shift) % len(LINES)]['marker'])


def svg_dash(style: str | tuple, width: float) -> str:
    """A line style of matplotlib as SVG's ``stroke-dasharray``.

    Args:
        style (str | tuple): ``'-'``, or ``(0, pattern)`` in widths of the line.
        width (float): Of the line, in the drawing's unit.
    """
    return 'none' if style == '-' else ' '.join(f'{width * part:.3g}' for part in style[1])


def picture_suffix(path: str | os.PathLike) -> str:
    """The ending of a picture's path, ``.svg``, ``.png`` or ``.pdf``.

    Raises:
        UserError: It is another.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        given = f"not '{suffix}': {nearest(suffix, FORMATS)}" if suffix else 'but it has none'
        raise UserError(f'{path}: a picture ends in .svg, .png or .pdf, {given}')
    return suffix


@contextmanager
def plain_style() -> Iterator[None]:
    """Within, a user's matplotlibrc does not change the pictures."""
    import matplotlib  # slow to import

    settings = {k: v for k, v in matplotlib.rcParamsDefault.items() if k != 'backend'}
    settings.update({'svg.fonttype': 'none', 'svg.hashsalt': 'rdarts'})
    settings.update({'font.family': 'DejaVu Sans', 'text.parse_math': False})
    with matplotlib.rc_context(settings):
        yield


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int) -> None:
    """Write a picture without the date.

    Raises:
        UserError: The ending is no picture's, or it cannot be written.
    """
    suffix = picture_suffix(path)
    try:
        figure.savefig(path, dpi=dpi, metadata=NO_DATE.get(suffix), format=suffix[1:])
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None
