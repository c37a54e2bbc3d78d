"""A search as one animated SVG: the cell of every epoch, one after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.row import tells_of_alpha
from rdarts.results.search_run import SearchRun, find_runs
from rdarts.utils.files import write_atomically
from rdarts.visualization.drawing.layout import lay_out
from rdarts.visualization.drawing.page import Edge, Page
from rdarts.visualization.drawing.svg_text import drawn, framed, words

MAX_BYTES = 200_000
SECONDS = 1.0  # of a frame
LAST = 3  # times as long, the last frame
CAPTION = 0.4  # inches, above a cell


def draw_epochs(folder: str, out: str | os.PathLike | None = None) -> Path:
    """Animate the search of a work directory.

    Args:
        folder (str): The work directory.
        out (str | PathLike, optional): The picture, an ``.svg``. Defaults to ``epochs.svg`` in it.

    Returns:
        Path: The picture.

    Raises:
        UserError: The folder holds no search or several, the ending is not ``.svg``; see also
            :func:`write_animation`.
    """
    path = Path(out) if out else Path(folder) / 'epochs.svg'
    if path.suffix.lower() != '.svg':
        raise UserError(f'{path}: the epochs of a search are drawn as .svg')
    runs = find_runs([folder])
    if len(runs) > 1:
        raise UserError(f'{folder} holds {len(runs)} searches: name the folder of one')
    write_animation(runs[0], path)
    return path


def write_animation(run: SearchRun, path: str | os.PathLike) -> int:
    """Write a search as an animated SVG, which needs no script.

    Each edge shows its operation and that operation's weight, the line above epoch and mean
    entropy. The file is under 200 kB: of long searches, epochs are left out evenly. The last one
    stays three times as long, and is what is seen where nothing moves.

    Args:
        run (SearchRun): The search.
        path (str | PathLike): The file.

    Returns:
        int: How many epochs it shows.

    Raises:
        UserError: The search has no epochs with alpha, one picture alone is too large, or the file
            cannot be written.
    """
    rows = [row for row in run.epochs if row.get('genotype') and tells_of_alpha(row)]
    if not rows:
        raise UserError(f'{run.folder}: no epoch has a genotype that could be shown')
    every = 1
    while True:
        shown = rows[::-1][::every][::-1]
        text = _animation([_frame(run, row) for row in shown])
        if len(text) <= MAX_BYTES:
            break
        if len(shown) == 1:
            raise UserError(f'{run.folder}: a genotype is too large for an animation')
        every = max(every + 1, every * len(text) // MAX_BYTES)
    try:
        write_atomically(Path(path), text.encode())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None
    return len(shown)


def _frame(run: SearchRun, row: Mapping[str, Any]) -> tuple[Page, str, dict[Edge, float]]:
    """The drawing of an epoch, the line above it, and the weight of each edge's operation."""
    genotype = run.genotype_of(row)
    weights: dict[tuple[str, int, int, str], float] = {}
    for cell, topology in run.space.cells.items():
        found = series.candidate_weights(run, row, cell)
        for edge, of_edge in zip(topology.edges, found, strict=True):
            for name, weight in zip(edge.candidates, of_edge, strict=True):
                weights[cell, edge.source, edge.target, name] = weight
    page = lay_out(genotype, run.space, weighted=True)
    of_edges = {}
    for panel, *_ in page.panels:
        for label in panel.labels:
            key = label.edge and (*label.edge, label.text)
            if key in weights:
                of_edges[label.edge] = weights[key]
    text = f'epoch {row["epoch"]} of {run.max_epochs or run.last["epoch"]}'
    if row.get('mean_entropy') is not None:
        text += f', mean entropy {row["mean_entropy"]:.3f} nats'
    return page, text, of_edges


def _animation(frames: Sequence[tuple[Page, str, dict[Edge, float]]]) -> str:
    """All frames in one place; each is seen for its share of the time."""
    width = max(page.width for page, *_ in frames)
    height = max(page.height for page, *_ in frames) + CAPTION
    count = len(frames) - 1 + LAST
    share = 100 / count
    styles, parts = [], []
    for place, (page, text, weights) in enumerate(frames):
        last = place == len(frames) - 1
        begin, end = place * share, 100.0 if last else (place + 1) * share
        steps = [f'0%{{opacity:{int(place == 0)}}}']
        if place:
            steps.append(f'{begin:.3f}%{{opacity:1}}')
        if not last:
            steps.append(f'{end:.3f}%{{opacity:0}}')
        steps.append(f'100%{{opacity:{int(last)}}}')
        styles.append(f'@keyframes f{place}{{{"".join(steps)}}}')
        moving = f'animation:f{place} {count * SECONDS:g}s step-end infinite'
        styles.append(f'#f{place}{{opacity:{int(last)};{moving}}}')
        parts.append(
            f'<g id="f{place}">{words(width / 2, CAPTION / 2, text, 10, bold=True)}'
            f'<g transform="translate({(width - page.width) / 2:.3f} {CAPTION})">'
            f'{drawn(page, weights)}</g></g>'
        )
    still = '@media (prefers-reduced-motion: reduce){g{animation:none!important}}'
    return framed(f'<style>{"".join(styles)}{still}</style>{"".join(parts)}', width, height)
