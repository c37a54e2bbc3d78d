"""Run methods over seeds, and compare the cells that they find.

Each (config, seed) is a search in a folder of its own, WORK_DIR/CONFIG/seed_SEED. What has ended is
not run again, what was interrupted goes on. Cells of NAS-Bench-201 are looked up in the table;
those of other spaces are trained by --retrain, or taken trained from --checkpoints.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rdarts.architect.discretizers import Argmax
from rdarts.benchmarks import NASBench201, open_table
from rdarts.benchmarks.comparison import (
    COLUMNS,
    Summary,
    as_latex,
    as_markdown,
    as_text,
    baselines,
    paired_difference,
    percent,
)
from rdarts.engine import launch
from rdarts.engine.checkpoint import list_checkpoints, write_atomically
from rdarts.errors import UserError
from rdarts.genotypes import Genotype, count_skips, load_genotype
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.visualization.search_log import dataset_name, number, read_search_log

TOOLS = Path(__file__).resolve().parents[1]
DONE = 'compare.json'
FIGURES = 'figures.json'  # of an evaluation
LEAST_PAIRS = 5  # below, no interval is to be believed
DIFFERENCE = ['difference', 'mean', '95 % interval', 'pairs', 'verdict']
SHORT = {'cifar10': 'C10', 'cifar100': 'C100', 'imagenet16_120': 'IN16'}
# What stands for a data set in the name of a config, and its name
DATA = {
    'CIFAR10': ('c10', 'CIFAR-10'),
    'CIFAR100': ('c100', 'CIFAR-100'),
    'ImageNet16120': ('in16', 'ImageNet16-120'),
    'Digits': ('digits', 'digits'),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs of searches')
    parser.add_argument('--seeds', type=int, default=10, help='seeds 0 to N - 1 (default: 10)')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: 1)')
    parser.add_argument('--work-dir', default='work_dirs/compare', help='(default: %(default)s)')
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    parser.add_argument(
        '--random', type=int, default=10, metavar='K', help='best of K random cells (default: 10)'
    )
    parser.add_argument(
        '--without-none',
        action='store_true',
        help='beside each method also the cell that its last alphas give where `none` is left out',
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
        '--dry-run', action='store_true', help='list the runs and the time that they would take'
    )
    return parser.parse_args()


@dataclass
class Run:
    """One search, the retraining of what it found, or the evaluation of a network.

    Args:
        config (str): Its config.
        seed (int): Its seed.
        folder (Path): Its work directory.
        options (list[str]): Its options.
        kind (str): ``'search'``, ``'retraining'`` or ``'evaluation'``.
        source (Path, optional): Of a retraining the search's folder, of an evaluation that of the
            retraining.
        error (str): Why it failed.
        content (str): Hash of the config's content: an edited config is another one.
    """

    config: str
    seed: int
    folder: Path
    options: list[str]
    kind: str = 'search'
    source: Path | None = None
    error: str = ''
    content: str = ''
    process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f'{Path(self.config).stem}, seed {self.seed} ({self.kind})'

    @property
    def settings(self) -> dict[str, Any]:
        """What a result depends on; a stored one counts only where it is the same."""
        return dict(
            config=Path(self.config).stem,
            content=self.content,
            seed=self.seed,
            options=self.options,
            kind=self.kind,
            source=None if self.source is None else str(self.source.resolve()),
        )

    def state(self) -> str:
        """``done``, ``resume`` or ``new``.

        Raises:
            UserError: The folder holds a run of other settings, or one that still runs.
        """
        try:
            stored = json.loads((self.folder / DONE).read_text(encoding='utf-8'))
            settings, ended = dict(stored['settings']), bool(stored['ended'])
        except (OSError, ValueError, TypeError, KeyError):
            settings, ended = None, False
        if settings is not None:
            # what was stored before these were
            settings = dict(dict(kind='search', source=None, content=self.content), **settings)
            own = self.settings
            differing = [key for key in own if settings.get(key) != own[key]]
            if differing:
                raise UserError(
                    f'{self.folder} holds a run of other settings ({", ".join(differing)}): '
                    'another --work-dir'
                )
            if ended:
                return 'done'
            if self.process is None and is_running(stored.get('process'), self.folder):
                raise UserError(
                    f'{self.folder}: process {stored["process"]} still runs in it; wait, or stop it'
                )
        return 'resume' if self.folder.is_dir() and list_checkpoints(self.folder) else 'new'

    def mark(self, ended: bool) -> None:
        data = dict(settings=self.settings, ended=ended)
        if self.process is not None and not ended:
            data['process'] = self.process.pid
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / DONE, (json.dumps(data) + '\n').encode())
        except OSError as error:
            raise UserError(f'cannot write into {self.folder}: {error.strerror}') from None

    def command(self) -> list[str]:
        if self.kind == 'evaluation':
            script, source = TOOLS / 'test.py', str(self.source)
            config = str(self.source / 'config.py')
            out = ['--work-dir', str(self.folder / 'test'), '--out', str(self.folder / FIGURES)]
            return [sys.executable, str(script), config, source, *out]
        script = str(TOOLS / 'train.py')
        command = [sys.executable, script, self.config, '--work-dir', str(self.folder)]
        command += ['--seed', str(self.seed)]
        if self.kind == 'retraining':
            command += ['--genotype', str(self.source)]
        if self.state() == 'resume':
            command.append('--resume')
        if self.options:
            command += ['--cfg-options', *self.options]
        return command


def is_running(process: Any, folder: Path) -> bool:
    """Whether a process that was started for a folder is still there."""
    if not isinstance(process, int):
        return False
    try:
        command = Path(f'/proc/{process}/cmdline').read_bytes()
        return os.fsencode(folder) in command
    except OSError:
        return False  # not there, or no Linux


def run_all(runs: Sequence[Run], jobs: int) -> None:
    """Run what is not done, ``jobs`` at a time; a run that fails keeps its error.

    Raises:
        KeyboardInterrupt: The running ones were told to save and end.
    """
    waiting = [run for run in runs if run.state() != 'done']
    running: list[Run] = []
    threads = max(1, (os.cpu_count() or 1) // jobs)
    env = dict(os.environ, OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS') or str(threads))
    for name in ('SIGTERM', 'SIGHUP'):  # the running ones are told, as by Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                print(f'{run.state():<7} {run.name}', flush=True)
                command = run.command()
                run.mark(ended=False)
                run.error = ''
                with open(run.folder / 'compare.log', 'ab') as log:
                    run.process = subprocess.Popen(
                        command, stdout=log, stderr=subprocess.STDOUT, env=env
                    )
                running.append(run)
                run.mark(ended=False)  # with its process
            time.sleep(0.2)
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                if run.process.returncode == 0:
                    run.mark(ended=True)
                    print(f'ended   {run.name}', flush=True)
                else:
                    run.error = last_error(run.folder / 'compare.log', run.process.returncode)
                    print(f'failed  {run.name}: {run.error}', flush=True)
    finally:
        for run in running:
            run.process.send_signal(signal.SIGTERM)
        for run in running:
            run.process.wait()


def last_error(log: Path, code: int) -> str:
    """Why a run ended: its last error, else its exit code and last line."""
    lines = log.read_text(encoding='utf-8', errors='replace').strip().splitlines() or ['no output']
    errors = [line for line in lines if line.startswith('error: ')]
    if errors:
        return errors[-1].removeprefix('error: ')
    how = f'signal {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'
    return f'{how} after: {lines[-1]}'


def read_search(run: Run, without_none: bool = False) -> dict[str, Any]:
    """What a search found and cost.

    Args:
        run (Run): The search.
        without_none (bool): Derive from its last alphas without ``none``, instead of what it
            derived itself.
    """
    space = build_space(space_of(run))
    if without_none:
        genotype = derive_without_none(run, space)
    else:
        genotype = load_genotype(run.folder, space)
    rows = read_search_log(run.folder, 'iter')
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


def derive_without_none(run: Run, space: SearchSpace) -> Genotype:
    """The best operation but ``none`` on every edge, by the alphas of the last epoch's row."""
    rows = read_search_log(run.folder, 'epoch')
    alphas = {}
    for group in space.groups:
        try:
            alpha = torch.tensor(rows[-1]['alpha'][group.name], dtype=torch.float64)
        except (IndexError, KeyError, TypeError, ValueError):
            alpha = torch.empty(0)
        if alpha.shape != (len(group.edges), len(group.candidates)) or not alpha.isfinite().all():
            raise UserError(
                f'{run.folder}: its log has no alpha of the last epoch (AlphaStatisticsHook writes '
                'it), which --without-none needs'
            )
        alphas[group.name] = alpha
    return Argmax(allow_none=False)(alphas, space)


