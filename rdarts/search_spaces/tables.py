"""Spaces of one's own, read from the tables of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rdarts.errors import UserError, nearest
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import darts, nas_bench_201
from rdarts.search_spaces.base import (
    PARAMETER_FREE,
    CellTopology,
    Edge,
    SearchSpace,
    Stage,
    dense_cell,
    has_normal_and_reduce,
)
from rdarts.search_spaces.belongings import Belongings, read_belongings
from rdarts.search_spaces.costs import CostsSpec, with_costs
from rdarts.utils.wording import plural


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_candidates(where: str, names: object) -> None:
    listed = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if not names or not listed:
        raise UserError(f'{where} needs a list of candidates, but has {names!r}')
    if len(set(names)) != len(names):
        raise UserError(f'{where} names a candidate twice')


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise UserError(f"a space's name must be a text, but is {name!r}")


def _topology(cell: str, table: Mapping) -> CellTopology:
    """Read and check one cell of a user's table."""
    where = f"cell '{cell}' of the space's table"
    if not isinstance(cell, str) or not cell.isidentifier():
        raise UserError(f'{where}: a cell type is named like a variable, without dots')
    if not isinstance(table, Mapping):
        raise UserError(f'{where}: it must be a dict, but is {table!r}')
    unknown = set(table) - {'num_inputs', 'num_nodes', 'edges', 'candidates', 'output'}
    if unknown:
        raise UserError(
            f'{where}: unknown key {sorted(unknown)[0]!r}; a cell has num_inputs, num_nodes, '
            'output, and edges or candidates'
        )
    num_inputs, num_nodes = table.get('num_inputs', 1), table.get('num_nodes')
    output = table.get('output', 'last')
    if not _is_index(num_nodes) or not _is_index(num_inputs):
        raise UserError(f'{where}: num_nodes and num_inputs must be integers')
    if not 1 <= num_inputs < num_nodes:
        raise UserError(
            f'{where}: num_inputs must be 1 or more and less than num_nodes, but they are '
            f'{num_inputs} and {num_nodes}'
        )
    if output not in ('last', 'concat'):
        raise UserError(f"{where}: output must be 'last' or 'concat', but is {output!r}")
    if 'edges' not in table:
        if not table.get('candidates'):
            raise UserError(f'{where}: give edges, or candidates for all of them')
        names = table['candidates']
        if not isinstance(names, (list, tuple)):
            raise UserError(f'{where}: candidates must be a list of names, but are {names!r}')
        try:
            cell = dense_cell(num_inputs, num_nodes, tuple(names), output)
        except UserError as error:
            raise UserError(f'{where}: {error}') from None
        for edge in cell.edges:
            _check_candidates(f'{where}: edge {edge.source} -> {edge.target}', edge.candidates)
        return cell
    if not isinstance(table['edges'], (list, tuple)):
        raise UserError(f'{where}: edges must be a list, but are {table["edges"]!r}')
    edges = []
    for row in table['edges']:
        if not isinstance(row, (list, tuple)):
            raise UserError(f'{where}: an edge is (source, target, candidates), but got {row!r}')
        if len(row) == 2 and table.get('candidates'):
            row = (*row, table['candidates'])
        if len(row) != 3:
            raise UserError(f'{where}: an edge is (source, target, candidates), but got {row}')
        source, target, names = row
        if not _is_index(source) or not _is_index(target):
            raise UserError(f'{where}: edge {source!r} -> {target!r} must join nodes by number')
        if not (0 <= source < target < num_nodes and target >= num_inputs):
            raise UserError(
                f'{where}: edge {source} -> {target} must lead from an earlier node to one of '
                f'the nodes {num_inputs} to {num_nodes - 1}'
            )
        _check_candidates(f'{where}: edge {source} -> {target}', names)
        edges.append(Edge(source, target, tuple(names)))
    if len({(e.source, e.target) for e in edges}) != len(edges):
        raise UserError(f'{where}: two edges join the same two nodes')
    for node in range(num_inputs, num_nodes):
        if not any(edge.target == node for edge in edges):
            raise UserError(f'{where}: no edge leads into node {node}')
    edges.sort(key=lambda edge: (edge.target, edge.source))
    return CellTopology(num_inputs, num_nodes, tuple(edges), output)


