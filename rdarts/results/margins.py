"""How narrowly a cell was decided, and on which machine: rounding may decide between near ties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdarts.results import series
from rdarts.results.row import tells_of_alpha
from rdarts.results.search_run import SearchRun


def smallest_margin(run: SearchRun, without_none: bool = False) -> float | None:
    """The smallest lead of the largest weight of an edge over the second, of what was found.

    Args:
        run (SearchRun): A search with alpha.
        without_none (bool): Whether ``none`` is left out. It always is where no genotype of the
            space may hold it. Defaults to False.

    Returns:
        float | None: Between 0 and 1, of mixing weights, over all edges with two candidates left;
        None of a search that asks, and where nothing is left to decide.
    """
    if run.asks or not run.epochs or not tells_of_alpha(run.last):
        return None
    epoch = None if without_none else run.found_epoch
    row = next((one for one in run.epochs if one['epoch'] == epoch), run.last)
    # of the other forms, no rule derives `none`
    left_out = without_none or run.space.genotype != 'dense_cell'
    return _smallest(run, row, ('none',) if left_out else ())


def _smallest(run: SearchRun, row: Mapping[str, Any], left_out: tuple[str, ...]) -> float | None:
    margins = []
    for cell, topology in run.space.cells.items():
        masks = series.alive(run, row, cell)
        weights = series.candidate_weights(run, row, cell)
        for edge, mask, own in zip(topology.edges, masks, weights, strict=True):
            counted = [
                weight
                for name, weight, flag in zip(edge.candidates, own, mask, strict=True)
                if flag and name not in left_out
            ]
            first = sorted(counted, reverse=True)[:2]
            if len(first) == 2:
                margins.append(first[0] - first[1])
    return min(margins, default=None)


def machine_of(run: SearchRun) -> str | None:
    """What a search began on, as ``CPU, AVX512``; None where its log does not say."""
    told = next(iter(run.of_kind('start')), {}).get('machine')
    told = told if isinstance(told, Mapping) else {}
    parts = [told.get(key) for key in ('cpu', 'instructions', 'gpu')]
    return ', '.join(part for part in parts if isinstance(part, str)) or None
