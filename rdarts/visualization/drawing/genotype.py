"""Drawings of genotypes: nodes from left to right, one arrow an edge.

Straight edges run along the row of nodes. Every other edge has a horizontal lane above or below
the row, and its label sits between two columns, where no vertical line runs: so labels never
overlap, whatever the cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, Genotype, LayerwiseGenotype, is_text, read_genotype
from rdarts.visualization.style import picture_suffix, plain_style, save_figure

if TYPE_CHECKING:
    from rdarts.search_spaces import SearchSpace

# Line and fill, text in it, line style. The two kinds differ in brightness and in line style
# too, so they are told apart in grey.
CONVOLUTION = dict(line='#0072B2', fill='#0072B2', text='#FFFFFF', style='-')
PARAMETER_FREE = dict(line='#C77D00', fill='#FFF4DC', text='#000000', style=(0, (3.2, 1.6)))
ABSENT = dict(line='#999999', fill='#FFFFFF', text='#666666', style=(0, (1, 2)))
INK, NODE_FILL, OUTER_FILL = '#222222', '#FFFFFF', '#E4E4E4'

# Inches, points for the font
FONT = 9.0
NODE_HEIGHT = 0.36
PORT = 0.13  # between two lines that meet a node on one side
LANE = 0.34
PILL_HEIGHT = 0.22
CORNER = 0.1
HEAD = 0.11
HEAD_WIDTH = 0.092
ROUNDING = 0.07  # of a node
MARGIN = 0.14
SAMPLE = 0.4  # a line of the legend
LINE, NODE_LINE, PILL_LINE = 1.7, 1.2, 1.1  # widths of lines, points
ROW_WIDTH = 9.0  # more layers go on in the next row
DPI = 150
MAX_PIXELS = 2**16 - 1  # of a side of a PNG, matplotlib's limit

Point = tuple[float, float]  # inches


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


def lay_out(genotype: Genotype, space: SearchSpace | None = None) -> Page:
    """Where everything of a genotype's picture is.

    Args:
        genotype (Genotype): What to draw.
        space (SearchSpace, optional): See :func:`draw_genotype`.

    Raises:
        UserError: An edge does not lead from an earlier node to a later one.
    """
    space = space or _registered(genotype.space)
    free = _parameter_free(space)
    if isinstance(genotype, LayerwiseGenotype):
        return _paginate([_layers(genotype, free)])
    graphs = _graphs(genotype, space)
    return _paginate([_cell(graph, free, titled=len(graphs) > 1) for graph in graphs])


def _registered(name: str) -> SearchSpace | None:
    from rdarts.registry import SEARCH_SPACES
    from rdarts.search_spaces import build_space  # needs torch

    return build_space(name) if name in SEARCH_SPACES.module_dict else None


def _parameter_free(space: SearchSpace | None) -> frozenset[str]:
    from rdarts.search_spaces.base import PARAMETER_FREE as DEFAULT

    return DEFAULT if space is None else space.parameter_free


# From a genotype to graphs


def _graphs(genotype: Genotype, space: SearchSpace | None) -> list[_Graph]:
    if isinstance(genotype, CellGenotype):
        return [_cell_graph(genotype, name, space) for name in genotype.nodes]
    edges, node, source = [], 1, 0
    for operation in genotype.ops:
        edges.append(_Edge(source, node, operation))
        source += 1
        if source == node:
            node, source = node + 1, 0
    return [_graph('cell', 1, node, edges, (node - 1,))]


def _cell_graph(genotype: CellGenotype, name: str, space: SearchSpace | None) -> _Graph:
    nodes, concat = genotype.nodes[name], genotype.concat[name]
    if space is not None and name in space.cells:
        num_inputs = space.cells[name].num_inputs
    else:
        # the last node is always part of the output
        num_inputs = max(concat, default=0) + 1 - len(nodes)
    last = num_inputs + len(nodes) - 1
    if not nodes or not concat or min(concat) < 0 or max(concat) > last or num_inputs < 1:
        raise UserError(f"genotype, cell '{name}': nodes and output do not fit: {list(concat)}")
    edges = [
        _Edge(source, target, operation)
        for target, pairs in enumerate(nodes, num_inputs)
        for operation, source in pairs
    ]
    return _graph(name, num_inputs, num_inputs + len(nodes), edges, concat)


def _graph(
    name: str, num_inputs: int, num_nodes: int, edges: list[_Edge], concat: tuple[int, ...]
) -> _Graph:
    for edge in edges:
        if not 0 <= edge.source < edge.target:
            raise UserError(
                f"genotype, cell '{name}': edge {edge.source} -> {edge.target} does not lead "
                'from an earlier node to a later one'
            )
    absent = [(edge.source, edge.target) for edge in edges if edge.operation == 'none']
    kept = [edge for edge in edges if edge.operation != 'none']
    return _Graph(name, num_inputs, num_nodes, kept, concat, absent)


# What is on the page, in inches


@dataclass
class _Box:
    x: float
    y: float
    width: float
    text: str
    outer: bool = False  # an input or the output
    gid: str = ''


@dataclass
class _Line:
    points: list[Point]
    look: Mapping[str, Any]
    gid: str = ''


@dataclass
class _Label:
    x: float
    y: float
    text: str
    look: Mapping[str, Any]

    @property
    def width(self) -> float:
        return _pill_width(self.text)


@dataclass
class _Panel:
    title: str
    lines: list[_Line] = field(default_factory=list)
    boxes: list[_Box] = field(default_factory=list)
    labels: list[_Label] = field(default_factory=list)
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
class _Text:
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
    panels: list[tuple[_Panel, float, float]] = field(default_factory=list)
    texts: list[_Text] = field(default_factory=list)
    samples: list[tuple[float, float, Mapping[str, Any]]] = field(default_factory=list)


@lru_cache(maxsize=1024)
def _text_width(text: str, size: float = FONT) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family='DejaVu Sans', size=size)  # matplotlib brings it along
    return TextPath((0, 0), text.replace('$', 'S'), prop=font).get_extents().width / 72


def _pill_width(text: str) -> float:
    return round(_text_width(text) + 0.16, 4)


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

    Two inputs share the first column, one above and one below the row.
    """
    stacked = graph.num_inputs == 2
    columns = [max(0, node - 1) if stacked else node for node in range(graph.num_nodes)]
    taken: dict[int, list[tuple[int, int]]] = {}
    placed = []

    def span(edge: _Edge) -> tuple[int, int]:
        return columns[edge.source], columns[edge.target]

    def is_free(lane: int, start: int, end: int) -> bool:
        return all(end <= a or b <= start for a, b in taken.get(lane, ()))

    def length(edge: _Edge) -> tuple[int, int]:
        start, end = span(edge)
        return end - start, start

    for edge in sorted(graph.edges, key=length):
        start, end = span(edge)
        if end - start == 1 and not (stacked and edge.source < 2):
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


