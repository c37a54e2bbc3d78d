"""Pictures of searches, each into a file of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError, nearest
from rdarts.results.search_run import SearchRun
from rdarts.visualization.panels import NothingToPlot
from rdarts.visualization.plots import PLOTS, fitting, plot_runs
from rdarts.visualization.style import FORMATS

OF_ONE_SEARCH = ('edges', 'edge_weights')


def plot_all(
    runs: list[SearchRun],
    out: Path,
    names: Sequence[str] | None = None,
    format: str = 'png',
    table: NASBench201 | None = None,
) -> Iterator[str]:
    """Write pictures with their numbers, and say of each where it is, or why it was left out.

    Args:
        runs (list[SearchRun]): Searches in one space, each with an epoch that has ended, or a query
            that was answered.
        out (Path): Folder to write to, or with one name the picture itself.
        names (Sequence[str], optional): Which of ``PLOTS``. Defaults to all that there is to see.
        format (str): ``'png'``, ``'svg'`` or ``'pdf'``. Defaults to ``'png'``.
        table (NASBench201, optional): Of pictures that show test accuracies.

    Yields:
        str: A line for each picture.

    Raises:
        UserError: A name or the format is not known, one that was named cannot be drawn, or a file
            cannot be written.
    """
    chosen = names or list(PLOTS)
    for name in chosen:
        if name not in PLOTS:
            raise UserError(f"no plot '{name}': {nearest(name, PLOTS)}")
    suffix = f'.{format.lower().removeprefix(".")}'
    if suffix not in FORMATS:
        raise UserError(f"--format must be png, svg or pdf, but is '{format}'")
    single = out if out.suffix.lower() in FORMATS else None
    if single and len(chosen) != 1:
        raise UserError(f'--out {out} is one picture: name one with --plots, or give a folder')
    folder = out.parent if single else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot write into {folder}: {error.strerror}') from None
    for name in chosen:
        try:
            fit = fitting(name, runs)
        except NothingToPlot as error:
            yield _left_out(name, error, named=bool(names))
            continue
        for shown, file in pictures(name, fit, folder, suffix, single):
            try:
                plot_runs(shown, name, file, table)
            except NothingToPlot as error:
                yield _left_out(name, error, named=bool(names))
                continue
            yield f'{file}, {file.with_suffix(".csv").name}'
        left = dict.fromkeys(run.method for run in runs if run not in fit)
        if left:
            yield f'{name} is without {", ".join(left)}, which have no such numbers'


def _left_out(name: str, error: NothingToPlot, named: bool) -> str:
    """What is said of a picture that cannot be drawn; one that was named must be."""
    if named:
        raise UserError(f'{name} cannot be drawn: {error}') from None
    return f'left out: {name}: {error}'


def pictures(
    name: str, runs: list[SearchRun], folder: Path, suffix: str, single: Path | None
) -> list[tuple[list[SearchRun], Path]]:
    """Which runs go into which files."""
    if name not in OF_ONE_SEARCH or single or len(runs) == 1:
        return [(runs, single or folder / f'{name}{suffix}')]
    files: dict[str, SearchRun] = {}
    for run in runs:
        stem = f'{name}_{run.method.replace("/", "_")}'
        if run.seed is not None:
            stem += f'_seed_{run.seed}'
        again = (f'{stem}_{number}' for number in itertools.count(2))
        files[next(s for s in itertools.chain([stem], again) if s not in files)] = run
    return [([run], folder / f'{stem}{suffix}') for stem, run in files.items()]
