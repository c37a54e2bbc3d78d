"""Run methods over seeds, and compare the cells that they find.

Each (config, seed) is a search in a folder of its own, WORK_DIR/CONFIG/seed_SEED. What has ended is
not run again, what was interrupted goes on. Cells of NAS-Bench-201 are looked up in the table;
those of other spaces are trained by --retrain, or taken trained from --checkpoints.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs of searches')
    parser.add_argument('--seeds', type=int, default=10, metavar='N', help='seeds (default: 10)')
    parser.add_argument(
        '--first-seed',
        type=int,
        default=0,
        metavar='K',
        help='seeds K to K + N - 1, such as the share of one of several machines (default: 0)',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at a time, each on a GPU of its own where there are several (default: 1)',
    )
    parser.add_argument('--work-dir', default='work_dirs/compare', help='(default: %(default)s)')
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    parser.add_argument(
        '--random', type=int, metavar='K', help='best of K random cells (default: 10)'
    )
    parser.add_argument(
        '--without-none',
        action='store_true',
        help='beside each method also the cell that its last weights give where `none` is left out',
    )
    parser.add_argument(
        '--retrain', metavar='CONFIG', help='how to train found cells of spaces without a table'
    )
    parser.add_argument(
        '--checkpoints',
        metavar='DIR',
        help='instead of searching and training: evaluate the networks in DIR/CONFIG/seed_SEED, '
        'work directories of retrainings',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='options of every search, as of tools/train.py',
    )
    parser.add_argument(
        '--retrain-options', nargs='+', default=[], metavar='KEY=VALUE', help='of every retraining'
    )
    parser.add_argument(
        '--wide',
        action='store_true',
        help='print every column, as the files have them, instead of what fits 100 characters',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='list the runs and the time that they would take'
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import torch

from rdarts.architect.discretizers import Argmax
from rdarts.benchmarks import NASBench201, open_table
from rdarts.checkpoint.directory import list_checkpoints
from rdarts.configuration.as_data import FILE as CONFIG
from rdarts.configuration.as_data import entry, read_config
from rdarts.configuration.load import check_model, load_config
from rdarts.configuration.options import parse_options
from rdarts.deploy.description import planned_network
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir
from rdarts.errors import UserError
from rdarts.genotypes import Genotype, count_skips, load_genotype, read_genotype
from rdarts.results.search_run import SearchRun, dataset_name, number, read_search_log
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.study.queue import Run, run_all
from rdarts.study.statistics import (
    COLUMNS,
    TOO_FEW,
    Summary,
    Table,
    baselines,
    differences,
    percent,
)
from rdarts.utils.commands import shown_path
from rdarts.utils.files import write_atomically
from rdarts.utils.machine import share_of_cores

TOOLS = Path(__file__).resolve().parents[1]
FIGURES = 'figures.json'  # of an evaluation
WIDTH = 100  # of a printed table, in characters
SHORT = {'cifar10': 'C10', 'cifar100': 'C100', 'imagenet16_120': 'IN16'}
TESTS = [f'{short} test (%)' for short in SHORT.values()]  # names of columns
# What stands for a data set in the name of a config, and its name
DATA = {
    'CIFAR10': ('c10', 'CIFAR-10'),
    'CIFAR100': ('c100', 'CIFAR-100'),
    'ImageNet16120': ('in16', 'ImageNet16-120'),
    'ImageNetFolder': ('imagenet', 'ImageNet'),
    'Digits': ('digits', 'digits'),
}
Figures = dict[str, Any]
"""Of one search or network: what it found, reached and cost."""


# Runs


@dataclass(frozen=True)
class Search:
    """A config with a seed, and the run that searches.

    Args:
        config (str): Its config.
        seed (int): Its seed.
        run (Run): The search, or the evaluation of the network that was trained from it.
    """

    config: str
    seed: int
    run: Run

    @property
    def method(self) -> str:
        return Path(self.config).stem


def searches(args: argparse.Namespace, loaded: Mapping[str, Any]) -> list[Search]:
    """Every config with every seed."""
    found = []
    for config, cfg in loaded.items():
        for seed in seeds_of(args):
            folder = Path(args.work_dir) / Path(config).stem / f'seed_{seed}'
            command = train_command(config, folder, seed, args.cfg_options)
            settings = settings_of(config, cfg, seed, args.cfg_options)
            name = f'{Path(config).stem}, seed {seed} (search)'
            run = Run(name, folder, command, settings, resume=('--resume',))
            found.append(Search(config, seed, run))
    return found


def evaluations(args: argparse.Namespace) -> list[Search]:
    """Instead of every config with every seed: the network that was trained from it.

    Raises:
        UserError: One is not there.
    """
    found = []
    for config in args.configs:
        for seed in seeds_of(args):
            source = Path(args.checkpoints) / Path(config).stem / f'seed_{seed}'
            checkpoints = list_checkpoints(source) if source.is_dir() else []
            if not checkpoints or not (source / 'config.py').is_file():
                raise UserError(
                    f'no trained network in {source}: it needs config.py and a checkpoint'
                )
            folder = Path(args.work_dir) / Path(config).stem / f'seed_{seed}' / 'evaluation'
            command = [sys.executable, str(TOOLS / 'test.py'), str(source / 'config.py')]
            command += [str(source), '--work-dir', str(folder / 'test')]
            command += ['--out', str(folder / FIGURES)]
            settings = dict(
                source=str(source.resolve()),
                config=content_of(read_config(source)),
                checkpoint=[checkpoints[0].name, checkpoints[0].stat().st_mtime_ns],
            )
            name = f'{Path(config).stem}, seed {seed} (evaluation)'
            found.append(Search(config, seed, Run(name, folder, command, settings, redo=True)))
    return found


def retrainings(args: argparse.Namespace, ended: Sequence[Search]) -> dict[Path, Run]:
    """Of what searches found, by their folders."""
    cfg = load_config(args.retrain, parse_options(args.retrain_options))
    found = {}
    for search in ended:
        source = search.run.folder
        try:
            genotype = load_genotype(source).to_string()
        except UserError as error:
            search.run.error = str(error)
            continue
        folder = source / Path(args.retrain).stem
        command = train_command(args.retrain, folder, search.seed, args.retrain_options)
        settings = settings_of(args.retrain, cfg, search.seed, args.retrain_options)
        name = f'{search.method}, seed {search.seed} (retraining)'
        command += ['--genotype', str(source)]
        settings['genotype'] = genotype
        found[source] = Run(name, folder, command, settings, resume=('--resume',))
    return found


def seeds_of(args: argparse.Namespace) -> range:
    return range(args.first_seed, args.first_seed + args.seeds)


def train_command(config: str, folder: Path, seed: int, options: Sequence[str]) -> list[str]:
    command = [sys.executable, str(TOOLS / 'train.py'), config, '--work-dir', str(folder)]
    command += ['--seed', str(seed)]
    return [*command, '--cfg-options', *options] if options else command


def settings_of(config: str, cfg: Any, seed: int, options: Sequence[str]) -> dict[str, Any]:
    return dict(
        config=Path(config).stem,
        content=content_of(cfg.to_dict()),
        seed=seed,
        options=list(options),
    )


def content_of(config: Mapping[str, Any]) -> str:
    """A hash of all that a config says: an edited config is another one."""
    return hashlib.sha256(repr(config).encode()).hexdigest()[:16]


def expected(args: argparse.Namespace, found: Sequence[Search]) -> None:
    """List the runs, and measure what one of each config would take."""
    from rdarts.apis.dry_run import dry_run

    torch.set_num_threads(share_of_cores(args.jobs))
    seconds: dict[str, float] = {}
    lines, total = [], 0.0
    for search in found:
        state = search.run.state()
        cost = 0.0 if state == 'done' else None
        if state != 'done' and not args.checkpoints:
            cfg = load_config(search.config, parse_options(args.cfg_options))
            if search.config not in seconds:
                check_model(cfg)
                print(f'{search.config}:')
                seconds[search.config] = dry_run(cfg)['expected_seconds']
            left = 1 - epochs_done(search.run) / cfg.train_cfg.max_epochs
            cost = seconds[search.config] * left
        total += cost or 0.0
        lines.append((state, search.run.name, cost))
        if args.retrain:
            known = list(retrainings(args, [search] if state == 'done' else []).values())
            state = known[0].state() if known else 'new'
            name = f'{search.method}, seed {search.seed} (retraining)'
            lines.append((state, name, 0.0 if state == 'done' else None))
    width = max(len(name) for _, name, _ in lines)
    for state, name, cost in lines:
        left = 'not measured' if cost is None else str(datetime.timedelta(seconds=round(cost)))
        print(f'{state:<7} {name:<{width}}  {left}')
    total = datetime.timedelta(seconds=round(total / args.jobs))
    at_a_time = 'one after another' if args.jobs == 1 else f'{args.jobs} at a time'
    print(f'expected: {total} for the searches, {at_a_time}')


def epochs_done(run: Run) -> int:
    """Epochs that an interrupted search need not repeat."""
    if run.state() != 'resume':
        return 0
    return max((row['epoch'] for row in read_search_log(run.folder, 'epoch')), default=0)


# What they found


def read_search(folder: Path, without_none: bool = False) -> Figures:
    """What a search found and cost.

    Args:
        folder (Path): Its work directory.
        without_none (bool): Derive from its last weights without ``none``, instead of what it
            derived itself.
    """
    space = SearchRun(folder, folder.name).space
    if without_none:
        genotype = derive_without_none(folder, space)
    else:
        genotype = load_genotype(folder, space)
    rows = read_search_log(folder, 'iter')
    seconds, memory = (
        [value for row in rows if (value := number(row, key)) is not None]
        for key in ('time', 'memory')
    )
    return dict(
        genotype=genotype.to_string(),
        skip_connections=count_skips(genotype),
        seconds=max(seconds, default=None),
        memory_mb=max(memory, default=None),
    )


def derive_without_none(folder: Path, space: SearchSpace) -> Genotype:
    """The best operation but ``none`` on every edge, by the weights of the last epoch's row."""
    rows = read_search_log(folder, 'epoch')
    weights = {}
    for group in space.groups:
        try:
            weight = torch.tensor(rows[-1]['weights'][group.name], dtype=torch.float64)
        except (IndexError, KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            weight = torch.empty(0)
        if weight.shape != (len(group.edges), len(group.candidates)) or not weight.isfinite().all():
            raise UserError(
                f'{folder}: its log has no weights of the last epoch (AlphaStatisticsHook writes '
                'them), which --without-none needs'
            )
        weights[group.name] = weight
    return Argmax(allow_none=False).of_weights(weights, space)


def look_up(found: Figures, table: NASBench201) -> Figures:
    """What the table says of a cell."""
    record = table.query(found['genotype'])
    accuracies = {f'{d}_{split}': record.accuracy(d, split) for d, split in COLUMNS}
    return dict(found, index=record.index, **accuracies)


def read_retraining(folder: Path) -> Figures:
    """Test error and size of a retrained cell."""
    accuracy = None
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            found = number(row, 'accuracy/top1')
            accuracy = accuracy if found is None else found
    if accuracy is None:
        raise UserError(f'{folder}: its log has no test accuracy (accuracy/top1)')
    return dict(error=100 - accuracy, parameters=count_parameters(folder))


def read_evaluation(folder: Path, source: Path) -> Figures:
    """What is known of a network whose search is not.

    Args:
        folder (Path): Of the evaluation.
        source (Path): Work directory of the retraining.
    """
    path = folder / FIGURES
    try:
        accuracy = number(json.loads(path.read_text(encoding='utf-8')), 'accuracy/top1')
    except (OSError, ValueError):
        accuracy = None
    if accuracy is None:
        raise UserError(f'{path}: no test accuracy (accuracy/top1)')
    genotype = read_genotype(entry(read_config(source), 'model', 'backbone', 'genotype'))
    return dict(
        genotype=genotype.to_string(),
        skip_connections=count_skips(genotype),
        error=100 - accuracy,
        parameters=count_parameters(source),
    )


def count_parameters(folder: Path) -> int:
    """Parameters of a run's network and its classifier, without an auxiliary head."""
    config = read_config(folder)
    classes = entry(config, 'model', 'head', 'num_classes')
    try:
        net = planned_network(entry(config, 'model', 'backbone'), classes)
    except UserError as error:
        raise UserError(f'{folder / CONFIG}: {error}') from None
    return sum(parameter.numel() for parameter in net.parameters())


# Tables


def accuracy_table(
    methods: Mapping[str, Mapping[int, Figures]], constants: Mapping[str, Any]
) -> Table:
    """Table 1: rows of what needs no search, then of the methods."""
    datasets = list(dict.fromkeys(dataset for dataset, _ in COLUMNS))
    header = ['method']
    header += [f'{SHORT[dataset]} {split} (%)' for dataset, split in COLUMNS]
    header += [f'best {SHORT[dataset]} test' for dataset in datasets]
    header += ['skips', 'time', 'memory (MB)', 'seeds']
    rows = []
    for name, values in constants.items():
        cells = [percent(values[f'{dataset}_{split}']) for dataset, split in COLUMNS]
        rows.append([name, *cells])
    for name, found in methods.items():
        cells = [percent(of(found, f'{d}_{s}')) for d, s in COLUMNS]
        best = [of(found, f'{dataset}_test') for dataset in datasets]
        cells += ['-' if summary is None else f'{summary.best:.2f}' for summary in best]
        rows.append([name, *cells, *costs(found), str(len(found))])
    rows = [row + ['-'] * (len(header) - len(row)) for row in rows]
    title = 'NAS-Bench-201, accuracy of the cells found (mean ± deviation over seeds)'
    table = Table('methods', title, header, rows)
    short = table.only(['method', *TESTS, 'skips', 'time', 'seeds'])
    return replace(table, short=short)


def quartile_table(constants: Mapping[str, Any]) -> Table:
    """What a cell drawn at random reaches."""
    header = ['random cell', *(f'{SHORT[dataset]} {split} (%)' for dataset, split in COLUMNS)]
    cell = constants['random cell']
    names = dict(quartile_1='lower quartile', median='median', quartile_3='upper quartile')
    rows = [
        [name, *(f'{cell[f"{dataset}_{split}"][key]:.2f}' for dataset, split in COLUMNS)]
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
        Table: A row for each space and data set, with columns for each method. The short one has a
        row for each method.
    """
    names = list(dict.fromkeys(method for _, method in groups.values()))
    columns = ['error (%)', 'best (%)', 'parameters (M)', 'skips', 'time', 'seeds']
    header = ['space, data set']
    for name in names:
        header += [f'{name}: {columns[0]}', *columns[1:]]
    rows: dict[str, list[str]] = {}
    short = []
    for config, (row, method) in groups.items():
        cells = rows.setdefault(row, [row, *['-'] * (6 * len(names))])
        found = methods[config]
        errors, parameters = of(found, 'error'), of(found, 'parameters', 1e-6)
        values = ['-', '-', '-', *costs(found)[:2], str(errors.count if errors else len(found))]
        if errors:
            least = min(v['error'] for v in found.values() if v.get('error') is not None)
            values[:3] = [percent(errors), f'{least:.2f}', percent(parameters)]
        start = 1 + 6 * names.index(method)
        cells[start : start + 6] = values
        short.append([f'{row}: {method}', *values])
    title = 'Test error after retraining'
    by_method = Table('methods', title, ['space, data set: method', *columns], short)
    return Table('methods', title, header, list(rows.values()), by_method)


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


def group_of(config: str, cfg: Any) -> tuple[str, str]:
    """The space and data set of a config, and its name without them: the method."""
    space = build_space(cfg.model.backbone.space).name
    dataset = dataset_name(cfg)
    token, name = DATA.get(dataset, (dataset, dataset))
    method = f'_{Path(config).stem}'
    # from the end: in `darts_darts_c10` the first is the method
    for word in (token, space):
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


def costs(found: Mapping[int, Figures]) -> list[str]:
    """Skip connections, time of a search, and peak memory."""
    skips, seconds, memory = (of(found, k) for k in ('skip_connections', 'seconds', 'memory_mb'))
    return [
        f'{skips.mean:.1f}' if skips else '-',
        str(datetime.timedelta(seconds=round(seconds.mean))) if seconds else '-',
        f'{memory.best:,.0f}' if memory else '-',
    ]


def as_text(tables: Sequence[Table], note: str, width: int | None = None) -> str:
    """The tables and the note, in lines of a width if one is given."""
    text = '\n'.join(table.as_text(width) for table in tables) + note
    if not all(table.fits(width) for table in tables):
        text += '\nIn short: --wide prints the tables with all columns, as the files have them.\n'
    return text


def wrapped(line: str) -> str:
    """A printed line within the width of the tables, but for a path that is longer itself."""
    return textwrap.fill(
        line, WIDTH, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
    )


def write_all(folder: Path, tables: Sequence[Table], note: str, data: Any) -> None:
    """The tables in every form."""
    latex = '\n'.join(table.as_latex() for table in tables)
    files = {
        'compare.txt': as_text(tables, note),
        'compare.md': '\n'.join(table.as_markdown() for table in tables) + note,
        'compare.tex': latex + ''.join(f'% {line}\n' for line in note.splitlines()),
        'compare.json': json.dumps(data, indent=1) + '\n',
    }
    for table in tables:
        suffix = '' if table is tables[0] else f'_{table.name}'
        files[f'compare{suffix}.csv'] = table.as_csv()
    for name, content in files.items():
        try:
            write_atomically(folder / name, content.encode())
        except OSError as error:
            raise UserError(f'cannot write {folder / name}: {error.strerror}') from None


# The command


def main() -> int:
    args = parse_args()
    if not args.dry_run:
        cli.outlive_output()
    loaded, table = check(args)
    groups = {} if table else groups_of(loaded)
    found = evaluations(args) if args.checkpoints else searches(args, loaded)
    if args.dry_run:
        expected(args, found)
        return 0
    lock_work_dir(args.work_dir)
    folder = prepare_work_dir(args.work_dir, keep=True)
    run_all([search.run for search in found], args.jobs)
    ended = [search for search in found if search.run.state() == 'done']
    trained = retrainings(args, ended) if args.retrain else {}
    run_all(list(trained.values()), args.jobs)
    methods = read_all(args, ended, trained, table)
    failed = {
        run.name: run.error
        for run in (*(search.run for search in found), *trained.values())
        if run.error
    }
    if not any(methods.values()):
        reason = next((f'{name}: {error}' for name, error in failed.items()), 'none has ended')
        raise UserError(
            f'no run can be shown ({reason}); their logs are in {folder}/CONFIG/seed_N/run.log'
        )
    if table is not None:
        constants = baselines(table, args.random or 10)
        tables, note, data = report_cells(methods, constants)
    else:
        tables, note, data = report_networks(methods, groups)
        if not args.retrain and not args.checkpoints:
            note += 'Not retrained: --retrain CONFIG trains the cells.\n'
    data = dict(methods=methods, **data, failed=failed)
    write_all(folder, tables, note, data)
    print('\n' + as_text(tables, note, None if args.wide else WIDTH), end='')
    for name, error in failed.items():
        print(wrapped(f'failed: {name}: {error}'))
    print(wrapped(f'written: {shown_path(folder / "compare.txt")}, .md, .tex, .csv, .json'))
    return 1 if failed else 0


def check(args: argparse.Namespace) -> tuple[dict[str, Any], NASBench201 | None]:
    """Find what is wrong before anything runs.

    Returns:
        tuple: Config -> its content, and the table where the cells are looked up in one.
    """
    for name in ('seeds', 'jobs', 'random'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f'--{name} must be 1 or more, but is {value}')
    if args.first_seed < 0:
        raise UserError(f'--first-seed must be 0 or more, but is {args.first_seed}')
    stems = [Path(config).stem for config in args.configs]
    if len(set(stems)) != len(stems):
        raise UserError(f'configs must have names of their own, but are {", ".join(stems)}')
    loaded = {c: load_config(c, parse_options(args.cfg_options)) for c in args.configs}
    spaces = {
        c: ((cfg.model or {}).get('backbone') or {}).get('space') for c, cfg in loaded.items()
    }
    for config, space in spaces.items():
        if space is None:
            raise UserError(f'{config} is no search: its backbone has no space')
    with_table = [str(space) == 'nas_bench_201' for space in spaces.values()]
    if any(with_table) and not all(with_table):
        raise UserError(
            'runs of different spaces cannot be compared: NAS-Bench-201 is looked up in a table, '
            'other spaces are retrained'
        )
    looked_up = with_table[0]
    for wrong, message in (
        (args.without_none and not looked_up,
         '--without-none is for NAS-Bench-201: cells of other spaces hold no none'),
        (args.table and not looked_up, '--table is for NAS-Bench-201: other spaces have none'),
        (args.random and not looked_up,
         '--random is for NAS-Bench-201: cells of other spaces are in no table'),
        (args.checkpoints and (args.retrain or looked_up),
         '--checkpoints is for spaces without a table, and instead of --retrain'),
        (args.retrain and looked_up,
         '--retrain is for spaces without a table: NAS-Bench-201 is looked up in one'),
        (args.retrain_options and not args.retrain, '--retrain-options needs --retrain CONFIG'),
        (args.cfg_options and args.checkpoints,
         '--cfg-options are of searches: --checkpoints searches nothing'),
    ):  # fmt: skip
        if wrong:
            raise UserError(message)
    if args.retrain:
        cfg = load_config(args.retrain, parse_options(args.retrain_options))
        if 'genotype' not in ((cfg.get('model') or {}).get('backbone') or {}):
            raise UserError(
                f'--retrain {args.retrain}: its network takes no genotype: use a config of '
                'configs/retrain'
            )
    return loaded, find_benchmark(args.table) if looked_up else None


def find_benchmark(path: str | None) -> NASBench201:
    found = open_table(path)
    if found is None:
        raise UserError(
            'no NAS-Bench-201 table: put nasbench201.csv.gz into data/nasbench201, set RDARTS_DATA '
            'or --table'
        )
    return found


def read_all(
    args: argparse.Namespace,
    ended: Sequence[Search],
    trained: Mapping[Path, Run],
    table: NASBench201 | None,
) -> dict[str, dict[int, Figures]]:
    """Method -> seed -> what was found; a run that cannot be read has its error."""
    methods: dict[str, dict[int, Figures]] = {}
    for name in (Path(config).stem for config in args.configs):
        methods[name] = {}
        if args.without_none:
            methods[f'{name}, without none'] = {}
    for search in ended:
        run, name = search.run, search.method
        try:
            if args.checkpoints:
                figures = read_evaluation(run.folder, Path(run.settings['source']))
            else:
                figures = read_search(run.folder)
            if table is not None:
                figures = look_up(figures, table)
            methods[name][search.seed] = figures
            if args.without_none:
                figures = look_up(read_search(run.folder, without_none=True), table)
                methods[f'{name}, without none'][search.seed] = figures
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


def report_cells(
    methods: Mapping[str, Mapping[int, Figures]], constants: Mapping[str, Any]
) -> tuple[list[Table], str, dict[str, Any]]:
    """Tables, note and data of cells that were looked up."""
    tables, found = [accuracy_table(methods, constants)], []
    for dataset, short in SHORT.items():
        key = f'{dataset}_test'
        values = {
            name: {seed: figures[key] for seed, figures in seeds.items()}
            for name, seeds in methods.items()
        }
        others = {name: of[key]['mean'] for name, of in constants.items() if name != 'optimal'}
        rows = differences(values, others)
        title = f'{short} test accuracy, paired by seed'
        tables += difference_tables(f'differences_{short.lower()}', title, rows)
        found += [dict(dataset=dataset, **row) for row in rows]
    tables.append(quartile_table(constants))
    return tables, about(found), dict(baselines=constants, differences=found)


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
    return tables, about(found), dict(differences=found)


def about(found: Sequence[Mapping[str, Any]]) -> str:
    """What differences need, or how many would be shown where there is none."""
    if found and all(row['difference'] is None for row in found):
        return '\nDifferences between methods need two seeds, and an interval five.\n'
    count = sum(row['verdict'] != TOO_FEW for row in found)
    if not count:
        return ''
    return (
        f'\nOf {count} differences, chance alone puts about {0.05 * count:.1f} outside of a 95 % '
        'interval.\n'
    )


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