def _cell(graph: _Graph, free: Iterable[str], titled: bool) -> _Panel:
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
        widths.append(max(_text_width(name) + 0.2, 2 * max(reach, default=0) + 0.16, 0.36))

    # columns as wide as their nodes, gaps as wide as their labels
    count = columns[-1] + 1
    nodes = range(len(columns))
    half = [max(widths[n] for n in nodes if columns[n] == c) / 2 for c in range(count)]
    gaps = [0.5] * (count - 1)
    for edge in edges:
        room = _pill_width(edge.operation) + (0.42 if edge.lane == 0 else 0.2)
        gaps[edge.gap] = max(gaps[edge.gap], room)
    x = [half[0]]
    for c in range(1, count):
        x.append(x[-1] + half[c - 1] + gaps[c - 1] + half[c])
    y = [0.0] * graph.num_nodes
    if graph.num_inputs == 2:
        y[0], y[1] = _lane_y(1), _lane_y(-1)

    panel = _Panel(f'{graph.name} cell' if titled else '')
    for node, name in enumerate(names):
        outer = node < graph.num_inputs or (node == last and not bus)
        panel.boxes.append(
            _Box(x[columns[node]], y[node], widths[node], name, outer, f'{graph.name}-node-{node}')
        )
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
        panel.lines.append(_Line(points, look, gid))
        middle = x[edge.gap] + half[edge.gap] + gaps[edge.gap] / 2
        shift = -HEAD / 2 if edge.lane == 0 else 0.0
        panel.labels.append(_Label(middle + shift, height, edge.operation, look))
    if bus:
        _add_bus(panel, graph, edges, columns, x)
    if graph.absent:
        listed = ', '.join(f'{a} → {b}' for a, b in graph.absent)
        panel.note = f'none, not drawn: {listed}'
    return panel


