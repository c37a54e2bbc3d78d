"""Which cells a found one is compared with."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.genotypes import DenseCellGenotype, dumps, load_genotype
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import SearchSpace, dense_cell
from rdarts.study.cells import baselines_of, read_found


@pytest.fixture
def own_space():
    def rows() -> SearchSpace:
        cells = {'cell': dense_cell(1, 3, ('none', 'nor_conv_3x3'), output='last')}
        return SearchSpace('own_rows', cells, genotype='dense_cell', discretizer='Argmax')

    SEARCH_SPACES.register_module(name='own_rows', module=rows)
    yield 'own_rows'
    SEARCH_SPACES.module_dict.pop('own_rows')


def test_baselines_are_those_that_the_space_has(own_space, tmp_path):
    found = DenseCellGenotype('nas_bench_201', ('none',) * 6)
    assert {name: cell.ops[0] for name, cell in baselines_of(found).items()} == dict(
        all_skip='skip_connect', all_3x3='nor_conv_3x3'
    )
    (tmp_path / 'genotype.json').write_text(dumps(DenseCellGenotype(own_space, ('none',) * 3)))
    cells = baselines_of(read_found(tmp_path))
    assert cells == dict(all_3x3=DenseCellGenotype(own_space, ('nor_conv_3x3',) * 3))


def test_cells_of_another_form_are_refused(tmp_path):
    (tmp_path / 'genotype.json').write_text(dumps(load_genotype('DARTS_V2')))
    with pytest.raises(UserError, match="a genotype of the space 'darts', but cells are compared"):
        read_found(tmp_path)