def space_of(run: Run) -> Any:
    """The space of a run's config, which may be a table."""
    return launch.load_config(run.folder / 'config.py').model.backbone.space


def read_accuracy(folder: Path) -> float | None:
    """The last test accuracy of a retraining, %."""
    found = None
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                found = json.loads(line).get('accuracy/top1', found)
            except ValueError:
                continue
    return found


def expected(runs: Sequence[Run]) -> None:
    """List the runs, and measure what one of each config would take."""
    from rdarts.engine.dry_run import dry_run

    seconds: dict[str, float] = {}
    for run in runs:
        if run.state() != 'done' and run.kind == 'search' and run.config not in seconds:
            cfg = launch.load_config(run.config, options_of(run.options))
            launch.check_model(cfg)
            print(f'{run.config}:')
            seconds[run.config] = dry_run(cfg)['expected_seconds']
    total = 0.0
    for run in runs:
        state = run.state()
        cost = 0.0 if state == 'done' else seconds.get(run.config, 0.0)
        total += cost
        unknown = run.kind != 'search' and state != 'done'
        time_left = 'not measured' if unknown else str(datetime.timedelta(seconds=round(cost)))
        print(f'{state:<7} {run.name:<60} {time_left}')
    print(f'expected: {datetime.timedelta(seconds=round(total))} one after another')