def _add_bus(
    panel: _Panel, graph: _Graph, edges: list[_Edge], columns: list[int], x: list[float]
) -> None:
    """The concatenation: a line below all lanes, which leads up into the output."""
    look = dict(line='#777777', fill='#FFFFFF', text=INK, style='-')
    lowest = min([edge.lane for edge in edges if edge.lane < 0], default=0)
    floor = _lane_y(lowest - 1)
    right = max(box.x + box.width / 2 for box in panel.boxes)
    width = _text_width('out') + 0.2
    out = right + 0.4 + width / 2
    for node in graph.concat:
        start = (x[columns[node]], -NODE_HEIGHT / 2)
        points = [start, (start[0], floor), (out, floor), (out, -NODE_HEIGHT / 2)]
        panel.lines.insert(0, _Line(points, look, f'{graph.name}-concat-{node}'))
    panel.boxes.append(_Box(out, 0.0, width, 'out', True, f'{graph.name}-out'))
    panel.labels.append(_Label((x[columns[max(graph.concat)]] + out) / 2, floor, 'concat', look))


def _layers(genotype: LayerwiseGenotype, free: Iterable[str]) -> _Panel:
    """Rows of nodes from left to right; the edge between two rows runs back between them."""
    panel = _Panel('')
    layers = genotype.layers
    names = ['in 0', *(str(i) for i in range(1, len(layers))), f'out {len(layers)}']
    widths = [max(_text_width(name) + 0.2, 0.36) for name in names]
    x, y, row_height = widths[0] / 2, 0.0, NODE_HEIGHT + 2 * LANE
    panel.boxes.append(_Box(x, y, widths[0], names[0], True, 'layerwise-node-0'))
    for index, operation in enumerate(layers):
        look, target = _look(operation, free), index + 1
        room = _pill_width(operation) + 0.42
        previous = panel.boxes[-1]
        start = previous.x + previous.width / 2
        gid = f'layerwise-edge-{index}-{target}'
        if start + room + widths[target] <= ROW_WIDTH or index == 0:
            x = start + room + widths[target] / 2
            points = [(start, y), (x - widths[target] / 2, y)]
            panel.labels.append(_Label(start + room / 2 - HEAD / 2, y, operation, look))
        else:
            below = y - row_height
            x = widths[target] / 2
            level = (y + below) / 2
            top, bottom = y - NODE_HEIGHT / 2, below + NODE_HEIGHT / 2
            points = [(previous.x, top), (previous.x, level), (x, level), (x, bottom)]
            panel.labels.append(_Label((previous.x + x) / 2, level, operation, look))
            y = below
        panel.lines.append(_Line(points, look, gid))
        outer = target == len(layers)
        panel.boxes.append(
            _Box(x, y, widths[target], names[target], outer, f'layerwise-node-{target}')
        )
    return panel


def _paginate(panels: list[_Panel]) -> Page:
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
    legend_width = sum(0.5 + _text_width(name, 8) + 0.25 for _, name in legend) - 0.25
    note_width = max(_text_width(panel.note, 8) if panel.note else 0.0 for panel in panels)
    content = max([right - left for left, right, *_ in extents] + [legend_width, note_width])
    height = 2 * MARGIN + (0.34 if legend else 0.0)
    for panel, (_, _, bottom, top) in zip(panels, extents, strict=True):
        height += top - bottom + (0.34 if panel.title else 0.0) + (0.26 if panel.note else 0.0)
    height += 0.3 * (len(panels) - 1)
    page = Page(content + 2 * MARGIN, height)
    cursor = height - MARGIN
    for panel, (left, right, bottom, top) in zip(panels, extents, strict=True):
        if panel.title:
            page.texts.append(_Text(MARGIN, cursor - 0.1, panel.title, 10, INK, bold=True))
            cursor -= 0.34
        page.panels.append((panel, MARGIN + (content - right + left) / 2 - left, cursor - top))
        cursor -= top - bottom
        if panel.note:
            cursor -= 0.26
            page.texts.append(_Text(MARGIN, cursor + 0.05, panel.note, 8, '#555555'))
        cursor -= 0.3
    x, y = MARGIN + (content - legend_width) / 2, MARGIN + 0.05
    for look, name in legend:
        page.samples.append((x, y, look))
        page.texts.append(_Text(x + SAMPLE + 0.08, y, name, 8, INK))
        x += 0.5 + _text_width(name, 8) + 0.25
    return page


# From the page to a file


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


def _draw_panel(axes: Any, panel: _Panel, dx: float, dy: float) -> None:
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
                edgecolor=INK, facecolor=OUTER_FILL if box.outer else NODE_FILL, zorder=4,
                gid=box.gid,
            )
        )  # fmt: skip
        axes.text(
            box.x + dx, box.y + dy, box.text,
            size=FONT, color=INK, ha='center', va='center_baseline', zorder=5,
        )  # fmt: skip


def _draw_pill(axes: Any, label: _Label, dx: float, dy: float) -> None:
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


def _draw_line(axes: Any, line: _Line, dx: float, dy: float) -> None:
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
