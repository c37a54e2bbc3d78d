"""What a comparison writes: tables in every form, the runs of a page, the picture of ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.benchmarks import NASBench201
from rdarts.benchmarks.nas_bench_201_file import DATASETS
from rdarts.errors import UserError
from rdarts.study.figures import WITHOUT_NONE, Figures
from rdarts.study.ranks import Ranks
from rdarts.study.remarks import Remarked, with_remarks
from rdarts.study.searches import Comparison, Search
from rdarts.study.statistics import TOO_FEW
from rdarts.study.tables import WIDTH, Table, as_text, wrapped
from rdarts.utils.commands import shown_path
from rdarts.utils.files import write_atomically
from rdarts.visualization.rank_plot import plot_ranks
from rdarts.visualization.study_report import StudyRun, write_study

PAGE = 'compare.html'
PICTURE = 'compare_ranks'  # the name of its files


def publish(
    plan: Remarked,
    folder: Path,
    tables: Sequence[Table],
    note: str,
    data: Mapping[str, Any],
    failed: Mapping[str, str],
    wide: bool = False,
    runs: Sequence[StudyRun] = (),
    table: NASBench201 | None = None,
) -> int:
    """Write and print the tables of a study, and name the runs that failed.

    Args:
        plan (Remarked): The study, whose scale and missing runs every form tells.
        folder (Path): Its work directory.
        tables (Sequence[Table]): Its tables, the one with a row for each network first.
        note (str): What follows them.
        data (Mapping[str, Any]): What ``compare.json`` holds beside that.
        failed (Mapping[str, str]): Name -> error of each failed run.
        wide (bool): Whether lines may be longer than 100 characters. Defaults to False.
        runs (Sequence[StudyRun]): Runs that the page links to. Defaults to none.
        table (NASBench201, optional): The cells among which the page marks those of the runs.
            Defaults to none.

    Returns:
        int: 0, or 1 where a run has failed.

    Raises:
        UserError: A file cannot be written.
    """
    tables, note = with_remarks(plan, tables, note)
    data = dict(remark=plan.remark, **data, failed=dict(failed), absent=dict(plan.absent))
    write_all(folder, tables, note, data)
    pages = [dict(name=t.name, title=t.title, header=t.header, rows=t.rows) for t in tables]
    write_study(folder / PAGE, pages, note.strip(), runs, table, plan.remark or 'Study')
    print('\n' + as_text(tables, note, None if wide else WIDTH), end='')
    for name, error in failed.items():
        print(wrapped(f'failed: {name}: {error}'))
    print(wrapped(f'written: {shown_path(folder / "compare.txt")}, .md, .tex, .csv, .json, .html'))
    return 1 if failed else 0


def require_shown(found: Any, failed: Mapping[str, str], logs: str) -> None:
    """There is something that tables can show.

    Args:
        found (Any): What they show; empty or 0 where there is nothing.
        failed (Mapping[str, str]): Name -> error of each failed run.
        logs (str): Where the logs of the runs are.

    Raises:
        UserError: There is not.
    """
    if not found:
        reason = next((f'{name}: {error}' for name, error in failed.items()), 'none has ended')
        raise UserError(f'no run can be shown ({reason}); {logs}')


def write_all(folder: Path, tables: Sequence[Table], note: str, data: Any) -> None:
    """The tables in every form; of an earlier comparison, tables that are not there now go."""
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
    try:
        for name, content in files.items():  # names of configs may be no UTF-8
            write_atomically(folder / name, content.encode(errors='surrogateescape'))
        for path in folder.glob('compare_*.csv'):
            if path.name not in files:
                path.unlink()
    except OSError as error:
        raise UserError(f'cannot write {error.filename}: {error.strerror}') from None


def shown_runs(
    plan: Comparison, methods: Mapping[str, Mapping[int, Figures]], ended: Sequence[Search]
) -> list[StudyRun]:
    """The runs as the page has them; cells without ``none`` are of the same run, at no time."""
    folders = {(search.method, search.seed): search.run.folder for search in ended}
    found = []
    for method, seeds in methods.items():
        own = method.removesuffix(WITHOUT_NONE) if plan.without_none else method
        for seed, figures in seeds.items():
            tests = {d: figures[f'{d}_test'] for d in DATASETS if f'{d}_test' in figures}
            folder, over_time = folders[own, seed], own == method and not plan.checkpoints
            found.append(StudyRun(method, seed, folder, tests, over_time))
    return found


def write_picture(folder: Path, ranks: Ranks | None, remark: str = '') -> None:
    """Mean ranks of two searches or more, and what cannot be told apart; else no file."""
    paths = [folder / f'{PICTURE}{suffix}' for suffix in ('.png', '.svg')]
    if ranks is None or ranks.count < 2:
        for path in paths:  # of an earlier comparison
            path.unlink(missing_ok=True)
        return
    bars = (
        f'{TOO_FEW} to tell methods apart'
        if ranks.critical_difference is None
        else 'a bar joins methods that cannot be told apart'
    )
    plot_ranks(
        ranks.methods,
        ranks.means.tolist(),
        ranks.critical_difference,
        ranks.groups,
        '; '.join(filter(None, (ranks.table.title, bars, remark))),
        paths,
    )
