"""A genotype's picture as the data that the report's page draws as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    Edge,
    Page,
    Point,
    arrow,
)
from rdarts.visualization.style import svg_dash

LOOK = dict(  # inches, the font in points
    font=FONT,
    ink=INK,
    node_fill=NODE_FILL,
    outer_fill=OUTER_FILL,
    node_height=NODE_HEIGHT,
    node_line=NODE_LINE / 72,
    empty_dash=svg_dash(EMPTY_STYLE, NODE_LINE / 72),
    rounding=ROUNDING,
    pill_height=PILL_HEIGHT,
    pill_line=PILL_LINE / 72,
    line=LINE / 72,
    sample=SAMPLE,
)


def page_as_data(page: Page) -> dict[str, Any]:
    """A page as plain data: inches from the upper left corner; lines as paths of SVG."""

    def at(x: float, y: float) -> list[float]:
        return [round(x, 3), round(page.height - y, 3)]

    def path(start: str, *points: Point) -> str:
        return start + ' '.join(','.join(map(str, at(*point))) for point in points)

    lines, boxes, labels = [], [], []
    for panel, dx, dy in page.panels:
        for line in panel.lines:
            shape = arrow([(x + dx, y + dy) for x, y in line.points])
            bends = [path('L', a) + path('Q', corner, b) for a, corner, b in shape.bends]
            curve = path('M', shape.start) + ''.join(bends) + path('L', shape.neck)
            head = path('M', *shape.head) + 'Z'
            lines.append([curve, head, *_stroke(line.look), *_place(line.edge)])
        for label in panel.labels:
            look = label.look
            labels.append([*at(label.x + dx, label.y + dy), label.width, label.text,
                           look['line'], look['fill'], look['text'],
                           *_place(label.edge)])  # fmt: skip
        for box in panel.boxes:
            boxes.append([*at(box.x + dx, box.y + dy), round(box.width, 3), box.text, box.outer,
                          box.empty])  # fmt: skip
    texts = [[*at(t.x, t.y), t.text, t.size, t.color, t.bold] for t in page.texts]
    samples = [[*at(x, y), *_stroke(look)] for x, y, look in page.samples]
    return dict(width=round(page.width, 3), height=round(page.height, 3), lines=lines, boxes=boxes,
                labels=labels, texts=texts, samples=samples)  # fmt: skip


def place_of(edge: Edge) -> tuple[str, str]:
    """Where the page finds the weight of an edge: its cell type and its name in the table."""
    return edge[0], f'{edge[1]} → {edge[2]}'


def _place(edge: Edge | None) -> list[tuple[str, str]]:
    return [] if edge is None else [place_of(edge)]


def _stroke(look: Mapping[str, Any]) -> list[str]:
    """Colour and dashes of a line in a drawing."""
    return [look['line'], svg_dash(look['style'], LOOK['line'])]
