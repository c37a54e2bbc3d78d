"""Draws a genotype into a file: SVG, PNG or PDF, by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, is_text
from rdarts.visualization.drawing.layout import lay_out, load_drawable
from rdarts.visualization.drawing.page import (
    EMPTY_STYLE,
    FONT,
    INK,
    LINE,
    NODE_FILL,
    NODE_HEIGHT,
    NODE_LINE,
    OUTER_FILL,
    PILL_HEIGHT,
    PILL_LINE,
    ROUNDING,
    SAMPLE,
    Label,
    Line,
    Page,
    Panel,
    arrow,
)
from rdarts.visualization.style import picture_suffix, plain_style, save_figure

if TYPE_CHECKING:
    from rdarts.search_spaces import SearchSpace

DPI = 150
MAX_PIXELS = 2**16 - 1  # of a side of a PNG, matplotlib's limit


def draw_files(source: str, out: str | os.PathLike | None = None) -> Iterator[Path]:
    """Draw what names a genotype.

    Args:
        source (str): See :func:`~rdarts.genotypes.load_genotype`.
        out (str | PathLike, optional): The picture. Defaults to ``genotype.svg`` and
            ``genotype.png`` in a work directory, beside a file under its name, or, of a text, in
            the working directory.

    Yields:
        Path: A picture that was written.

    Raises:
        UserError: The genotype cannot be read; see also :func:`draw_genotype`.
    """
    genotype = load_drawable(source)
    if out:
        paths = [Path(out)]
    else:
        stem = Path('genotype')
        if not is_text(source):
            stem = Path(source)
            stem = stem / 'genotype' if stem.is_dir() else stem
        paths = [stem.with_suffix(suffix) for suffix in ('.svg', '.png')]
    for path in paths:
        draw_genotype(genotype, path)
        yield path


def draw_genotype(
    genotype: Genotype,
    path: str | os.PathLike,
    space: SearchSpace | None = None,
) -> None:
    """Draw every cell of a genotype, or its layers.

    Convolutions are blue and solid, parameter-free operations orange and dashed; edges with
    ``none`` are left out and named below. The same genotype gives the same bytes.

    Args:
        genotype (Genotype): What to draw.
        path (str | PathLike): The picture; its ending, ``.svg``, ``.png`` or ``.pdf``, says the
            format.
        space (SearchSpace, optional): Its space, which says how many inputs a cell has and which
            operations are parameter-free. Defaults to the registered one of its name, or else
            to what the genotype itself tells.

    Raises:
        UserError: The ending is another, the file cannot be written, or an edge does not lead
            from an earlier node to a later one.
    """
    path = Path(path)
    suffix = picture_suffix(path)
    page = lay_out(genotype, space)
    if suffix == '.png' and max(page.width, page.height) * DPI > MAX_PIXELS:
        raise UserError(f'{path}: the genotype is too large for a .png; draw it as .svg or .pdf')
    _render(page, path)


def _render(page: Page, path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import

    with plain_style():
        figure = Figure(figsize=(page.width, page.height), facecolor='white')
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, page.width)
        axes.set_ylim(0, page.height)
        for text in page.texts:
            axes.text(
                text.x, text.y, text.text, size=text.size, color=text.color,
                weight='bold' if text.bold else 'normal', va='center_baseline',
            )  # fmt: skip
        for panel, dx, dy in page.panels:
            _draw_panel(axes, panel, dx, dy)
        for x, y, look in page.samples:
            axes.plot(
                [x, x + SAMPLE], [y, y], color=look['line'], linewidth=LINE,
                linestyle=look['style'], dash_capstyle='butt',
            )  # fmt: skip
        save_figure(figure, path, DPI)


def _draw_panel(axes: Any, panel: Panel, dx: float, dy: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    for line in panel.lines:
        _draw_line(axes, line, dx, dy)
    for label in panel.labels:
        _draw_pill(axes, label, dx, dy)
    for box in panel.boxes:
        axes.add_patch(
            FancyBboxPatch(
                (box.x + dx - box.width / 2, box.y + dy - NODE_HEIGHT / 2), box.width, NODE_HEIGHT,
                boxstyle=f'round,pad=0,rounding_size={ROUNDING}', linewidth=NODE_LINE,
                linestyle=EMPTY_STYLE if box.empty else '-', edgecolor=INK,
                facecolor=OUTER_FILL if box.outer else NODE_FILL, zorder=4, gid=box.gid,
            )
        )  # fmt: skip
        axes.text(
            box.x + dx, box.y + dy, box.text,
            size=FONT, color=INK, ha='center', va='center_baseline', zorder=5,
        )  # fmt: skip


def _draw_pill(axes: Any, label: Label, dx: float, dy: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, look = label.x + dx, label.y + dy, label.width, label.look
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - PILL_HEIGHT / 2), width, PILL_HEIGHT,
            boxstyle=f'round,pad=0,rounding_size={PILL_HEIGHT / 2}', linewidth=PILL_LINE,
            edgecolor=look['line'], facecolor=look['fill'], zorder=3,
        )
    )  # fmt: skip
    axes.text(
        x,
        y,
        label.text,
        size=FONT,
        color=look['text'],
        ha='center',
        va='center_baseline',
        zorder=3.5,
    )


def _draw_line(axes: Any, line: Line, dx: float, dy: float) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve

    shape = arrow([(x + dx, y + dy) for x, y in line.points])
    vertices, codes = [shape.start], [Curve.MOVETO]
    for bend in shape.bends:
        vertices += bend
        codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
    vertices.append(shape.neck)
    codes.append(Curve.LINETO)
    axes.add_patch(
        PathPatch(
            Curve(vertices, codes), facecolor='none', edgecolor=line.look['line'], linewidth=LINE,
            linestyle=line.look['style'], capstyle='butt', zorder=1, gid=line.gid,
        )
    )  # fmt: skip
    axes.add_patch(Polygon(shape.head, facecolor=line.look['line'], linewidth=0, zorder=2))
