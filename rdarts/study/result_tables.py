"""The tables of a comparison: accuracies, errors after retraining, differences of methods."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.registry import DATASETS
from rdarts.results.search_run import dataset_name
from rdarts.search_spaces import build_space
from rdarts.study.figures import WITHOUT_NONE, Figures
from rdarts.study.found_cells import about_runs, found_table, margin_text, were_cut
from rdarts.study.price import Price
from rdarts.study.ranks import Ranks
from rdarts.study.statistics import COLUMNS, TOO_FEW, Summary, differences
from rdarts.study.tables import Table, percent
from rdarts.utils.wording import plural

SHORT = {'cifar10': 'C10', 'cifar100': 'C100', 'imagenet16_120': 'IN16'}
TESTS = [f'{short} test (%)' for short in SHORT.values()]  # names of columns


def accuracy_table(
    methods: Mapping[str, Mapping[int, Figures]],
    constants: Mapping[str, Any],
    price: Price | None = None,
) -> Table:
    """Table 1: rows of what needs no search, then of the methods."""
    datasets = list(dict.fromkeys(dataset for dataset, _ in COLUMNS))
    header = ['method']
    header += [f'{SHORT[dataset]} {split} (%)' for dataset, split in COLUMNS]
    header += [f'best {SHORT[dataset]} test' for dataset in datasets]
    queries = queries_of(methods)
    header += ['skips', *queries, 'steps', 'time', 'memory (MB)']
    header += [*(price.columns if price else []), 'margin', 'seeds']
    rows = []
    for name, values in constants.items():
        cells = [percent(values.get(f'{dataset}_{split}')) for dataset, split in COLUMNS]
        rows.append([name, *cells])
    for name, found in methods.items():
        cells = [percent(of(found, f'{d}_{s}')) for d, s in COLUMNS]
        best = [of(found, f'{dataset}_test') for dataset in datasets]
        cells += ['-' if summary is None else f'{summary.best:.2f}' for summary in best]
        beside = costs(found, bool(queries)) + (price.cells(found) if price else [])
        rows.append([name, *cells, *beside, least_margin(found), str(len(found))])
    rows = [row + ['-'] * (len(header) - len(row)) for row in rows]
    title = 'NAS-Bench-201, accuracy of the cells found (mean ± deviation over seeds)'
    table = Table('methods', title, header, rows)
    # for both there is no room
    short = table.only(['method', *TESTS, *(queries or ['skips']), 'time', 'seeds'])
    return replace(table, short=short)


def quartile_table(constants: Mapping[str, Any]) -> Table:
    """What a cell drawn at random reaches."""
    header = ['random cell', *(f'{SHORT[dataset]} {split} (%)' for dataset, split in COLUMNS)]
    cell, columns = constants['random cell'], [f'{dataset}_{split}' for dataset, split in COLUMNS]
    names = dict(quartile_1='lower quartile', median='median', quartile_3='upper quartile')
    rows = [
        [name, *(f'{cell[k][key]:.2f}' if k in cell else '-' for k in columns)]
        for key, name in names.items()
    ]
    table = Table('random_cell', 'A random cell, at its quartiles', header, rows)
    return replace(table, short=table.only(['random cell', *TESTS]))


def error_table(
    methods: Mapping[str, Mapping[int, Figures]], groups: Mapping[str, tuple[str, str]]
) -> Table:
    """Of spaces without a table: test error after retraining.

    Args:
        methods (dict): Config -> seed -> figures.
        groups (dict[str, tuple[str, str]]): Config -> its row (space and data set) and its method.

    Returns:
        Table: A row for each space and data set, with columns for each method, the top-5 error
        among them where it was measured. The short one is
        without steps, memory and margins; its own has a row for each method.
    """
    names = list(dict.fromkeys(method for _, method in groups.values()))
    queries = queries_of(methods)
    with_top_5 = any('error_top5' in v for found in methods.values() for v in found.values())
    columns = ['error (%)', 'best (%)', *['top-5 error (%)'] * with_top_5]
    columns += ['parameters (M)', 'skips', *queries, 'steps', 'time']
    columns += ['memory (MB)', 'margin', 'seeds']
    width = len(columns)
    header = ['space, data set']
    for name in names:
        header += [f'{name}: {columns[0]}', *columns[1:]]
    rows: dict[str, list[str]] = {}
    short = []
    for config, (row, method) in groups.items():
        cells = rows.setdefault(row, [row, *['-'] * (width * len(names))])
        found = methods[config]
        known = [v['error'] for v in found.values() if v.get('error') is not None]
        values = [percent(of(found, 'error')), f'{min(known):.2f}' if known else '-']
        values += [percent(of(found, 'error_top5'))] * with_top_5
        values += [percent(of(found, 'parameters', 1e-6)), *costs(found, bool(queries))]
        values += [least_margin(found), str(len(known or found))]
        start = 1 + width * names.index(method)
        cells[start : start + width] = values
        short.append([f'{row}: {method}', *values])
    title = 'Test error after retraining'
    by_method = Table('methods', title, ['space, data set: method', *columns], short)
    # for the others there is no room
    wide = ('steps', 'memory (MB)', 'margin', 'top-5 error (%)')
    by_method = by_method.only([name for name in by_method.header if name not in wide])
    kept = [at for at, name in enumerate(header) if name not in wide]
    lines = [[header[at] for at in kept], *([row[at] for at in kept] for row in rows.values())]
    narrow = Table('methods', title, lines[0], lines[1:], by_method)
    return Table('methods', title, header, list(rows.values()), narrow)


def difference_tables(name: str, title: str, found: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Differences with a 95 % interval: of methods over seeds, and to what needs no search.

    Returns:
        list[Table]: One; none where no two runs are paired.
    """
    if all(row['difference'] is None for row in found):
        return []
    rows = []
    for row in found:
        cells = [f'{row["left"]} - {row["right"]}', '-', '-', str(row['pairs']), row['verdict']]
        if row['difference'] is not None:
            cells[1:3] = [f'{row["difference"]:+.2f}', f'{row["low"]:+.2f} to {row["high"]:+.2f}']
        rows.append(cells)
    header = ['difference', 'mean', '95 % interval', 'pairs', 'verdict']
    return [Table(name, title, header, rows)]


