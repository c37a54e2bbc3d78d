"""What a comparison writes: tables in every form, the runs of a page, the picture of ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.benchmarks.nas_bench_201_file import DATASETS
from rdarts.errors import UserError
from rdarts.study.figures import Figures
from rdarts.study.ranks import Ranks
from rdarts.study.result_tables import WITHOUT_NONE
from rdarts.study.searches import Comparison, Search
from rdarts.study.statistics import TOO_FEW
from rdarts.study.tables import Table, as_text
from rdarts.utils.files import write_atomically
from rdarts.visualization.rank_plot import plot_ranks
from rdarts.visualization.study_report import StudyRun

PAGE = 'compare.html'
PICTURE = 'compare_ranks'  # the name of its files


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
