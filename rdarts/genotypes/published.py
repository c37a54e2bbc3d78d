"""The published genotypes, by name."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from rdarts.genotypes.cell import CellGenotype

FILE = Path(__file__).with_name('published.json')


@functools.cache
def published() -> dict[str, CellGenotype]:
    """Name -> genotype."""
    data = json.loads(FILE.read_text(encoding='utf-8'))
    return {name: CellGenotype.from_dict(entry) for name, entry in data.items()}


def published_names() -> list[str]:
    """Names of the published genotypes that :func:`~rdarts.genotypes.load_genotype` knows."""
    return sorted(published())
