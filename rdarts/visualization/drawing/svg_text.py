"""A genotype's picture as the text of an SVG, without matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from rdarts.visualization.drawing.page import Edge, Page
from rdarts.visualization.drawing.svg import LOOK, page_as_data, place_of

INCH = 96  # pixels
FONT_FAMILY = 'DejaVu Sans, Verdana, Helvetica, sans-serif'
BASELINE = 0.36  # of the font's size, below the middle of a line


def svg_text(page: Page) -> str:
    """A page as an SVG of its own, in the size that matplotlib draws it in.

    Args:
        page (Page): See :func:`~rdarts.visualization.drawing.layout.lay_out`.
    """
    return framed(drawn(page), page.width, page.height)


def framed(content: str, width: float, height: float) -> str:
    """Elements within an SVG on white.

    Args:
        content (str): Elements, in inches from the upper left corner.
        width (float): Inches.
        height (float): Inches.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * INCH:.0f}" '
        f'height="{height * INCH:.0f}" viewBox="0 0 {width:.3f} {height:.3f}" '
        f'font-family="{FONT_FAMILY}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{content}</svg>\n'
    )


def drawn(page: Page, weights: Mapping[Edge, float] | None = None) -> str:
    """The elements of a page, in inches.

    Args:
        page (Page): The page.
        weights (Mapping, optional): What is written beside the operations of edges, of a page that
            is laid out for weights. Defaults to nothing.
    """
    data = page_as_data(page)
    beside = {place_of(edge): f' {weight:.2f}' for edge, weight in (weights or {}).items()}
    parts = []
    for curve, head, colour, dash, *_ in data['lines']:
        parts.append(
            f'<path d="{curve}" fill="none" stroke="{colour}" '
            f'stroke-width="{LOOK["line"]:.4f}" stroke-dasharray="{dash}"/>'
            f'<path d="{head}" fill="{colour}"/>'
        )
    for x, y, width, text, line, fill, ink, *place in data['labels']:
        high = LOOK['pill_height']
        parts.append(_box(x, y, width, high, high / 2, fill, line, LOOK['pill_line']))
        text += beside.get(place[0], '') if place else ''
        parts.append(words(x, y, text, colour=ink))
    for x, y, width, text, outer, empty in data['boxes']:
        fill = LOOK['outer_fill' if outer else 'node_fill']
        dash = LOOK['empty_dash'] if empty else 'none'
        size = (width, LOOK['node_height'], LOOK['rounding'])
        parts.append(_box(x, y, *size, fill, LOOK['ink'], LOOK['node_line'], dash))
        parts.append(words(x, y, text))
    for x, y, text, size, colour, bold in data['texts']:
        parts.append(words(x, y, text, size, colour, 'start', bold))
    for x, y, colour, dash in data['samples']:
        parts.append(
            f'<path d="M{x},{y}h{LOOK["sample"]}" stroke="{colour}" '
            f'stroke-width="{LOOK["line"]:.4f}" stroke-dasharray="{dash}"/>'
        )
    return ''.join(parts)


def words(
    x: float,
    y: float,
    text: str,
    size: float = LOOK['font'],
    colour: str = LOOK['ink'],
    anchor: str = 'middle',
    bold: bool = False,
) -> str:
    """A line of text around a point.

    Args:
        x (float): Inches.
        y (float): Inches, of the middle of the line.
        text (str): The text.
        size (float): Points. Defaults to the drawing's.
        colour (str): Defaults to the drawing's.
        anchor (str): What of the text is at ``x``: its ``start``, ``middle`` or ``end``. Defaults
            to ``'middle'``.
        bold (bool): Defaults to False.
    """
    weight = ' font-weight="bold"' if bold else ''
    return (
        f'<text x="{x:.3f}" y="{y + BASELINE * size / 72:.3f}" font-size="{size / 72:.4f}" '
        f'fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
    )


def _box(
    x: float,
    y: float,
    width: float,
    height: float,
    rounding: float,
    fill: str,
    line: str,
    line_width: float,
    dash: str = 'none',
) -> str:
    return (
        f'<rect x="{x - width / 2:.3f}" y="{y - height / 2:.3f}" width="{width:.3f}" '
        f'height="{height:.3f}" rx="{rounding:.3f}" fill="{fill}" stroke="{line}" '
        f'stroke-width="{line_width:.4f}" stroke-dasharray="{dash}"/>'
    )
