"""Reading a search's log, and plotting what it holds."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdarts.errors import UserError

NO_DATE = {'.svg': {'Date': None}, '.pdf': {'CreationDate': None}}
KINDS = ('parameter_free', 'parameterised')


def read_search_log(work_dir: str | os.PathLike, kind: str | None = None) -> list[dict[str, Any]]:
    """The rows of ``search_log.jsonl``.

    Args:
        work_dir (str | PathLike): Work directory of a search.
        kind (str, optional): Only rows of this kind: ``start``, ``iter``, ``epoch``, ``val``.

    Returns:
        list[dict]: See ``docs/en/search_log.md``.

    Raises:
        UserError: There is no log, or a line of it is no JSON.
    """
    path = Path(work_dir) / 'search_log.jsonl'
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError:
        raise UserError(
            f'no search_log.jsonl in {work_dir}: is it the folder of a search?'
        ) from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break  # a row that was being written when the search was killed
            raise UserError(f'{path}, line {number}: no JSON') from None
        if kind is None or row.get('kind') == kind:
            rows.append(row)
    return rows


def plot_entropy(work_dirs: Sequence[str | os.PathLike], path: str | os.PathLike) -> None:
    """Plot entropies over the epochs (as Fig. 5), and write the numbers beside as CSV.

    The mean over all edges of H(softmax(alpha)), and its parts by kind of operation: the sum
    of -beta log beta within the kind (the paper defines no entropy of a kind). In nats.

    Args:
        work_dirs (Sequence[str | PathLike]): Work directories of searches.
        path (str | PathLike): The picture, ``.png``, ``.svg`` or ``.pdf``; ``.csv`` beside it.

    Raises:
        UserError: A work directory holds no finished epoch.
    """
    from matplotlib.figure import Figure  # slow to import

    styles = dict(
        mean_entropy=dict(color='#000000', linestyle='-', marker='o', label='all operations'),
        parameter_free=dict(color='#E69F00', linestyle='--', marker='s', label='parameter-free'),
        parameterised=dict(color='#0072B2', linestyle=':', marker='^', label='parameterised'),
    )
    figure = Figure(figsize=(5.2, 3.4), layout='constrained')
    axes = figure.subplots()
    table = [['search', 'epoch', *styles]]
    for number, work_dir in enumerate(work_dirs):
        rows = [row for row in read_search_log(work_dir, 'epoch') if 'mean_entropy' in row]
        if not rows:
            raise UserError(f'{work_dir}: no epoch has ended yet')
        name = Path(work_dir).resolve().name
        columns = dict(mean_entropy=[row['mean_entropy'] for row in rows])
        for kind in KINDS:
            columns[kind] = [row['kinds'].get(kind, {}).get('entropy') for row in rows]
        epochs = [row['epoch'] for row in rows]
        for key, values in columns.items():
            style = dict(styles[key])
            if len(work_dirs) > 1:
                style['label'] = f'{name}: {style["label"]}'
            axes.plot(epochs, values, alpha=1 - 0.5 * number / len(work_dirs), **style)
        values = zip(epochs, *columns.values(), strict=True)
        table += [[name, *row] for row in values]
    axes.set_xlabel('epoch')
    axes.set_ylabel('mean entropy of an edge (nats)')
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = Path(path)
    figure.savefig(path, dpi=120, metadata=NO_DATE.get(path.suffix))
    with open(path.with_suffix('.csv'), 'w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows(table)
