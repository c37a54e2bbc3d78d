"""Time and memory of a search step as one of its sizes grows, each size in a process of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rdarts.errors import RunFailed, UserError, nearest
from rdarts.measure.apart import check_limit, in_short
from rdarts.measure.describe import cpu_model, divide, heading
from rdarts.measure.memory import measure as measure_here
from rdarts.measure.memory import measure_apart
from rdarts.measure.settings import StepSettings
from rdarts.registry import OPERATIONS, lookup
from rdarts.search_spaces import SearchSpace, build_space, dense_cell
from rdarts.study.tables import Table


@dataclass(frozen=True)
class Size:
    """What may grow.

    Args:
        title (str): For people.
        values (tuple[int, ...]): Those that are measured where nothing is said.
        setting (str, optional): Which of :class:`StepSettings` it is. Defaults to none: it is the
            space's.
    """

    title: str
    values: tuple[int, ...]
    setting: str | None = None


SIZES = dict(
    batch=Size('batch', (16, 32, 64, 128, 256), 'batch_size'),
    width=Size('C', (8, 16, 32, 64), 'width'),
    depth=Size('depth', (1, 2, 4, 8), 'depth'),
    image=Size('pixels a side', (32, 64, 128, 224), 'image_size'),
    candidates=Size('candidates an edge', (2, 4, 8, 16)),
    nodes=Size('nodes', (2, 3, 4, 6, 8)),
)
SPACE = 'model.backbone.space'


def growth(
    settings: StepSettings,
    by: str,
    values: Sequence[int] | None,
    command: Sequence[str],
    limit: float | None = None,
) -> list[dict[str, Any]]:
    """Measure a step at each size.

    Args:
        settings (StepSettings): Prepared ones, of all that does not grow.
        by (str): What grows, a key of :data:`SIZES`.
        values (Sequence[int], optional): Its sizes. Defaults to those of :data:`SIZES`.
        command (Sequence[str]): Starts the tool that prints what :func:`measure` gives, as JSON,
            with the settings as options, ``--by``, ``--values`` with one value, and ``--child
            EXECUTION``.
        limit (float, optional): Seconds that a process may take. Defaults to none.

    Returns:
        list[dict]: See :func:`summarise`. A process that fails, as one that the system ends because
        memory is short, or that takes too long, is a row that says why.

    Raises:
        UserError: The sizes do not rise, one of them is out of range, or the space cannot have it;
            or the limit is not above 0, or more than 10^6.
    """
    size = size_of(by)
    values = size.values if values is None else values
    if any(left >= right for left, right in itertools.pairwise(values)):
        raise UserError(f'--values must rise, but are {" ".join(map(str, values))}')
    if limit is not None:
        check_limit('--limit', limit)
    cases = {value: grown(settings, by, value)[0] for value in values}  # refused before any is run
    found = []
    for value, case in cases.items():
        for execution in case.executions:
            row = dict(value=value, execution=execution, images=2 * case.batch_size)
            row.update(dict.fromkeys(('idle_mb', 'mb', 'read_by', 'seconds', 'failure')))
            options = ['--by', by, '--values', str(value)]
            try:
                row.update(measure_apart(case, execution, [*command, *options], limit))
            except RunFailed as error:
                row['failure'] = in_short(str(error).removeprefix(f'{execution}: '))
            found.append(row)
    return summarise(found)


def measure(settings: StepSettings, execution: str, by: str, value: int) -> dict[str, Any]:
    """What :func:`rdarts.measure.memory.measure` gives at one size, in this process."""
    case, space = grown(settings, by, value)
    return measure_here(case, execution, {} if space is None else {SPACE: space})


def size_of(by: str) -> Size:
    """What grows, by its key in :data:`SIZES`.

    Raises:
        UserError: There is no such key.
    """
    if by not in SIZES:
        raise UserError(f"--by: unknown size '{by}': {nearest(by, SIZES)}")
    return SIZES[by]


def grown(settings: StepSettings, by: str, value: int) -> tuple[StepSettings, SearchSpace | None]:
    """The settings, and the space where it is not theirs, at one size.

    Raises:
        UserError: The value is out of range, or the space cannot have it.
    """
    size = size_of(by)
    if size.setting is not None:
        return replace(settings, **{size.setting: value}).prepare(), None
    if value < 1:
        raise UserError(f'--values must be 1 or more, but one is {value}')
    space = build_space(settings.config().model.backbone.space)
    if space.genotype == 'layerwise':
        raise UserError(f'--by {by}: {settings.space} has layers, no cells')
    make = with_candidates if by == 'candidates' else with_nodes
    return settings, make(space, value)


def with_candidates(space: SearchSpace, count: int) -> SearchSpace:
    """A space with so many candidates on each edge: its own in turn, under a new name each round.

    ``none``, which does not run, is left out. Operations of the new names are registered.

    Args:
        space (SearchSpace): A space of cells.
        count (int): Candidates an edge.
    """
    arguments, free = dict(space.operation_args), set(space.parameter_free)

    def renamed(name: str, turn: int) -> str:
        if turn == 0:
            return name
        new = f'{name}_{turn + 1}'
        if new not in OPERATIONS.module_dict:
            OPERATIONS.register_module(name=new, module=lookup(name, OPERATIONS))
        if name in arguments:
            arguments[new] = arguments[name]
        if name in free:
            free.add(new)
        return new

    def repeated(names: Sequence[str]) -> tuple[str, ...]:
        run = [name for name in names if name != 'none'] or list(names)
        return tuple(renamed(run[i % len(run)], i // len(run)) for i in range(count))

    cells = {
        cell: replace(
            topology,
            edges=tuple(replace(e, candidates=repeated(e.candidates)) for e in topology.edges),
        )
        for cell, topology in space.cells.items()
    }
    names = {name for cell in cells.values() for edge in cell.edges for name in edge.candidates}
    kept = {name: args for name, args in arguments.items() if name in names}
    return replace(
        space, cells=cells, operation_args=kept, parameter_free=frozenset(free), costs=None
    )


def with_nodes(space: SearchSpace, count: int) -> SearchSpace:
    """A space with so many nodes in a cell beside its inputs, each of which reads all earlier ones.

    Args:
        space (SearchSpace): A space of cells whose nodes do so, with one list of candidates.
        count (int): Nodes of a cell that are no inputs.

    Raises:
        UserError: The space is another one.
    """
    cells = {}
    for cell, topology in space.cells.items():
        names, inputs = topology.edges[0].candidates, topology.num_inputs
        if topology != dense_cell(inputs, topology.num_nodes, names, topology.output):
            raise UserError(
                f"--by nodes: cell '{cell}' of {space.name} has edges with candidates of their "
                'own, or not all edges'
            )
        cells[cell] = dense_cell(inputs, inputs + count, names, topology.output)
    return replace(space, cells=cells, costs=None)


def summarise(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much more each size takes than the one before it.

    Args:
        found (Sequence[dict]): For each size and execution ``value``, ``execution``, ``images``
            (of both batches), what :func:`measure` gave, and ``failure``, why there is nothing of
            it, sizes in order.

    Returns:
        list[dict]: The same with ``us_an_image``; ``times``, seconds over those of the size
        before; and ``time_exponent``, the power of the size that seconds grow with: the
        logarithm of ``times`` over that of the sizes' quotient. Likewise ``memories`` and
        ``memory_exponent``. ``None`` at the first size, where memory did not move, and of what was
        not measured.
    """
    rows = []
    last: dict[str, dict[str, Any]] = {}
    for one in found:
        before = last.get(one['execution'], {})
        times = divide(one['seconds'], before.get('seconds'))
        # a step that is tiny may take its memory from what the process has
        memories = divide(one['mb'], before.get('mb') or None)
        us = None if one['seconds'] is None else 1e6 * one['seconds'] / one['images']
        step = divide(one['value'], before.get('value'))
        rows.append(
            dict(
                one,
                us_an_image=us,
                times=times,
                time_exponent=_exponent(times, step),
                memories=memories,
                memory_exponent=_exponent(memories, step),
            )
        )
        last[one['execution']] = one
    return rows


