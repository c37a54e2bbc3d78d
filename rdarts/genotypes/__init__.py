"""Genotypes: what a search finds, as plain data.

A genotype is written as JSON with the name of its space, and read back from JSON or from the
official strings, which are parsed and never evaluated. Importing this module needs no torch.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rdarts.errors import UserError, nearest
from rdarts.utils.files import read_text

if TYPE_CHECKING:
    from rdarts.search_spaces import CellTopology, SearchSpace


def _space(space: str | Mapping | SearchSpace) -> SearchSpace:
    from rdarts.search_spaces import build_space  # needs torch

    return build_space(space)


def _own_space(name: str) -> SearchSpace:
    """The space that a genotype names: one that is registered by that name, nothing else.

    A name in a file is no config: it must not be able to import or call anything.
    """
    import rdarts.search_spaces  # noqa: F401  (registers the spaces; needs torch)
    from rdarts.registry import SEARCH_SPACES

    if name not in SEARCH_SPACES.module_dict:
        raise UserError(
            f"genotype: unknown search space '{name}': {nearest(name, SEARCH_SPACES.module_dict)}; "
            'a space of your own must be given as a table'
        )
    return _space(name)


def _check_space(genotype: Genotype, space: SearchSpace) -> None:
    if genotype.space != space.name:
        raise UserError(
            f"the genotype is of the space '{genotype.space}', but '{space.name}' is needed: "
            'search in that space, or name the other one in the config'
        )
    if genotype.kind != space.genotype:
        raise UserError(
            f"genotype: it is of kind '{genotype.kind}', but those of the space '{space.name}' "
            f"are of kind '{space.genotype}'"
        )


def _check_edge(
    cell: str, topology: CellTopology, source: int, target: int, operation: str
) -> None:
    where = f"genotype, cell '{cell}'"
    edge = next((e for e in topology.edges if (e.source, e.target) == (source, target)), None)
    if edge is None:
        sources = sorted(e.source for e in topology.edges if e.target == target)
        raise UserError(
            f'{where}: node {target} cannot read node {source}; it reads {sources} in this space'
        )
    if operation not in edge.candidates:
        hint = nearest(operation, edge.candidates)
        raise UserError(
            f"{where}: operation '{operation}' is no candidate of edge {source} -> {target}: {hint}"
        )


@dataclass(frozen=True)
class CellGenotype:
    """The kept edges of every cell type, as in DARTS.

    Args:
        space (str): Name of its space.
        nodes (dict[str, tuple]): For each cell type, one tuple of ``(operation, source)`` pairs
            for each node that is no input.
        concat (dict[str, tuple[int, ...]]): For each cell type, the nodes that form the output.
    """

    kind: ClassVar[str] = 'cell'
    space: str
    nodes: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]]
    concat: Mapping[str, tuple[int, ...]]

    def validate(self, space: str | Mapping | SearchSpace) -> CellGenotype:
        """Check against its space.

        Returns:
            CellGenotype: Itself.

        Raises:
            UserError: It is of another space, or has an operation or edge that is not in it.
        """
        space = _space(space)
        _check_space(self, space)
        if set(self.nodes) != set(space.cells):
            raise UserError(
                f"genotype: it has the cells {sorted(self.nodes)}, but space '{space.name}' has "
                f'{sorted(space.cells)}'
            )
        for cell, topology in space.cells.items():
            nodes = self.nodes[cell]
            expected = topology.num_nodes - topology.num_inputs
            if len(nodes) != expected:
                raise UserError(
                    f"genotype, cell '{cell}': it has {len(nodes)} nodes, but needs {expected}"
                )
            for target, edges in enumerate(nodes, topology.num_inputs):
                if not edges:
                    raise UserError(f"genotype, cell '{cell}': node {target} has no edge")
                repeated = len({source for _, source in edges}) != len(edges)
                if repeated and not space.repeated_edges:
                    raise UserError(f"genotype, cell '{cell}': node {target} reads one node twice")
                for operation, source in edges:
                    _check_edge(cell, topology, source, target, operation)
            concat = self.concat[cell]
            if not concat or len(set(concat)) != len(concat):
                raise UserError(
                    f"genotype, cell '{cell}': the output must be nodes, each once, but is "
                    f'{list(concat)}'
                )
            for node in concat:
                if not topology.num_inputs <= node < topology.num_nodes:
                    raise UserError(
                        f"genotype, cell '{cell}': output node {node} is not one of "
                        f'{topology.num_inputs} to {topology.num_nodes - 1}'
                    )
        return self

    def operations(self) -> list[str]:
        """Every operation, cell by cell."""
        return [op for nodes in self.nodes.values() for edges in nodes for op, _ in edges]

    def to_string(self) -> str:
        """The official form, ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)``."""
        parts = []
        for cell, nodes in self.nodes.items():
            pairs = [tuple(edge) for edges in nodes for edge in edges]
            concat = list(self.concat[cell])
            if concat == list(range(concat[0], concat[-1] + 1)):
                concat = f'range({concat[0]}, {concat[-1] + 1})'
            parts.append(f'{cell}={pairs}, {cell}_concat={concat}')
        return f'Genotype({", ".join(parts)})'

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        cells = {
            cell: dict(
                nodes=[[list(edge) for edge in edges] for edges in nodes],
                concat=list(self.concat[cell]),
            )
            for cell, nodes in self.nodes.items()
        }
        return dict(space=self.space, kind=self.kind, cells=cells)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CellGenotype:
        """Inverse of :meth:`to_dict`."""
        nodes, concat = {}, {}
        for cell, table in data['cells'].items():
            nodes[cell] = tuple(
                tuple((_name(op), _index(source)) for op, source in edges)
                for edges in table['nodes']
            )
            concat[cell] = tuple(_index(node) for node in table['concat'])
        return cls(data['space'], nodes, concat)


@dataclass(frozen=True)
class NASBench201Genotype:
    """One operation for each edge of a cell in which every node reads all earlier ones.

    Args:
        ops (tuple[str, ...]): Operations in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
        space (str): Name of its space. Defaults to ``'nas_bench_201'``.
    """

    kind: ClassVar[str] = 'nas_bench_201'
    ops: tuple[str, ...]
    space: str = 'nas_bench_201'

    def validate(self, space: str | Mapping | SearchSpace = 'nas_bench_201') -> NASBench201Genotype:
        """Check against its space; see :meth:`CellGenotype.validate`."""
        space = _space(space)
        _check_space(self, space)
        ((cell, topology),) = space.cells.items()
        if len(self.ops) != len(topology.edges):
            raise UserError(
                f'genotype: it has {len(self.ops)} edges, but the cell of '
                f"'{space.name}' has {len(topology.edges)}"
            )
        for operation, edge in zip(self.ops, topology.edges, strict=True):
            _check_edge(cell, topology, edge.source, edge.target, operation)
        return self

    def operations(self) -> list[str]:
        """Every operation, edge by edge."""
        return list(self.ops)

    def to_string(self) -> str:
        """The official form, ``|nor_conv_3x3~0|+|...~0|...~1|+|...~0|...~1|...~2|``."""
        nodes, start, inputs = [], 0, 1
        while start < len(self.ops):
            ops = self.ops[start : start + inputs]
            nodes.append('|' + '|'.join(f'{op}~{i}' for i, op in enumerate(ops)) + '|')
            start, inputs = start + inputs, inputs + 1
        return '+'.join(nodes)

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(space=self.space, kind=self.kind, cell=self.to_string())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NASBench201Genotype:
        """Inverse of :meth:`to_dict`."""
        return cls.from_string(data['cell'], data['space'])

    @classmethod
    def from_string(cls, text: str, space: str = 'nas_bench_201') -> NASBench201Genotype:
        """Parse the official form.

        Raises:
            UserError: The text is not of that form.
        """
        ops = []
        text = re.sub(r'\s+', '', _name(text)).strip(QUOTES)
        for node, part in enumerate(text.split('+')):
            edges = part.split('|')
            if len(edges) != node + 3 or edges[0] or edges[-1]:
                raise UserError(
                    f'genotype {text!r}: node {node + 1} must read |op~0|...|op~{node}|, '
                    f'but reads {part!r}'
                )
            for source, edge in enumerate(edges[1:-1]):
                operation, mark, index = edge.partition('~')
                if not operation or not mark or index != str(source):
                    raise UserError(
                        f'genotype {text!r}: node {node + 1} needs op~{source} where it has '
                        f'{edge!r}'
                    )
                ops.append(operation)
        return cls(tuple(ops), space)


@dataclass(frozen=True)
class LayerwiseGenotype:
    """One operation for each of the layers that run one after another.

    Args:
        space (str): Name of its space.
        layers (tuple[str, ...]): The operations.
    """

    kind: ClassVar[str] = 'layerwise'
    space: str
    layers: tuple[str, ...]

    def validate(self, space: str | Mapping | SearchSpace) -> LayerwiseGenotype:
        """Check against its space; see :meth:`CellGenotype.validate`."""
        space = _space(space)
        _check_space(self, space)
        edges = space.cells['layerwise'].edges if 'layerwise' in space.cells else ()
        if len(self.layers) != len(edges):
            raise UserError(
                f"genotype: it has {len(self.layers)} layers, but space '{space.name}' has "
                f'{len(edges)}'
            )
        for operation, edge in zip(self.layers, edges, strict=True):
            _check_edge('layerwise', space.cells['layerwise'], edge.source, edge.target, operation)
        return self

    def operations(self) -> list[str]:
        """Every operation, layer by layer."""
        return list(self.layers)

    def to_string(self) -> str:
        """``op - op - ...``; of one layer ``op -``, which is no name of a file."""
        return ' - '.join(self.layers) if len(self.layers) != 1 else f'{self.layers[0]} -'

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(space=self.space, kind=self.kind, layers=list(self.layers))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerwiseGenotype:
        """Inverse of :meth:`to_dict`."""
        return cls(data['space'], tuple(_name(op) for op in data['layers']))


LAYERWISE = re.compile(r'\w+(?: - \w+)+|\w+ -')
OFFICIAL = re.compile(r'(?<![\w\'"])Genotype\s*\(')
CELL = re.compile(r'\|\s*\w+\s*~\s*0\s*\|(?=\s*\+)')  # the first node of NAS-Bench-201's form
OUR_LOG = re.compile(r'\s*\(\d+ skip connections?\)\s*$')  # what it says after a genotype
NUMPY = re.compile(r'(?:np|numpy)\.(?:u?int\d*|int_|intp|str_)')
QUOTES = '\'"`,'
MAX_NAME = 1000  # of a file; more is a text of another form
MAX_BYTES = 2**22  # of a text or a file; the largest genotype of the literature has some thousand
PUBLISHED = Path(__file__).with_name('published.json')
MAX_NODES = 1000  # of a cell in an official string, so that its range(...) stays small
Genotype = CellGenotype | NASBench201Genotype | LayerwiseGenotype
# what a config may say of one; None: it comes by --genotype
GenotypeSpec = str | os.PathLike | Mapping[str, Any] | Genotype | None
KINDS = {cls.kind: cls for cls in (CellGenotype, NASBench201Genotype, LayerwiseGenotype)}


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f'genotype: an operation must be a name, but is {value!r}')
    return value


def _index(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f'genotype: a node must be an integer, but is {value!r}')
    return value


def count_skips(genotype: Genotype) -> int:
    """Number of skip connections, the sign of collapse."""
    return genotype.operations().count('skip_connect')


def skips_by_cell(genotype: Genotype) -> dict[str, int]:
    """The number of skip connections in each cell type; layers are one, ``'layerwise'``."""
    if isinstance(genotype, CellGenotype):
        return {
            cell: sum(op == 'skip_connect' for edges in nodes for op, _ in edges)
            for cell, nodes in genotype.nodes.items()
        }
    cell = 'layerwise' if isinstance(genotype, LayerwiseGenotype) else 'cell'
    return {cell: count_skips(genotype)}


def short_form(genotype: Genotype, longest: int = 120) -> str:
    """A genotype for people: its official string, or how often it has each operation.

    Args:
        genotype (Genotype): The genotype.
        longest (int): Characters of an official string that is shown as it is. Defaults to 120.
    """
    text = genotype.to_string()
    if len(text) <= longest:
        return text
    if not isinstance(genotype, CellGenotype):
        return _counted(genotype.operations())
    cells = {
        cell: [operation for edges in nodes for operation, _ in edges]
        for cell, nodes in genotype.nodes.items()
    }
    return '; '.join(f'{cell}: {_counted(operations)}' for cell, operations in cells.items())


def _counted(operations: list[str]) -> str:
    counts = Counter(operations).most_common()
    return ', '.join(f'{count} {operation}' for operation, count in counts)


def dumps(genotype: Genotype) -> str:
    """A genotype as JSON text, always the same for the same genotype."""
    return json.dumps(genotype.to_dict(), indent=1, sort_keys=True) + '\n'


def _written(node: ast.AST) -> Any:
    """What an expression says, where it is data as Python or numpy print it; nothing is called.

    Raises:
        ValueError: It is anything else.
        UserError: The bounds of a range are no integers.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_written(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_index(_written(node.operand))
    if not isinstance(node, ast.Call) or node.keywords:
        raise ValueError
    name, args = ast.unparse(node.func), [_written(arg) for arg in node.args]
    if name == 'range' and len(args) == 2:
        first, last = map(_index, args)
        if 0 <= first < last <= MAX_NODES:
            return list(range(first, last))
    elif name in ('list', 'tuple') and len(args) == 1 and isinstance(args[0], list):
        return args[0]
    elif NUMPY.fullmatch(name) and len(args) == 1 and type(args[0]) in (int, str):
        return args[0]
    raise ValueError


def _official(text: str, space: str) -> CellGenotype:
    """Parse ``Genotype(normal=[...], normal_concat=range(2, 6), ...)`` without evaluating it."""
    problem = UserError(
        f"genotype {text[:60]!r}: expected Genotype(normal=[('op', node), ...], "
        'normal_concat=[...], reduce=[...], reduce_concat=[...])'
    )
    try:
        call = ast.parse(text, mode='eval').body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise problem from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
        raise problem
    if call.func.id != 'Genotype':
        raise problem
    values: dict[str, Any] = {}
    try:
        for keyword in call.keywords:
            values[keyword.arg] = _written(keyword.value)
    except UserError:
        raise
    except (ValueError, RecursionError, MemoryError):
        raise problem from None
    nodes, concat = {}, {}
    try:
        for cell in [name for name in values if name and not name.endswith('_concat')]:
            pairs = [(_name(op), _index(source)) for op, source in values[cell]]
            if len(pairs) % 2:
                raise UserError(
                    f"genotype, cell '{cell}': two edges a node, but it has {len(pairs)} edges"
                )
            nodes[cell] = tuple(zip(pairs[::2], pairs[1::2], strict=True))
            concat[cell] = tuple(_index(i) for i in values[f'{cell}_concat'])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError):
        raise problem from None
    if not nodes:
        raise problem
    return CellGenotype(space, nodes, concat)


