"""Genotypes: what a search finds, as plain data.

A genotype is written as JSON with the name of its space, and read back from JSON or from the
official strings, which are parsed and never evaluated. Each form is one file, found in
``GENOTYPE_FORMS``. Importing this package needs no torch.
"""

from rdarts.genotypes.cell import CellGenotype
from rdarts.genotypes.dense_cell import DenseCellGenotype
from rdarts.genotypes.describe import count_skips, dumps, short_form, skips_by_cell
from rdarts.genotypes.form import Genotype, GenotypeSpec, Graph, form_named
from rdarts.genotypes.layerwise import LayerwiseGenotype
from rdarts.genotypes.published import published_names
from rdarts.genotypes.reading import (
    from_dict,
    is_text,
    load_genotype,
    parse_genotype,
    read_genotype,
)

__all__ = [
    'CellGenotype',
    'DenseCellGenotype',
    'Genotype',
    'GenotypeSpec',
    'Graph',
    'LayerwiseGenotype',
    'count_skips',
    'dumps',
    'form_named',
    'from_dict',
    'is_text',
    'load_genotype',
    'parse_genotype',
    'published_names',
    'read_genotype',
    'short_form',
    'skips_by_cell',
]
