"""Where everything of a genotype's picture is: nodes from left to right, one arrow an edge.

Straight edges run along the row of nodes. Every other edge has a horizontal lane above or below
the row, and its label sits between two columns, where no vertical line runs: so labels never
overlap, whatever the cell.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, Graph, is_text, read_genotype
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.search_spaces.base import PARAMETER_FREE as FREE_BY_DEFAULT
from rdarts.visualization.drawing.page import (
    ABSENT,
    CONVOLUTION,
    HEAD,
    INK,
    NODE_HEIGHT,
    PARAMETER_FREE,
    SAMPLE,
    WEIGHT,
    Box,
    Label,
    Line,
    Page,
    Panel,
    Text,
    pill_width,
    text_width,
)

# Inches
PORT = 0.13  # between two lines that meet a node on one side
LANE = 0.34
MARGIN = 0.14
ROW_WIDTH = 9.0  # more layers go on in the next row


@dataclass(frozen=True)
class _Edge:
    source: int
    target: int
    operation: str
    lane: int = 0  # 0: along the row; above it positive, below negative
    gap: int = 0  # the label is between this column and the next


@dataclass
class _Graph:
    """What is drawn of one cell."""

    name: str
    num_inputs: int
    num_nodes: int
    edges: list[_Edge]
    concat: tuple[int, ...]
    absent: list[tuple[int, int]] = field(default_factory=list)


def load_drawable(source: str | os.PathLike) -> Genotype:
    """Read the genotype of a work directory, a file, a string or a name, of any space.

    A genotype of a registered space is checked against it; one of a space of its own is taken
    as it is, since its table is not in the file.

    Args:
        source (str | PathLike): See :func:`~rdarts.genotypes.load_genotype`.

    Raises:
        UserError: It cannot be read, or does not fit its space.
    """
    genotype = read_genotype(source)
    space = _registered(genotype.space)
    try:
        return genotype if space is None else genotype.validate(space)
    except UserError as error:
        where = '' if is_text(str(source)) else f'{source}: '
        raise UserError(f'{where}{error}') from None


def lay_out(genotype: Genotype, space: SearchSpace | None = None, weighted: bool = False) -> Page:
    """Where everything of a genotype's picture is.

    Args:
        genotype (Genotype): What to draw.
        space (SearchSpace, optional): See :func:`draw_genotype`.
        weighted (bool): Whether the edges of cells are shown with their weights, for which their
            labels then have room. Defaults to False.

    Raises:
        UserError: An edge does not lead from an earlier node to a later one.
    """
    space = space or _registered(genotype.space)
    free = FREE_BY_DEFAULT if space is None else space.parameter_free
    graphs = genotype.graphs(space)
    titled = len(graphs) > 1
    return _paginate(
        [
            _rows(graph, free) if graph.in_rows else _cell(_plan(graph), free, titled, weighted)
            for graph in graphs
        ]
    )


def _registered(name: str) -> SearchSpace | None:
    SEARCH_SPACES.import_from_location()
    return build_space(name) if name in SEARCH_SPACES.module_dict else None


# From a genotype to graphs


def _plan(graph: Graph) -> _Graph:
    """What of a graph is drawn: edges with ``none`` are left out.

    Raises:
        UserError: An edge does not lead from an earlier node to a later one.
    """
    for source, target, _ in graph.edges:
        if not 0 <= source < target:
            raise UserError(
                f"genotype, cell '{graph.name}': edge {source} -> {target} does not lead "
                'from an earlier node to a later one'
            )
    absent = [(source, target) for source, target, name in graph.edges if name == 'none']
    kept = [_Edge(*edge) for edge in graph.edges if edge[2] != 'none']
    return _Graph(graph.name, graph.num_inputs, graph.num_nodes, kept, graph.output, absent)


def _look(operation: str, free: Iterable[str]) -> Mapping[str, Any]:
    if operation == 'none':
        return ABSENT
    return PARAMETER_FREE if operation in free else CONVOLUTION


def _lane_y(lane: int) -> float:
    """Height of a lane over the row of nodes."""
    if lane == 0:
        return 0.0
    distance = NODE_HEIGHT / 2 + LANE + (abs(lane) - 1) * LANE
    return distance if lane > 0 else -distance


def _lay_out(graph: _Graph) -> tuple[list[int], list[_Edge]]:
    """The column of every node, and the edges with their lanes and the gaps of their labels.

    Two inputs share the first column, one above and one below the row. Of several operations
    between two nodes, one runs along the row.
    """
    stacked = graph.num_inputs == 2
    columns = [max(0, node - 1) if stacked else node for node in range(graph.num_nodes)]
    taken: dict[int, list[tuple[int, int]]] = {}
    placed: list[_Edge] = []
    straight: set[int] = set()  # gaps that an edge runs along

    def span(edge: _Edge) -> tuple[int, int]:
        return columns[edge.source], columns[edge.target]

    def is_free(lane: int, start: int, end: int) -> bool:
        return all(end <= a or b <= start for a, b in taken.get(lane, ()))

    def length(edge: _Edge) -> tuple[int, int]:
        start, end = span(edge)
        return end - start, start

    for edge in sorted(graph.edges, key=length):
        start, end = span(edge)
        if end - start == 1 and start not in straight and not (stacked and edge.source < 2):
            straight.add(start)
            placed.append(replace(edge, gap=start))
            continue
        sides = (1, -1)
        if stacked and edge.source < 2:
            sides = (1,) if edge.source == 0 else (-1,)
        found = []
        for side in sides:
            lane = side
            while not is_free(lane, start, end):
                lane += side
            used = sum(len(spans) for other, spans in taken.items() if other * side > 0)
            found.append((abs(lane), used, lane))
        lane = min(found)[2]
        taken.setdefault(lane, []).append((start, end))
        placed.append(replace(edge, lane=lane, gap=start + (end - start - 1) // 2))
    return columns, sorted(placed, key=lambda edge: (edge.target, edge.source))


def _ports(graph: _Graph, edges: list[_Edge], bus: bool) -> dict[tuple[_Edge, str], float]:
    """Where each lane leaves and enters: its distance from the centre of the node.

    Lanes enter on the left and leave on the right, and the farther the lane, the nearer to the
    centre, so that no two lines of a node cross. Where none enters, or none leaves, they are
    centred.
    """
    ports = {}
    for node in range(graph.num_nodes):
        for side in (1, -1):
            meeting = {
                end: [e for e in edges if e.lane * side > 0 and getattr(e, end) == node]
                for end in ('source', 'target')
            }
            if graph.num_inputs == 2 and node < 2:
                # the nearest lane is at the node's own height and leaves sideways
                meeting['source'] = [e for e in meeting['source'] if abs(e.lane) > 1]
            through = bus and side < 0 and node in graph.concat
            for end, sign in (('source', 1), ('target', -1)):
                ranked = sorted(meeting[end], key=lambda e: -abs(e.lane))
                shift = 0.5 if through else 0.0
                if not through and len(ranked) == len(meeting['source'] + meeting['target']):
                    shift = -len(ranked) / 2
                for rank, edge in enumerate(ranked):
                    ports[edge, end] = sign * (rank + 0.5 + shift) * PORT
    return ports


def _cell(graph: _Graph, free: Iterable[str], titled: bool, weighted: bool) -> Panel:
    columns, edges = _lay_out(graph)
    last = graph.num_nodes - 1
    bus = graph.concat != (last,)
    ports = _ports(graph, edges, bus)

    names = [str(node) for node in range(graph.num_nodes)]
    for node in range(graph.num_inputs):
        names[node] = f'in {node}'
    if not bus:
        names[last] = f'out {last}'
    widths = []
    for node, name in enumerate(names):
        reach = [abs(x) for (e, end), x in ports.items() if getattr(e, end) == node]
        widths.append(max(text_width(name) + 0.2, 2 * max(reach, default=0) + 0.16, 0.36))

    # columns as wide as their nodes, gaps as wide as their labels
    count = columns[-1] + 1
    nodes = range(len(columns))
    half = [max(widths[n] for n in nodes if columns[n] == c) / 2 for c in range(count)]
    gaps = [0.5] * (count - 1)
    for edge in edges:
        label = edge.operation + (WEIGHT if weighted else '')
        room = pill_width(label) + (0.42 if edge.lane == 0 else 0.2)
        gaps[edge.gap] = max(gaps[edge.gap], room)
    x = [half[0]]
    for c in range(1, count):
        x.append(x[-1] + half[c - 1] + gaps[c - 1] + half[c])
    y = [0.0] * graph.num_nodes
    if graph.num_inputs == 2:
        y[0], y[1] = _lane_y(1), _lane_y(-1)

    panel = Panel(f'{graph.name} cell' if titled else '')
    empty = set(range(graph.num_inputs, graph.num_nodes)) - {edge.target for edge in edges}
    for node, name in enumerate(names):
        outer = node < graph.num_inputs or (node == last and not bus)
        gid = f'{graph.name}-node-{node}'
        panel.boxes.append(
            Box(x[columns[node]], y[node], widths[node], name, outer, node in empty, gid)
        )
    gids = Counter()
    for edge in edges:
        look = _look(edge.operation, free)
        a, b = x[columns[edge.source]], x[columns[edge.target]]
        height = _lane_y(edge.lane)
        side = (edge.lane > 0) - (edge.lane < 0)
        if (edge, 'source') in ports:
            leave = a + ports[edge, 'source']
            points = [(leave, y[edge.source] + side * NODE_HEIGHT / 2), (leave, height)]
        else:
            points = [(a + widths[edge.source] / 2, y[edge.source])]
        if (edge, 'target') in ports:
            enter = b + ports[edge, 'target']
            points += [(enter, height), (enter, side * NODE_HEIGHT / 2)]
        else:
            points += [(b - widths[edge.target] / 2, 0.0)]
        gid = f'{graph.name}-edge-{edge.source}-{edge.target}'
        gids[gid] += 1  # of several operations between two nodes, each has an id
        place = (graph.name, edge.source, edge.target) if weighted else None
        numbered = gid if gids[gid] == 1 else f'{gid}-{gids[gid]}'
        panel.lines.append(Line(points, look, numbered, place))
        middle = x[edge.gap] + half[edge.gap] + gaps[edge.gap] / 2
        shift = -HEAD / 2 if edge.lane == 0 else 0.0
        panel.labels.append(Label(middle + shift, height, edge.operation, look, place))
    if bus:
        _add_bus(panel, graph, edges, columns, x)
    notes = {
        'none, not drawn': [f'{a} → {b}' for a, b in graph.absent],
        'zero, as nothing leads there': [str(node) for node in sorted(empty)],
    }
    panel.note = '; '.join(f'{what}: {", ".join(found)}' for what, found in notes.items() if found)
    return panel


def _add_bus(
    panel: Panel, graph: _Graph, edges: list[_Edge], columns: list[int], x: list[float]
) -> None:
    """The concatenation: a line below all lanes, which leads up into the output."""
    look = dict(line='#777777', fill='#FFFFFF', text=INK, style='-')
    lowest = min([edge.lane for edge in edges if edge.lane < 0], default=0)
    floor = _lane_y(lowest - 1)
    right = max(box.x + box.width / 2 for box in panel.boxes)
    width = text_width('out') + 0.2
    out = right + 0.4 + width / 2
    for node in graph.concat:
        start = (x[columns[node]], -NODE_HEIGHT / 2)
        points = [start, (start[0], floor), (out, floor), (out, -NODE_HEIGHT / 2)]
        panel.lines.insert(0, Line(points, look, f'{graph.name}-concat-{node}'))
    panel.boxes.append(Box(out, 0.0, width, 'out', True, gid=f'{graph.name}-out'))
    panel.labels.append(Label((x[columns[max(graph.concat)]] + out) / 2, floor, 'concat', look))


def _rows(graph: Graph, free: Iterable[str]) -> Panel:
    """Rows of nodes from left to right; the edge between two rows runs back between them."""
    panel = Panel('')
    layers = [operation for _, _, operation in graph.edges]
    names = ['in 0', *(str(i) for i in range(1, len(layers))), f'out {len(layers)}']
    widths = [max(text_width(name) + 0.2, 0.36) for name in names]
    x, y, row_height = widths[0] / 2, 0.0, NODE_HEIGHT + 2 * LANE
    panel.boxes.append(Box(x, y, widths[0], names[0], True, gid='layerwise-node-0'))
    for index, operation in enumerate(layers):
        look, target = _look(operation, free), index + 1
        room = pill_width(operation) + 0.42
        previous = panel.boxes[-1]
        start = previous.x + previous.width / 2
        gid = f'layerwise-edge-{index}-{target}'
        if start + room + widths[target] <= ROW_WIDTH or index == 0:
            x = start + room + widths[target] / 2
            points = [(start, y), (x - widths[target] / 2, y)]
            panel.labels.append(Label(start + room / 2 - HEAD / 2, y, operation, look))
        else:
            below = y - row_height
            x = widths[target] / 2
            level = (y + below) / 2
            top, bottom = y - NODE_HEIGHT / 2, below + NODE_HEIGHT / 2
            points = [(previous.x, top), (previous.x, level), (x, level), (x, bottom)]
            panel.labels.append(Label((previous.x + x) / 2, level, operation, look))
            y = below
        panel.lines.append(Line(points, look, gid))
        outer = target == len(layers)
        panel.boxes.append(
            Box(x, y, widths[target], names[target], outer, gid=f'layerwise-node-{target}')
        )
    return panel


def _paginate(panels: list[Panel]) -> Page:
    """Panels below each other, with titles, notes and the legend."""
    used = [label.look for panel in panels for label in panel.labels]
    legend = [
        (look, name)
        for look, name in (
            (CONVOLUTION, 'convolution'),
            (PARAMETER_FREE, 'parameter-free'),
            (ABSENT, 'none'),
        )
        if look in used
    ]
    extents = [panel.extent() for panel in panels]
    legend_width = sum(0.5 + text_width(name, 8) + 0.25 for _, name in legend) - 0.25
    note_width = max(text_width(panel.note, 8) if panel.note else 0.0 for panel in panels)
    content = max([right - left for left, right, *_ in extents] + [legend_width, note_width])
    height = 2 * MARGIN + (0.34 if legend else 0.0)
    for panel, (_, _, bottom, top) in zip(panels, extents, strict=True):
        height += top - bottom + (0.34 if panel.title else 0.0) + (0.26 if panel.note else 0.0)
    height += 0.3 * (len(panels) - 1)
    page = Page(content + 2 * MARGIN, height)
    cursor = height - MARGIN
    for panel, (left, right, bottom, top) in zip(panels, extents, strict=True):
        if panel.title:
            page.texts.append(Text(MARGIN, cursor - 0.1, panel.title, 10, INK, bold=True))
            cursor -= 0.34
        page.panels.append((panel, MARGIN + (content - right + left) / 2 - left, cursor - top))
        cursor -= top - bottom
        if panel.note:
            cursor -= 0.26
            page.texts.append(Text(MARGIN, cursor + 0.05, panel.note, 8, '#555555'))
        cursor -= 0.3
    x, y = MARGIN + (content - legend_width) / 2, MARGIN + 0.05
    for look, name in legend:
        page.samples.append((x, y, look))
        page.texts.append(Text(x + SAMPLE + 0.08, y, name, 8, INK))
        x += 0.5 + text_width(name, 8) + 0.25
    return page
