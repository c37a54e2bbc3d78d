"""What is wrong with a comparison, found before anything runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from rdarts.benchmarks import NASBench201, open_table
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.configuration.phases import split
from rdarts.errors import UserError
from rdarts.results.queries import that_asks
from rdarts.search_spaces import build_space
from rdarts.study.searches import Comparison


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
    loaded = {config: _load(plan, config) for config in plan.configs}
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


def _load(plan: Comparison, entry: str) -> Any:
    """A config of a search; an error names the row of a study, whose options are of the study."""
    try:
        return load_config(plan.config_of(entry), parse_options(plan.options_of(entry)))
    except UserError as error:
        if entry not in plan.rows:
            raise
        raise UserError(f'{Path(entry).stem}: {error}') from None


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
