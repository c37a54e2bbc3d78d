"""Methods run over seeds, and compared by what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rdarts.benchmarks import NASBench201
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir
from rdarts.errors import UserError
from rdarts.results.series import DATASET_NAMES
from rdarts.study.checks import check
from rdarts.study.comparison_files import publish, require_shown, shown_runs, write_picture
from rdarts.study.counted import count_table, counts
from rdarts.study.executors.base import Executor
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.expectation import expect
from rdarts.study.figures import (
    WITHOUT_NONE,
    Figures,
    look_up,
    read_evaluation,
    read_retraining,
    read_search,
)
from rdarts.study.price import Price
from rdarts.study.queue import RETRIES, cancel_all, run_all
from rdarts.study.result_tables import (
    cell_ranks,
    groups_of,
    network_ranks,
    report_cells,
    report_networks,
)
from rdarts.study.run import Run
from rdarts.study.searches import (
    Comparison,
    Search,
    evaluations,
    retrainings,
    searches,
)
from rdarts.study.statistics import baselines
from rdarts.study.tables import note_of, wrapped

__all__ = ['cancel', 'compare', 'expect', 'read_all']


def compare(
    plan: Comparison,
    wide: bool = False,
    executor: Executor | None = None,
    retries: int = RETRIES,
) -> int:
    """Run what has not ended, and print and write the tables.

    Args:
        plan (Comparison): What is compared.
        wide (bool): Whether every column is printed, as the files have them, instead of what fits
            100 characters. Defaults to False.
        executor (Executor, optional): What runs the runs. Defaults to processes of this machine.
        retries (int): How often a run goes on that a machine or a queue has ended. Defaults to 3.

    Returns:
        int: 0, or 1 where a run has failed.

    Raises:
        UserError: Something does not fit, or no run can be shown.
    """
    loaded, trainings, table = check(plan)
    groups = groups_of(loaded)
    found = evaluations(plan) if plan.checkpoints else searches(plan, loaded)
    lock_work_dir(plan.work_dir)
    folder = prepare_work_dir(plan.work_dir, keep=True)
    executor = executor or LocalExecutor(plan.jobs)
    by_folder = {search.run.folder: search for search in found}
    trained: dict[Path, Run] = {}
    lacked = [] if table is None else _lacked(table)
    for line in lacked:
        print(wrapped(f'warning: {line}'))

    def retrain(run: Run) -> list[Run]:
        ended = [by_folder[run.folder]] if run.folder in by_folder else []
        new = retrainings(plan, ended, trainings)
        trained.update(new)
        return list(new.values())

    run_all([search.run for search in found], executor, retries, retrain)
    ended = [search for search in found if search.run.state() == 'done']
    methods = read_all(plan, ended, trained, table)
    counted = counts(plan, ended)
    run_all([one.run for one in counted], executor, retries)
    complexity = count_table(plan, counted)
    failed = {
        run.name: run.error
        for run in (
            *(search.run for search in found),
            *trained.values(),
            *(one.run for one in counted),
        )
        if run.error
    }
    logs = f'their logs are in {folder}/CONFIG/seed_N/run.log'
    require_shown(any(methods.values()), failed, logs)
    if table is not None:
        constants = baselines(table, plan.random or 10)
        price = Price(table, plan.query_seconds)
        tables, note, data = report_cells(methods, constants, groups, price)
        note += note_of(lacked)
    else:
        tables, note, data = report_networks(methods, groups)
        if not plan.trainings and not plan.checkpoints:
            note += 'Not retrained: --retrain CONFIG trains the cells.\n'
    ranks = (cell_ranks if table is not None else network_ranks)(methods, groups)
    if ranks is not None:
        tables.append(ranks.table)
        note += ranks.note
        data['ranks'] = ranks.as_data()
    if complexity is not None:
        tables.append(complexity[0])
        data['complexity'] = complexity[1]
    write_picture(folder, ranks, plan.remark)
    return publish(
        plan,
        folder,
        tables,
        note,
        dict(methods=methods, **data),
        failed,
        wide,
        shown_runs(plan, methods, ended),
        table,
    )


def cancel(plan: Comparison, executor: Executor) -> None:
    """End the jobs of a comparison that an earlier command has left running.

    Args:
        plan (Comparison): What is compared.
        executor (Executor): What runs them.

    Raises:
        UserError: Something does not fit.
    """
    loaded, trainings, _ = check(plan)
    found = evaluations(plan) if plan.checkpoints else searches(plan, loaded)
    lock_work_dir(plan.work_dir)
    runs = [search.run for search in found]
    ended = [search for search in found if search.run.state(executor) == 'done']
    if plan.trainings:
        runs += retrainings(plan, ended, trainings).values()
    runs += [one.run for one in counts(plan, ended)]
    cancel_all(runs, executor)


def _lacked(table: NASBench201) -> list[str]:
    """A line for each data set that a table lacks."""
    return [
        f'the table {table.path} lacks {name}: its columns stay empty, and a search that asks '
        'for it fails'
        for key, name in DATASET_NAMES.items()
        if key not in table.datasets
    ]


def read_all(
    plan: Comparison,
    ended: Sequence[Search],
    trained: Mapping[Path, Run],
    table: NASBench201 | None,
) -> dict[str, dict[int, Figures]]:
    """Method -> seed -> what was found; a run that cannot be read has its error."""
    methods: dict[str, dict[int, Figures]] = {}
    for name in (Path(config).stem for config in plan.configs):
        methods[name] = {}
        if plan.without_none:
            methods[f'{name}{WITHOUT_NONE}'] = {}
    for search in ended:
        run, name = search.run, search.method
        try:
            if plan.checkpoints:
                figures = read_evaluation(run.folder, Path(run.settings['source']))
            else:
                figures = read_search(run.folder)
            if table is not None:
                figures = look_up(figures, table)
            methods[name][search.seed] = figures
            if plan.without_none:
                figures = look_up(read_search(run.folder, without_none=True), table)
                methods[f'{name}{WITHOUT_NONE}'][search.seed] = figures
        except UserError as error:
            run.error = str(error)
            continue
        training = trained.get(run.folder)
        if training is not None and training.state() == 'done':
            try:
                figures.update(read_retraining(training.folder))
            except UserError as error:
                training.error = str(error)
    return methods
