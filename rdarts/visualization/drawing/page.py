"""What is on a page that shows a genotype, in inches, whoever draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

# Line and fill, text in it, line style. The two kinds differ in brightness and in line style
# too, so they are told apart in grey.
CONVOLUTION = dict(line='#0072B2', fill='#0072B2', text='#FFFFFF', style='-')
PARAMETER_FREE = dict(line='#C77D00', fill='#FFF4DC', text='#000000', style=(0, (3.2, 1.6)))
ABSENT = dict(line='#999999', fill='#FFFFFF', text='#666666', style=(0, (1, 2)))
EMPTY_STYLE = (0, (2.4, 1.8))  # of the line around a node that is zero
INK, NODE_FILL, OUTER_FILL = '#222222', '#FFFFFF', '#E4E4E4'

# Inches, points for the font
FONT = 9.0
NODE_HEIGHT = 0.36
PILL_HEIGHT = 0.22
CORNER = 0.1
HEAD = 0.11
HEAD_WIDTH = 0.092
ROUNDING = 0.07  # of a node
SAMPLE = 0.4  # a line of the legend
LINE, NODE_LINE, PILL_LINE = 1.7, 1.2, 1.1  # widths of lines, points

Point = tuple[float, float]  # inches
Edge = tuple[str, int, int]  # cell type, source, target
WEIGHT = ' 0.00'  # as wide as the weight of any edge


@dataclass
class Box:
    x: float
    y: float
    width: float
    text: str
    outer: bool = False  # an input or the output
    empty: bool = False  # nothing leads to it: it is zero
    gid: str = ''


@dataclass
class Line:
    points: list[Point]
    look: Mapping[str, Any]
    gid: str = ''
    edge: Edge | None = None  # whose weight is shown


@dataclass
class Label:
    x: float
    y: float
    text: str
    look: Mapping[str, Any]
    edge: Edge | None = None  # whose weight is written beside the text

    @property
    def width(self) -> float:
        return pill_width(self.text + (WEIGHT if self.edge else ''))


@dataclass
class Panel:
    title: str
    lines: list[Line] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    note: str = ''

    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        xs, ys = [], []
        for line in self.lines:
            xs += [x for x, _ in line.points]
            ys += [y for _, y in line.points]
        for box in self.boxes:
            xs += [box.x - box.width / 2, box.x + box.width / 2]
            ys += [box.y - NODE_HEIGHT / 2, box.y + NODE_HEIGHT / 2]
        for label in self.labels:
            half = label.width / 2
            xs += [label.x - half, label.x + half]
            ys += [label.y - PILL_HEIGHT / 2, label.y + PILL_HEIGHT / 2]
        return min(xs), max(xs), min(ys), max(ys)


@dataclass(frozen=True)
class Text:
    x: float  # of its left end
    y: float
    text: str
    size: float
    color: str
    bold: bool = False


@dataclass
class Page:
    """A picture in inches, from the lower left corner.

    Args:
        width (float): Width.
        height (float): Height.
        panels (list): Cells, each with where its origin lies.
        texts (list): Titles, notes, names of the legend.
        samples (list): Lines of the legend: where they begin, and their look.
    """

    width: float
    height: float
    panels: list[tuple[Panel, float, float]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    samples: list[tuple[float, float, Mapping[str, Any]]] = field(default_factory=list)


@lru_cache(maxsize=1024)
def text_width(text: str, size: float = FONT) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family='DejaVu Sans', size=size)  # matplotlib brings it along
    return TextPath((0, 0), text.replace('$', 'S'), prop=font).get_extents().width / 72


def pill_width(text: str) -> float:
    return round(text_width(text) + 0.16, 4)


@dataclass(frozen=True)
class Arrow:
    """A path with rounded corners, and its head as a shape of its own, never dashed.

    Args:
        start (Point): Where it begins.
        bends (list): Of every corner, where its rounding begins, the corner, and where it ends.
        neck (Point): Where the line ends and the head begins.
        head (list): The head's three corners, its tip first.
    """

    start: Point
    bends: list[tuple[Point, Point, Point]]
    neck: Point
    head: list[Point]


def arrow(points: Sequence[Point]) -> Arrow:
    """The shape of a line through points, every piece of it horizontal or vertical."""
    (ax, ay), (bx, by) = points[-2:]
    distance = max(abs(bx - ax), abs(by - ay))
    ux, uy = (bx - ax) / distance, (by - ay) / distance
    neck = bx - ux * HEAD, by - uy * HEAD
    path = [*points[:-1], neck]
    bends = [
        (_toward(corner, before), corner, _toward(corner, after))
        for before, corner, after in zip(path, path[1:], path[2:], strict=False)
    ]
    wide = HEAD_WIDTH / 2
    sides = [(neck[0] - uy * w, neck[1] + ux * w) for w in (wide, -wide)]
    return Arrow(path[0], bends, neck, [(bx, by), *sides])


def _toward(corner: Point, other: Point) -> Point:
    """The point where the rounding of a corner begins."""
    distance = max(abs(other[0] - corner[0]), abs(other[1] - corner[1]))
    share = min(CORNER, distance / 2) / distance if distance else 0.0
    return (
        corner[0] + (other[0] - corner[0]) * share,
        corner[1] + (other[1] - corner[1]) * share,
    )