@SEARCH_SPACES.register_module(name='CellSpace')
def cell_space(
    name: str,
    cells: Mapping[str, Mapping],
    discretizer: str | None = None,
    operation_args: Mapping[str, Mapping] | None = None,
    parameter_free: Sequence[str] = tuple(sorted(PARAMETER_FREE)),
    belongs: Belongings | None = None,
    costs: CostsSpec = None,
) -> SearchSpace:
    """A space of one's own, from a table.

    Args:
        name (str): Its name, written into genotypes.
        cells (dict[str, dict]): For each cell type ``num_inputs``, ``num_nodes``, ``output``
            (``'last'`` or ``'concat'``), and either ``candidates`` (all nodes read all earlier
            ones) or ``edges``, a list of ``(source, target, candidates)``.
        discretizer (str, optional): Defaults to ``'TopEdges'`` where an output concatenates,
            else to ``'Argmax'``.
        operation_args (dict[str, dict], optional): Arguments of single operations.
        parameter_free (Sequence[str]): Candidates without weights.
        belongs (dict, optional): What belongs to it, :class:`Belongings`. What is left out is that
            of the DARTS space for the cell types ``normal`` and ``reduce``, else NAS-Bench-201's.
        costs (str | PathLike | dict, optional): A cost table: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Raises:
        UserError: The table is not a cell's, or the cost table does not fit.
    """
    _check_name(name)
    if not isinstance(cells, Mapping) or not cells:
        raise UserError(f"space '{name}': cells must be a dict of one cell type or more")
    topologies = {cell: _topology(cell, entry) for cell, entry in cells.items()}
    known = {name for cell in topologies.values() for e in cell.edges for name in e.candidates}
    for operation in operation_args or {}:
        if operation not in known:
            raise UserError(
                f"space '{name}': operation_args has '{operation}', which is no candidate: "
                f'{nearest(operation, known)}'
            )
    defaults = nas_bench_201.BELONGS
    if has_normal_and_reduce(topologies):
        defaults = darts.BELONGS
    concat = any(topology.output == 'concat' for topology in topologies.values())
    space = SearchSpace(
        name=name,
        cells=topologies,
        genotype='cell',
        discretizer=discretizer or ('TopEdges' if concat else 'Argmax'),
        operation_args=dict(operation_args or {}),
        parameter_free=frozenset(parameter_free),
        **{**defaults, **read_belongings(name, belongs or {})},
    )
    return with_costs(space, costs)


@SEARCH_SPACES.register_module(name='LayerwiseSpace')
def layerwise_space(
    name: str,
    layers: Sequence[Sequence[str]],
    parameter_free: Sequence[str] = tuple(sorted(PARAMETER_FREE)),
    belongs: Belongings | None = None,
    stages: Sequence[Sequence[int]] = (),
    costs: CostsSpec = None,
) -> SearchSpace:
    """Layers one after another, each with candidates of its own: no cell at all.

    Args:
        name (str): Its name, written into genotypes.
        layers (Sequence[Sequence[str]]): The candidates of each layer.
        parameter_free (Sequence[str]): Candidates without weights.
        belongs (dict, optional): What belongs to it, :class:`Belongings`. Defaults to nothing.
        stages (Sequence[Sequence[int]]): Width, depth and stride of each :class:`Stage` of the
            layers. Defaults to none.
        costs (str | PathLike | dict, optional): A cost table: see
            :func:`~rdarts.search_spaces.costs.read_costs`. Defaults to none.

    Raises:
        UserError: A layer has no list of candidates, the stages are not of these layers, or the
            cost table does not fit.
    """
    _check_name(name)
    if not isinstance(layers, (list, tuple)) or not layers:
        raise UserError(f"space '{name}': layers must be a list of one candidate list or more")
    edges = [(i, i + 1, candidates) for i, candidates in enumerate(layers)]
    table = dict(num_inputs=1, num_nodes=len(edges) + 1, edges=edges, output='last')
    space = SearchSpace(
        name=name,
        cells={'layerwise': _topology('layerwise', table)},
        genotype='layerwise',
        discretizer='Argmax',
        parameter_free=frozenset(parameter_free),
        stages=_stages(name, stages, len(layers)),
        **read_belongings(name, belongs or {}),
    )
    return with_costs(space, costs)


def _stages(name: str, rows: Sequence[Sequence[int]], layers: int) -> tuple[Stage, ...]:
    listed = isinstance(rows, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in rows)
    if not listed or not all(
        len(row) == 3 and all(_is_index(value) and value > 0 for value in row) for row in rows
    ):
        raise UserError(
            f"space '{name}': stages must be lists of width, depth and stride, but are {rows!r:.80}"
        )
    depth = sum(row[1] for row in rows)
    if rows and depth != layers:
        raise UserError(
            f"space '{name}': the stages have {plural(depth, 'layer')}, but layers lists {layers}"
        )
    return tuple(Stage(*row) for row in rows)