def data_names(kind: str) -> tuple[str, str]:
    """How names of configs and tables call a data set, as its class says: or by its type.

    Args:
        kind (str): The class in ``DATASETS``; a subclass does not take over what its parent says.
    """
    DATASETS.import_from_location()
    said = vars(DATASETS.module_dict.get(kind, object))
    return said.get('config_name', kind), said.get('title', kind)


def group_of(config: str, cfg: Any) -> tuple[str, str]:
    """The space and data set of a config, and its name without them: the method."""
    built = build_space(cfg.model.backbone.space)
    space = built.name
    dataset = dataset_name(cfg)
    token, name = data_names(dataset)
    method = f'_{Path(config).stem}'
    # from the end: in `darts_darts_c10` the first is the method
    for word in (token, built.config_name or space):
        at = [m.start() for m in re.finditer(rf'_{re.escape(word)}(?=_|$)', method)]
        if at and at[-1] > 0:
            method = method[: at[-1]] + method[at[-1] + len(word) + 1 :]
    return f'{space}, {name}', method[1:]


def groups_of(loaded: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Config's name -> :func:`group_of`.

    Raises:
        UserError: Two have one place in the table.
    """
    found: dict[str, tuple[str, str]] = {}
    for config, cfg in loaded.items():
        name, group = Path(config).stem, group_of(config, cfg)
        same = [other for other, taken in found.items() if taken == group]
        if same:
            raise UserError(
                f'{same[0]} and {name} are both {group[1]} in {group[0]}: give one another name'
            )
        found[name] = group
    return found


def of(found: Mapping[int, Figures], key: str, unit: float = 1.0) -> Summary | None:
    """Over the seeds that have it; None where none has."""
    values = [v[key] * unit for v in found.values() if v.get(key) is not None]
    return Summary.of(values) if values else None


def queries_of(methods: Mapping[str, Mapping[int, Figures]]) -> list[str]:
    """The name of a column of queries, where a search has asked."""
    asked = any('queries' in figures for found in methods.values() for figures in found.values())
    return ['queries'] if asked else []


def costs(found: Mapping[int, Figures], queries: bool = False) -> list[str]:
    """Skip connections, steps with gradients, time of a search (marked by a limit), peak memory.

    Args:
        found (dict[int, Figures]): Of each seed.
        queries (bool): Whether queries stand behind the skip connections. Defaults to False.
    """
    skips, seconds, memory = (of(found, k) for k in ('skip_connections', 'seconds', 'memory_mb'))
    asked, steps = of(found, 'queries'), of(found, 'steps')
    return [
        f'{skips.mean:.1f}' if skips else '-',
        *([f'{asked.mean:,.0f}' if asked else '-'] if queries else []),
        f'{steps.mean:,.0f}' if steps else '-',
        (duration(seconds.mean) + ' †' * bool(were_cut(found))) if seconds else '-',
        f'{memory.best:,.0f}' if memory else '-',
    ]


def least_margin(found: Mapping[int, Figures]) -> str:
    """The smallest margin of any seed, marked where rounding may have decided."""
    margins = [v['margin'] for v in found.values() if v.get('margin') is not None]
    return margin_text(min(margins, default=None))


def duration(seconds: float) -> str:
    """As hours, minutes and seconds; in hundredths of one where it is short."""
    return f'{seconds:.2f} s' if seconds < 1 else str(datetime.timedelta(seconds=round(seconds)))


def report_cells(
    methods: Mapping[str, Mapping[int, Figures]],
    constants: Mapping[str, Any],
    groups: Mapping[str, tuple[str, str]],
    price: Price | None = None,
) -> tuple[list[Table], str, dict[str, Any]]:
    """Tables, note and data of cells that were looked up.

    Seeds are paired of methods that searched on the same data.

    Args:
        methods (dict): Config -> seed -> figures; with :data:`WITHOUT_NONE` behind it, those of the
            cells without ``none``.
        constants (dict): What needs no search.
        groups (dict[str, tuple[str, str]]): Config -> its space and data set, and its method.
        price (Price, optional): What the price of a search is compared with. Defaults to none.
    """
    tables, found = [accuracy_table(methods, constants, price)], []
    places = {name: groups[name.removesuffix(WITHOUT_NONE)][0] for name in methods}
    for dataset, short in _looked_up(methods).items():
        key = f'{dataset}_test'
        others = {name: of[key]['mean'] for name, of in constants.items() if name != 'optimal'}
        rows = []
        for place in dict.fromkeys(places.values()):
            values = {
                name: {seed: figures[key] for seed, figures in seeds.items()}
                for name, seeds in methods.items()
                if places[name] == place
            }
            rows += differences(values, others)
        title = f'{short} test accuracy, paired by seed'
        tables += difference_tables(f'differences_{short.lower()}', title, rows)
        found += [dict(dataset=dataset, **row) for row in rows]
    tables += [quartile_table(constants), found_table(methods)]
    note = about(found) + about_runs(methods) + (price.note if price else '')
    return tables, note, dict(baselines=constants, differences=found)


def report_networks(
    methods: Mapping[str, Mapping[int, Figures]], groups: Mapping[str, tuple[str, str]]
) -> tuple[list[Table], str, dict[str, Any]]:
    """Tables, note and data of cells that were retrained."""
    tables, found = [error_table(methods, groups)], []
    for row in dict.fromkeys(row for row, _ in groups.values()):
        values = {
            name: {s: v['error'] for s, v in methods[name].items() if v.get('error') is not None}
            for name, group in groups.items()
            if group[0] == row
        }
        if len(values) > 1:
            rows = differences(values, {})
            name = 'differences_' + re.sub(r'\W+', '_', row).lower()
            tables += difference_tables(name, f'Test error, paired by seed ({row})', rows)
            found += [dict(row=row, **one) for one in rows]
    tables.append(found_table(methods))
    return tables, about(found) + about_runs(methods), dict(differences=found)


def cell_ranks(
    methods: Mapping[str, Mapping[int, Figures]], groups: Mapping[str, tuple[str, str]]
) -> Ranks | None:
    """Methods ranked by the test accuracies of what was looked up.

    The data that were searched on are a part of a search, and the cells without ``none`` are no
    method of their own: each comes of the same search as another one.
    """
    results: dict[str, dict[tuple[str, int], list[float]]] = {}
    names = _looked_up(methods)
    for config, (row, method) in groups.items():
        own = results.setdefault(method, {})
        for seed, figures in methods[config].items():
            own[row, seed] = [figures[f'{dataset}_test'] for dataset in names]
    return Ranks.of(results, list(names.values()), largest_first=True)


def _looked_up(methods: Mapping[str, Mapping[int, Figures]]) -> dict[str, str]:
    """The data sets that the table has, and their short names."""
    found = {key for seeds in methods.values() for figures in seeds.values() for key in figures}
    return {dataset: short for dataset, short in SHORT.items() if f'{dataset}_test' in found}


def network_ranks(
    methods: Mapping[str, Mapping[int, Figures]], groups: Mapping[str, tuple[str, str]]
) -> Ranks | None:
    """Methods ranked by test error, each space and data set with each seed a search."""
    results: dict[str, dict[tuple[str, int], list[float]]] = {}
    for config, (row, method) in groups.items():
        own = results.setdefault(method, {})
        for seed, figures in methods[config].items():
            if figures.get('error') is not None:
                own[row, seed] = [figures['error']]
    return Ranks.of(results, ['error'], largest_first=False)


def about(found: Sequence[Mapping[str, Any]]) -> str:
    """What differences need, or how many would be shown where there is none."""
    if found and all(row['difference'] is None for row in found):
        return '\nDifferences between methods need two seeds, and an interval five.\n'
    count = sum(row['verdict'] != TOO_FEW for row in found)
    if not count:
        return ''
    return (
        f'\nOf {plural(count, "difference")}, chance alone puts about '
        f'{0.05 * count:.1f} outside of a 95 % '
        'interval.\n'
    )