def parse_genotype(text: str, space: str | None = None) -> Genotype:
    """Read a genotype from text: JSON, one of the two official forms, or layers.

    What stands before one of the official forms is left out, as in a line of a log or of a
    ``genotypes.py``: a date, ``NAME = ``, ``genotypes.``; so are quotes around it.

    Args:
        text (str): JSON of this package, ``Genotype(normal=[...], ...)``,
            ``|nor_conv_3x3~0|+...``, or ``op - op - ...``.
        space (str, optional): Name of the space of a text that carries none. Defaults to
            ``'darts'``, ``'nas_bench_201'`` and ``'mobilenet_like'`` for the last three.

    Raises:
        UserError: The text is none of them.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f'genotype: the text is longer than {MAX_BYTES:,} characters')
    text = text.removeprefix('\ufeff').strip()
    if not text.startswith(('{', '[')):
        text = OUR_LOG.sub('', text.rstrip().rstrip(QUOTES))
        for form in (OFFICIAL, CELL):
            places = [match.start() for match in form.finditer(text)]
            if len(places) > 1:
                raise UserError(
                    f'genotype: the text holds {len(places)} genotypes: give one of them'
                )
            if places:
                text = text[places[0] :]
                break
        else:
            text = text.strip(QUOTES)
    if text.startswith('|'):
        return NASBench201Genotype.from_string(text, space or 'nas_bench_201')
    if text.startswith('Genotype'):
        return _official(text, space or 'darts')
    if LAYERWISE.fullmatch(text):
        return LayerwiseGenotype(
            space or 'mobilenet_like', tuple(text.removesuffix(' -').split(' - '))
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'genotype: this is no JSON and no official string ({error})') from None
    return from_dict(data)


def is_text(source: str) -> bool:
    """Whether a string is a genotype itself, and no path or name."""
    source = source.strip().strip(QUOTES)
    return (
        source.startswith(('|', 'Genotype', '{'))
        or LAYERWISE.fullmatch(source) is not None
        or OFFICIAL.search(source) is not None
        or CELL.search(source) is not None
    )


def from_dict(data: Any) -> Genotype:
    """Read a genotype from JSON data; the inverse of its ``to_dict``.

    Raises:
        UserError: Keys are missing or of another form.
    """
    named = isinstance(data, Mapping) and isinstance(data.get('space'), str)
    if not named or not isinstance(data.get('kind'), str) or data['kind'] not in KINDS:
        raise UserError(
            "genotype: the JSON must be an object with 'space', a name, and 'kind' "
            f'({", ".join(sorted(KINDS))})'
        )
    try:
        return KINDS[data['kind']].from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"genotype: no valid JSON of kind '{data['kind']}' ({error})") from None


@functools.cache
def _published() -> dict[str, CellGenotype]:
    data = json.loads(PUBLISHED.read_text(encoding='utf-8'))
    return {name: CellGenotype.from_dict(entry) for name, entry in data.items()}


def published_names() -> list[str]:
    """Names of the published genotypes that :func:`load_genotype` knows."""
    return sorted(_published())


def _read_file(path: Path, space: str | None, published: Mapping[str, Genotype]) -> Genotype:
    if os.path.isdir(path):  # Path's fails for a name that is too long
        folder, path = path, path / 'genotype.json'
        if not path.is_file():
            raise UserError(
                f'{folder} holds no genotype.json: no search has ended there; those of single '
                f'epochs are in {folder / "genotypes"}'
                if (folder / 'genotypes').is_dir()
                else f'{folder} holds no genotype.json: give the work directory of a search'
            )
    try:
        text = read_text(path, MAX_BYTES, 'the genotype')
    except FileNotFoundError as error:
        if path.name == str(path) and not path.suffix:
            raise UserError(
                f"genotype: no published one and no file is named '{path}': "
                f'{nearest(str(path), published)}'
            ) from None
        raise UserError(f'cannot read the genotype {path}: {error.strerror}') from None
    try:
        return parse_genotype(text, space)
    except UserError as error:
        raise UserError(f'{path}: {error}') from None


def read_genotype(
    source: str | os.PathLike | Mapping | Genotype, space: str | None = None
) -> Genotype:
    """Read a genotype, without its space.

    Args:
        source (str | PathLike | dict | Genotype): See :func:`load_genotype`.
        space (str, optional): Name of the space of a string that does not say it.

    Raises:
        UserError: It cannot be read.
    """
    if isinstance(source, (CellGenotype, NASBench201Genotype, LayerwiseGenotype)):
        return source
    if isinstance(source, Mapping):
        return from_dict(source)
    if isinstance(source, str) and is_text(source):
        return parse_genotype(source, space)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            'genotype: give a JSON file, the work directory of a search, JSON data, an '
            f'official string, or the name of a published genotype, but it is {source!r}'
        )
    if len(os.fspath(source)) > MAX_NAME:
        raise UserError(
            f'genotype {os.fspath(source)[:60]!r}...: expected a file, '
            'Genotype(normal=[...], ...), |nor_conv_3x3~0|+... or op - op - ...'
        )
    published = _published()
    genotype = published.get(source) if isinstance(source, str) else None
    return _read_file(Path(source), space, published) if genotype is None else genotype


def load_genotype(
    source: str | os.PathLike | Mapping | Genotype,
    space: str | Mapping | SearchSpace | None = None,
) -> Genotype:
    """Read a genotype, and check it.

    Args:
        source (str | PathLike | dict | Genotype): A JSON file, the work directory of a search,
            JSON data, one of the official strings, the name of a published genotype
            (``'DARTS_V2'``), or a genotype.
        space (str | dict | SearchSpace, optional): The space that it must belong to. Defaults
            to the space that it names.

    Raises:
        UserError: It cannot be read, or does not fit its space.
    """
    if space is not None:
        space = _space(space)
    genotype = read_genotype(source, None if space is None else space.name)
    return genotype.validate(_own_space(genotype.space) if space is None else space)
