"""What the report's parts have in common: drawings that are made once, and short numbers."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from rdarts.results.search_run import SearchRun
from rdarts.visualization.drawing.layout import lay_out
from rdarts.visualization.drawing.svg import page_as_data

POINTS = 300  # of a line, at most, beside those of the slider


class Drawings:
    """The drawings that a page has of one search, each genotype once.

    Args:
        run (SearchRun): The search.
        seen (dict): Drawings that were made before, by genotype; further ones are added.
        weighted (bool): Whether edges have weights, which are drawn.
    """

    def __init__(self, run: SearchRun, seen: dict[str, dict[str, Any]], weighted: bool) -> None:
        self._run, self._seen, self._weighted = run, seen, weighted
        self._places: dict[str, int] = {}

    def place(self, row: Mapping[str, Any]) -> int | None:
        """Which of :attr:`all` is of a row; None where the row has no genotype."""
        text = row.get('genotype')
        if text is None:
            return None
        if text not in self._seen:
            page = lay_out(self._run.genotype_of(row), self._run.space, self._weighted)
            self._seen[text] = dict(genotype=text, **page_as_data(page))
        return self._places.setdefault(text, len(self._places))

    @property
    def all(self) -> list[dict[str, Any]]:
        """The drawings, in the order in which they were asked for."""
        return [self._seen[text] for text in self._places]


def short(value: float) -> float:
    """In four decimals."""
    return round(value, 4)


def plain(value: float) -> float:
    """In four decimals, or in four digits where it is small."""
    return round(value, 4) if abs(value) >= 0.1 else float(f'{value:.4g}')


def points_in(values: Mapping[int, float]) -> int:
    """How many of its points a line has one for: 1 where all are drawn."""
    return max(1, -(-len(values) // POINTS))


def points(values: Mapping[int, float], kept: Container[int] = ()) -> list[list[float]]:
    """[epoch or query, value], some hundred at most: the last one and evenly many before.

    Args:
        values (dict): Epoch or query -> value.
        kept (Container[int]): Further ones whose value the page shows. Defaults to none.
    """
    places = sorted(values)
    drawn = set(places[:: -points_in(values)])
    return [[at, plain(values[at])] for at in places if at in drawn or at in kept]
