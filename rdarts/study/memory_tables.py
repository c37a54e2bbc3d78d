"""What a study of memory runs, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir
from rdarts.errors import UserError
from rdarts.study.comparison_files import publish, require_shown
from rdarts.study.executors.base import Executor
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.memory_study import MemoryStudy, measurements, row_name
from rdarts.study.queue import RETRIES, cancel_all, run_all
from rdarts.study.remarks import print_remarks
from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, note_of
from rdarts.study.tool_runs import read_result

ALIKE = 0.03  # of the lower of two: one network measured twice differs by up to 2 %
Found = dict[tuple[str, str], dict[str, dict[int, dict[str, Any]]]]
"""Space and method -> execution -> seed -> what the tool printed."""


def compare(
    plan: MemoryStudy,
    wide: bool = False,
    executor: Executor | None = None,
    retries: int = RETRIES,
) -> int:
    """Measure what has not been, and print and write the table.

    Args:
        plan (MemoryStudy): What is measured.
        wide (bool): Whether lines may be longer than 100 characters. Defaults to False.
        executor (Executor, optional): What runs the runs. Defaults to processes of this machine.
        retries (int): How often a run is started again that a machine or a queue has ended.
            Defaults to 3.

    Returns:
        int: 0, or 1 where a run has failed.

    Raises:
        UserError: Something does not fit, or no run can be shown.
    """
    measured = measurements(plan)
    lock_work_dir(plan.work_dir)
    folder = prepare_work_dir(plan.work_dir, keep=True)
    runs = [one.run for one in measured]
    run_all(runs, executor or LocalExecutor(plan.jobs), retries)
    found: Found = {}
    for one in measured:
        if one.run.state() != 'done':
            continue
        try:
            result = read_result(one.run)
            result['mb'] = float(result[f'{one.execution}_mb'])
        except (UserError, KeyError, TypeError, ValueError) as error:
            one.run.error = str(error) if isinstance(error, UserError) else 'its result has no MB'
            continue
        executions = found.setdefault((one.space, one.method), {})
        executions.setdefault(one.execution, {})[one.seed] = result
    failed = {run.name: run.error for run in runs if run.error}
    require_shown(found, failed, f'each has its run.log in {folder}')
    shown = {row_name(*pair): executions for pair, executions in found.items()}
    data = dict(memory=shown, published=plan.published)
    table = memory_table(plan, found)
    return publish(plan, folder, [table], note_on(found), data, failed, wide)


def cancel(plan: MemoryStudy, executor: Executor) -> None:
    """End the jobs of a study that an earlier command has left running.

    Args:
        plan (MemoryStudy): What is measured.
        executor (Executor): What runs them.
    """
    measured = measurements(plan)
    lock_work_dir(plan.work_dir)
    cancel_all([one.run for one in measured], executor)


def expect(
    plan: MemoryStudy, measures: bool = True, places: int | None = 1, cores: int | None = None
) -> None:
    """List the runs; each is a few steps, so that what it takes is not measured before.

    Args:
        plan (MemoryStudy): What is measured.
        measures (bool): Without a meaning here, as what follows. Defaults to True.
        places (int, optional): How many run at a time. Defaults to 1.
        cores (int, optional): Of each run. Defaults to its share of this machine's.
    """
    for one in measurements(plan):
        print(f'{one.run.state():<7} {one.run.name}')
    print_remarks(plan)


def memory_table(plan: MemoryStudy, found: Found) -> Table:
    """A row for each space and method: peak memory and its place among the methods of the space.

    Args:
        plan (MemoryStudy): What is measured.
        found (Found): What was measured.
    """
    names = list(plan.executions)
    published = any(plan.published.get(space) for space in plan.spaces)
    header = ['space: method']
    for name in [*names, *(['published'] if published else [])]:
        header += [f'{name} (MB)', 'place']
    rows = []
    for space in plan.spaces:
        methods = [method for at, method in plan.rows if at == space]
        columns: list[dict[str, Summary]] = []
        for name in names:
            seeds = {m: found.get((space, m), {}).get(name, {}) for m in methods}
            columns.append(
                {m: Summary.of([v['mb'] for v in of.values()]) for m, of in seeds.items() if of}
            )
        if published:
            values = plan.published.get(space, {})
            columns.append({m: Summary.of([values[m]]) for m in methods if m in values})
        ranked = [places({m: s.mean for m, s in column.items()}) for column in columns]
        for method in methods:
            row = [row_name(space, method)]
            for column, ranks in zip(columns, ranked, strict=True):
                row += [_text(column.get(method)), str(ranks.get(method, '-'))]
            rows.append(row)
    return Table('memory', 'Peak memory of a search step, on the CPU', header, rows)


def places(values: Mapping[str, float]) -> dict[str, int]:
    """The place of each, the least being 1; what is within 3 % of the least of a place shares it.

    Args:
        values (Mapping[str, float]): By name.
    """
    found: dict[str, int] = {}
    last: tuple[float, int] | None = None  # the least value of a place, and the place
    for count, name in enumerate(sorted(values, key=values.__getitem__), 1):
        if last is None or values[name] > last[0] * (1 + ALIKE):
            last = (values[name], count)
        found[name] = last[1]
    return found


def _text(value: Summary | None) -> str:
    if value is None:
        return '-'
    deviation = '' if value.deviation is None else f' ± {value.deviation:.1f}'
    return f'{value.mean:.1f}{deviation}'


def note_on(found: Found) -> str:
    """What the figures are, and of which CPUs."""
    results = [r for of in found.values() for seeds in of.values() for r in seeds.values()]
    cpus = sorted({str(result.get('cpu', 'unknown')) for result in results})
    sizes = sorted(
        {
            f'batch {r.get("batch_size")}, {r.get("width")} channels, {r.get("image_size")} pixels'
            for r in results
        }
    )
    depths = sorted({f'{r.get("space")} depth {r.get("depth")}' for r in results})
    return note_of(
        [
            'MB of 2^20 bytes above the idle process: model, optimizers and two batches are built, '
            'no step was taken. Place 1 needs least; within 3 % of the least of a place, methods '
            'share it.',
            f'Measured with {"; ".join(sizes)}; {", ".join(depths)}; on {" and ".join(cpus)}.',
        ]
    )
