"""Methods run over seeds, and compared by what they find."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rdarts.apis.dry_run import dry_run
from rdarts.benchmarks import NASBench201, open_table
from rdarts.configuration.load import check_model, load_config
from rdarts.configuration.options import parse_options
from rdarts.configuration.phases import split
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir
from rdarts.errors import UserError
from rdarts.results.queries import that_asks
from rdarts.search_spaces import build_space
from rdarts.study.comparison_files import publish, shown_runs, write_picture
from rdarts.study.counted import count_table, counts
from rdarts.study.executors.base import Executor
from rdarts.study.executors.local import LocalExecutor
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
    seconds_left,
)
from rdarts.study.statistics import baselines
from rdarts.study.tables import wrapped
from rdarts.utils.machine import share_of_cores


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
    if not any(methods.values()):
        reason = next((f'{name}: {error}' for name, error in failed.items()), 'none has ended')
        raise UserError(
            f'no run can be shown ({reason}); their logs are in {folder}/CONFIG/seed_N/run.log'
        )
    if table is not None:
        constants = baselines(table, plan.random or 10)
        price = Price(table, plan.query_seconds)
        tables, note, data = report_cells(methods, constants, groups, price)
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


class Checked(NamedTuple):
    """What a comparison needs, each config loaded once.

    Args:
        searches (dict[str, Config]): By entry of :attr:`Comparison.configs`.
        trainings (dict[str, Config]): By config of :attr:`Comparison.trainings`.
        table (NASBench201, optional): Where the cells are looked up, in spaces that have a table.
    """

    searches: dict[str, Any]
    trainings: dict[str, Any]
    table: NASBench201 | None


def check(plan: Comparison) -> Checked:
    """Find what is wrong before anything runs.

    Raises:
        UserError: Something does not fit.
    """
    for name in ('seeds', 'jobs', 'random'):
        value = getattr(plan, name)
        if value is not None and value < 1:
            raise UserError(f'--{name} must be 1 or more, but is {value}')
    if plan.first_seed < 0:
        raise UserError(f'--first-seed must be 0 or more, but is {plan.first_seed}')
    stems = [Path(config).stem for config in plan.configs]
    if len(set(stems)) != len(stems):
        raise UserError(f'configs must have names of their own, but are {", ".join(stems)}')
    loaded = {
        c: load_config(plan.config_of(c), parse_options(plan.options_of(c))) for c in plan.configs
    }
    spaces = {
        c: ((cfg.model or {}).get('backbone') or {}).get('space') for c, cfg in loaded.items()
    }
    for config, space in spaces.items():
        if space is None:
            raise UserError(f'{config} is no search: its backbone has no space')
    with_table = [build_space(space).table is not None for space in spaces.values()]
    if any(with_table) and not all(with_table):
        raise UserError(
            'runs of different spaces cannot be compared: NAS-Bench-201 is looked up in a table, '
            'other spaces are retrained'
        )
    looked_up = with_table[0]
    of_study = any(row.retrain for row in plan.rows.values())
    retrain = 'study.retrain' if of_study else '--retrain'
    for wrong, message in (
        (plan.without_none and not looked_up,
         '--without-none is for NAS-Bench-201: cells of other spaces hold no none'),
        (plan.without_none and any(that_asks(c.to_dict(), split(c)) for c in loaded.values()),
         '--without-none is for searches with alpha: one that asks has no weights to leave none '
         'out of'),
        (plan.table and not looked_up, '--table is for NAS-Bench-201: other spaces have none'),
        (plan.query_seconds is not None and not looked_up,
         '--query-seconds is for NAS-Bench-201: local search is not asked in other spaces'),
        (plan.query_seconds is not None and not 0 < plan.query_seconds < math.inf,
         f'--query-seconds must be above 0, but is {plan.query_seconds}'),
        (plan.random and not looked_up,
         '--random is for NAS-Bench-201: cells of other spaces are in no table'),
        (plan.checkpoints and (plan.trainings or looked_up),
         '--checkpoints is for spaces without a table, and instead of ' + retrain),
        (plan.trainings and looked_up,
         f'{retrain} is for spaces without a table: NAS-Bench-201 is looked up in one'),
        (plan.retrain_options and not plan.trainings,
         '--retrain-options needs --retrain CONFIG'),
        (plan.cfg_options and plan.checkpoints,
         '--cfg-options are of searches: --checkpoints searches nothing'),
    ):  # fmt: skip
        if wrong:
            raise UserError(message)
    options = parse_options(plan.retrain_options)
    trainings = {config: load_config(config, options) for config in plan.trainings}
    for config, cfg in trainings.items():
        if 'genotype' not in ((cfg.get('model') or {}).get('backbone') or {}):
            raise UserError(
                f'--retrain {config}: its network takes no genotype: use a config of '
                'configs/retrain'
            )
    return Checked(loaded, trainings, find_benchmark(plan.table) if looked_up else None)


def find_benchmark(path: str | None) -> NASBench201:
    """The NAS-Bench-201 table.

    Args:
        path (str, optional): Its folder or file. Defaults to where the data are.

    Raises:
        UserError: There is none.
    """
    found = open_table(path)
    if found is None:
        raise UserError(
            'no NAS-Bench-201 table: put nasbench201.csv.gz into data/nasbench201, set RDARTS_DATA '
            'or --table'
        )
    return found


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


def expect(
    plan: Comparison, measures: bool = True, places: int | None = 1, cores: int | None = None
) -> None:
    """List the runs, and measure what one of each config would take; nothing is run.

    Args:
        plan (Comparison): What is compared.
        measures (bool): Whether it is measured. Defaults to True.
        places (int, optional): How many run at a time; None: as many as a cluster takes, so that
            the time of all is not known. Defaults to 1.
        cores (int, optional): Of a run. Defaults to a share of those of this machine.

    Raises:
        UserError: Something does not fit.
    """
    loaded, trainings, _ = check(plan)
    groups_of(loaded)
    found = evaluations(plan) if plan.checkpoints else searches(plan, loaded)
    mine = share_of_cores(places or 1)
    torch.set_num_threads(mine if cores is None else min(cores, share_of_cores(1)))
    measured: dict[str, dict[str, Any]] = {}
    lines, total = [], 0.0
    for search in found:
        state = search.run.state()
        cost = 0.0 if state == 'done' else None
        if state != 'done' and measures and not plan.checkpoints:
            if search.config not in measured:
                cfg = copy.deepcopy(loaded[search.config])
                check_model(cfg)
                cfg.work_dir = str(search.run.folder)  # where nothing is written
                print(f'{search.config}:')
                measured[search.config] = dry_run(cfg)
            cost = seconds_left(search.run, loaded[search.config], measured[search.config])
        total += cost or 0.0
        lines.append((state, search.run.name, cost))
        if plan.retrain_of(search.config):
            ended = [search] if state == 'done' else []
            known = list(retrainings(plan, ended, trainings).values())
            state = known[0].state() if known else 'new'
            name = f'{search.method}, seed {search.seed} (retraining)'
            lines.append((state, name, 0.0 if state == 'done' else None))
    for one in counts(plan, [search for search in found if search.run.state() == 'done']):
        lines.append((one.run.state(), one.run.name, None))
    width = max(len(name) for _, name, _ in lines)
    for state, name, cost in lines:
        left = 'not measured' if cost is None else str(datetime.timedelta(seconds=round(cost)))
        print(f'{state:<7} {name:<{width}}  {left}')
    for name, reason in plan.absent.items():
        print(wrapped(f'no run  {name}: {reason}'))
    if plan.remark:
        print(wrapped(plan.remark))
    if not measures or places is None:
        return
    total = datetime.timedelta(seconds=round(total / places))
    at_a_time = 'one after another' if places == 1 else f'{places} at a time'
    print(f'expected: {total} for the searches, {at_a_time}')
