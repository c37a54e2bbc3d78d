"""What is said of a genotype to people, and how it is written into a file."""

from __future__ import annotations

import json
from collections import Counter

from rdarts.genotypes.form import Genotype


def count_skips(genotype: Genotype) -> int:
    """Number of skip connections, the sign of collapse."""
    return genotype.operations().count('skip_connect')


def skips_by_cell(genotype: Genotype) -> dict[str, int]:
    """The number of skip connections in each cell type."""
    cells = genotype.operations_by_cell()
    return {cell: names.count('skip_connect') for cell, names in cells.items()}


def short_form(genotype: Genotype, longest: int = 120) -> str:
    """A genotype for people: its official string, or how often it has each operation.

    Args:
        genotype (Genotype): The genotype.
        longest (int): Characters of an official string that is shown as it is. Defaults to 120.
    """
    text = genotype.to_string()
    if len(text) <= longest:
        return text
    cells = genotype.operations_by_cell()
    if len(cells) == 1:
        return _counted(genotype.operations())
    return '; '.join(f'{cell}: {_counted(names)}' for cell, names in cells.items())


def _counted(operations: list[str]) -> str:
    counts = Counter(operations).most_common()
    return ', '.join(f'{count} {operation}' for operation, count in counts)


def dumps(genotype: Genotype) -> str:
    """A genotype as JSON text, always the same for the same genotype."""
    return json.dumps(genotype.to_dict(), indent=1, sort_keys=True) + '\n'