def _exponent(quotient: float | None, step: float | None) -> float | None:
    if quotient is None or quotient <= 0:
        return None
    return math.log(quotient) / math.log(step)


def as_tables(settings: StepSettings, by: str, rows: Sequence[dict[str, Any]]) -> list[Table]:
    """What :func:`growth` gave, for people: a table for each execution."""
    seconds = 'core s' if settings.processor_time else 's'
    header = [
        SIZES[by].title,
        f'{seconds} a step',
        'us an image',
        'x before',
        'exponent',
        'MB',
        'x before',
        'exponent',
    ]
    keys = (
        ('seconds', '.4f'),
        ('us_an_image', ',.0f'),
        ('times', '.2f'),
        ('time_exponent', '.2f'),
        ('mb', ',.0f'),
        ('memories', '.2f'),
        ('memory_exponent', '.2f'),
    )
    tables = []
    for execution in settings.executions:
        cells = []
        for row in rows:
            if row['execution'] == execution:
                found = [_cell(row[key], form) for key, form in keys]
                found[0] = row['failure'] or found[0]
                cells.append([str(row['value']), *found])
        title = f'{execution}, by {SIZES[by].title}: {heading(settings)}; {cpu_model()}'
        tables.append(Table(f'growth_{by}_{execution}', title, header, cells))
    return tables


def _cell(value: float | None, form: str) -> str:
    return '' if value is None else format(value, form)