def options_of(texts: Sequence[str]) -> dict[str, Any]:
    """Options as mmengine parses them."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    return parser.parse_args(['--options', *texts]).options if texts else {}


# Tables


def table_rows(
    methods: dict[str, dict[int, dict[str, Any]]], table: NASBench201, k: int
) -> tuple[list[str], list[list[str]]]:
    """Table 1: rows of what needs no search, then of the methods."""
    header = ['method']
    header += [f'{SHORT[dataset]} {split} (%)' for dataset, split in COLUMNS]
    header += ['best C10 test', 'skips', 'time', 'memory (MB)', 'seeds']
    rows = []
    for name, values in baselines(table, k).items():
        cells = [percent(values[f'{dataset}_{split}']) for dataset, split in COLUMNS]
        rows.append([name, *cells, '-', '-', '-', '-', '-'])
    for name, found in methods.items():
        if not found:
            rows.append([name, *['-'] * (len(header) - 2), '0'])
            continue
        cells = [percent(of(found, f'{d}_{s}')) for d, s in COLUMNS]
        best = f'{of(found, "cifar10_test").best:.2f}'
        rows.append([name, *cells, best, *costs(found)])
    return header, rows


def other_rows(
    methods: dict[str, dict[int, dict[str, Any]]], groups: dict[str, tuple[str, str]]
) -> tuple[list[str], list[list[str]]]:
    """Of spaces without a table: test error after retraining.

    Args:
        methods (dict): Config -> seed -> figures.
        groups (dict[str, tuple[str, str]]): Config -> its row (space and data set) and its method.

    Returns:
        tuple: The header and the rows, one for each space and data set, with columns for each
        method.
    """
    names = list(dict.fromkeys(method for _, method in groups.values()))
    header = ['space, data set']
    for name in names:
        header += [f'{name}: error (%)', 'best (%)', 'parameters (M)', 'skips', 'time', 'seeds']
    rows: dict[str, list[str]] = {}
    for config, (row, method) in groups.items():
        cells = rows.setdefault(row, [row, *['-'] * (6 * len(names))])
        found = methods[config]
        errors = [v['error'] for v in found.values() if v.get('error') is not None]
        sizes = [v['parameters'] / 1e6 for v in found.values() if v.get('parameters')]
        values = ['-', '-', '-', '-', '-', str(len(found))]
        if errors:
            values[:2] = [percent(Summary.of(errors)), f'{min(errors):.2f}']
        if sizes:
            values[2] = percent(Summary.of(sizes))
        if found:
            values[3:5] = costs(found)[:2]
        start = 1 + 6 * names.index(method)
        cells[start : start + 6] = values
    return header, list(rows.values())


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


def of(found: dict[int, dict[str, Any]], key: str) -> Summary:
    return Summary.of([values[key] for values in found.values()])


def costs(found: dict[int, dict[str, Any]]) -> list[str]:
    seconds = [v['seconds'] for v in found.values() if v.get('seconds') is not None]
    memory = [v['memory_mb'] for v in found.values() if v.get('memory_mb') is not None]
    return [
        f'{of(found, "skip_connections").mean:.1f}',
        str(datetime.timedelta(seconds=round(Summary.of(seconds).mean))) if seconds else '-',
        f'{max(memory):,.0f}' if memory else '-',
        str(len(found)),
    ]


def difference_rows(
    methods: dict[str, dict[int, dict[str, Any]]], key: str, constants: dict[str, float]
) -> tuple[list[str], list[list[str]]]:
    """Differences with a 95 % interval: of methods over seeds, and to what needs no search."""
    header = DIFFERENCE
    rows = []
    values = {
        name: {seed: v[key] for seed, v in found.items() if v.get(key) is not None}
        for name, found in methods.items()
    }
    names = list(values)
    pairs = [(a, values[a], b, values[b]) for i, a in enumerate(names) for b in names[i + 1 :]]
    pairs += [
        (a, values[a], b, dict.fromkeys(values[a], constant))
        for a in names
        for b, constant in constants.items()
    ]
    for left, ours, right, theirs in pairs:
        found = paired_difference(ours, theirs)
        name = f'{left} - {right}'
        if found is None:
            rows.append([name, '-', '-', str(len(set(ours) & set(theirs))), 'too few seeds'])
            continue
        low, high = found['low'], found['high']
        verdict = 'no difference shown' if low <= 0 <= high else 'higher' if low > 0 else 'lower'
        if found['pairs'] < LEAST_PAIRS:
            verdict = 'too few seeds'
        rows.append(
            [name, f'{found["difference"]:+.2f}', f'{low:+.2f} to {high:+.2f}',
             str(found['pairs']), verdict]
        )  # fmt: skip
    return header, rows


def write_all(
    folder: Path, tables: list[tuple[str, list[str], list[list[str]]]], note: str, data: Any
) -> str:
    """The tables in every form; gives the text."""
    text = markdown = latex = ''
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for title, header, rows in tables:
        text += f'{title}\n\n{as_text(header, rows)}\n'
        markdown += f'{title}\n\n{as_markdown(header, rows)}\n'
        latex += f'% {title}\n{as_latex(header, rows)}\n'
        writer.writerows([[title], *as_numbers(header, rows), []])
    for line in note.splitlines():
        latex += f'% {line}\n'
        writer.writerow([line])
    for suffix, content in (
        ('txt', text + note),
        ('md', markdown + note),
        ('tex', latex),
        ('csv', buffer.getvalue()),
        ('json', json.dumps(data, indent=1) + '\n'),
    ):
        write_atomically(folder / f'compare.{suffix}', content.encode())
    return text + note


def as_numbers(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """A table with mean and deviation in columns of their own."""
    wide = [any(' ± ' in row[i] for row in rows) for i in range(len(header))]
    found: list[list[str]] = []
    for row in (header, *rows):
        cells: list[str] = []
        for cell, split in zip(row, wide, strict=True):
            mean, _, deviation = cell.partition(' ± ')
            cells.append(mean)
            if split:
                cells.append(f'{cell}, deviation' if row is header else deviation)
        found.append(cells)
    return found


def main() -> int:
    args = parse_args()
    for name in ('seeds', 'jobs', 'random'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name} must be 1 or more, but is {getattr(args, name)}')
    stems = [Path(config).stem for config in args.configs]
    if len(set(stems)) != len(stems):
        raise UserError(f'configs must have names of their own, but are {", ".join(stems)}')
    loaded = {c: launch.load_config(c, options_of(args.cfg_options)) for c in args.configs}
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
    table = find_benchmark(args.table) if with_table[0] else None
    if args.without_none and table is None:
        raise UserError('--without-none is for NAS-Bench-201: cells of other spaces hold no none')
    if args.checkpoints and (args.retrain or table is not None):
        raise UserError('--checkpoints is for spaces without a table, and instead of --retrain')
    groups = {} if table else {Path(c).stem: group_of(c, cfg) for c, cfg in loaded.items()}
    folder = Path(args.work_dir)
    runs = [
        Run(
            config,
            seed,
            folder / Path(config).stem / f'seed_{seed}',
            list(args.cfg_options),
            content=content_of(loaded[config]),
        )
        for config in args.configs
        for seed in range(args.seeds)
    ]
    if args.checkpoints:
        runs = [evaluation(run, Path(args.checkpoints)) for run in runs]
    if args.dry_run:
        expected(runs)
        return 0
    launch.prepare_work_dir(folder, keep=True)
    run_all(runs, args.jobs)
    ended = [run for run in runs if run.state() == 'done']
    retrainings = []
    if args.retrain and table is None:
        launch.load_config(args.retrain, options_of(args.retrain_options))
        retrainings = [
            Run(args.retrain, run.seed, run.folder / Path(args.retrain).stem,
                list(args.retrain_options), kind='retraining', source=run.folder)
            for run in ended
        ]  # fmt: skip
        run_all(retrainings, args.jobs)
    return report(args, folder, runs, retrainings, table, groups)


def content_of(cfg: Any) -> str:
    """A hash of all that a config says."""
    return hashlib.sha256(repr(cfg.to_dict()).encode()).hexdigest()[:16]


def evaluation(run: Run, folder: Path) -> Run:
    """Of the network that was trained from a search, in place of the search.

    Raises:
        UserError: It is not there.
    """
    source = folder / Path(run.config).stem / f'seed_{run.seed}'
    if not (source / 'config.py').is_file() or not list_checkpoints(source):
        raise UserError(f'no trained network in {source}: it needs config.py and a checkpoint')
    return Run(
        run.config, run.seed, run.folder / 'evaluation', [], kind='evaluation', source=source
    )


def find_benchmark(path: str | None) -> NASBench201:
    found = open_table(path)
    if found is None:
        raise UserError(
            'no NAS-Bench-201 table: put nasbench201.csv.gz into data/nasbench201, set RDARTS_DATA '
            'or --table'
        )
    return found


def report(
    args: argparse.Namespace,
    folder: Path,
    runs: Sequence[Run],
    retrainings: Sequence[Run],
    table: NASBench201 | None,
    groups: dict[str, tuple[str, str]],
) -> int:
    """Print and write what the runs that have ended found."""
    trained = {run.source: run for run in retrainings if run.state() == 'done'}
    methods: dict[str, dict[int, dict[str, Any]]] = {}
    for run in runs:
        name = Path(run.config).stem
        for key, without_none in ((name, False), (f'{name}, without none', True)):
            if without_none and not args.without_none:
                continue
            found = methods.setdefault(key, {})
            if run.state() != 'done':
                continue
            try:
                if run.kind == 'evaluation':
                    found[run.seed] = read_evaluation(run)
                    continue
                values = read_search(run, without_none)
            except UserError as error:
                run.error = str(error)
                continue
            if table is not None:
                record = table.query(values['genotype'])
                values['index'] = record.index
                for dataset, split in COLUMNS:
                    values[f'{dataset}_{split}'] = record.accuracy(dataset, split)
            elif run.folder in trained:
                values.update(read_retraining(trained[run.folder]))
            found[run.seed] = values
    if not any(methods.values()):
        reason = next((f'{run.name}: {run.error}' for run in runs if run.error), 'none has ended')
        raise UserError(
            f'no run can be shown ({reason}); their logs are in {folder}/CONFIG/seed_N/compare.log'
        )
    if table is not None:
        found = baselines(table, args.random)
        constants = {
            name: values['cifar10_test']['mean']
            for name, values in found.items()
            if name != 'optimal'
        }
        tables = [
            ('NAS-Bench-201, accuracy of the cells found (mean ± deviation over seeds)',
             *table_rows(methods, table, args.random)),
            ('CIFAR-10 test accuracy, paired by seed', *difference_rows(
                methods, 'cifar10_test', constants)),
        ]  # fmt: skip
        note = 'A random cell reaches at its quartiles (%):\n'
        for dataset, split in COLUMNS:
            cell = found['random cell'][f'{dataset}_{split}']
            quartiles = ' / '.join(f'{cell[q]:.2f}' for q in ('quartile_1', 'median', 'quartile_3'))
            note += f'  {SHORT[dataset]} {split}: {quartiles}\n'
        count = len(tables[1][2])
        note += (
            f'Of {count} differences, chance alone puts about {0.05 * count:.1f} outside of a 95 % '
            'interval.\n'
        )
    else:
        tables = [('Test error after retraining', *other_rows(methods, groups))]
        for row in dict.fromkeys(row for row, _ in groups.values()):
            mine = {name: methods[name] for name, group in groups.items() if group[0] == row}
            if len(mine) > 1:
                title = f'Test error, paired by seed ({row})'
                tables.append((title, *difference_rows(mine, 'error', {})))
        note = 'Not retrained: --retrain CONFIG trains the cells.\n'
        if retrainings or args.checkpoints:
            note = ''
    failed = [run for run in (*runs, *retrainings) if run.error]
    data = dict(
        methods=methods,
        baselines={} if table is None else found,
        differences=[
            dict(zip(DIFFERENCE, row, strict=True)) for _, header, rows in tables
            if header == DIFFERENCE for row in rows
        ],
        failed={run.name: run.error for run in failed},
    )  # fmt: skip
    print('\n' + write_all(folder, tables, note, data), end='')
    for run in failed:
        print(f'failed: {run.name}: {run.error}')
    print(f'written: {folder}/compare.txt, .md, .tex, .csv, .json')
    return 1 if failed else 0


def read_retraining(run: Run) -> dict[str, Any]:
    """Test error and size of a retrained cell."""
    accuracy = read_accuracy(run.folder)
    cfg = launch.load_config(run.folder / 'config.py')
    return dict(
        error=None if accuracy is None else 100 - accuracy, parameters=count_parameters(cfg)
    )


def read_evaluation(run: Run) -> dict[str, Any]:
    """What is known of a network whose search is not."""
    figures = json.loads((run.folder / FIGURES).read_text(encoding='utf-8'))
    cfg = launch.load_config(run.source / 'config.py')
    genotype = load_genotype(cfg.model.backbone.genotype)
    return dict(
        genotype=genotype.to_string(),
        skip_connections=count_skips(genotype),
        error=100 - figures['accuracy/top1'],
        parameters=count_parameters(cfg),
    )


def count_parameters(cfg: Any) -> int:
    """Parameters of a network and its classifier, without an auxiliary head."""
    from rdarts.registry import MODELS

    net = MODELS.build(dict(cfg.model.backbone, init_cfg=None))
    head = cfg.model.head
    return sum(p.numel() for p in net.parameters()) + (head.in_channels + 1) * head.num_classes


if __name__ == '__main__':
    sys.exit(launch.run_guarded(main))
