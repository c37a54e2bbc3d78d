"""What every form of a genotype does, and a form of one's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from rdarts.errors import UserError
from rdarts.genotypes import (
    DenseCellGenotype,
    Genotype,
    dumps,
    form_named,
    from_dict,
    load_genotype,
    parse_genotype,
)
from rdarts.registry import GENOTYPE_FORMS
from rdarts.search_spaces import build_space

SPACES = dict(cell='s2', dense_cell='nas_bench_201', layerwise='mobilenet_like')


def first_of_each_edge(space):
    """The first candidate of every edge, in the space's form."""
    names = {
        cell: [edge.candidates[0] for edge in topology.edges]
        for cell, topology in space.cells.items()
    }
    return form_named(space.genotype).of_edges(space, names)


@pytest.mark.parametrize('kind', sorted(GENOTYPE_FORMS.module_dict))
def test_a_form_goes_there_and_back(kind):
    space = build_space(SPACES[kind])
    if kind == 'cell':  # its official text has two edges a node
        genotype = load_genotype(
            'Genotype(' + ', '.join(
                f"{cell}={[('skip_connect', 0), ('skip_connect', 1)] * 4}, "
                f'{cell}_concat=range(2, 6)'
                for cell in space.cells
            ) + ')',
            space,
        )  # fmt: skip
    else:
        genotype = first_of_each_edge(space)
    assert genotype.kind == kind == space.genotype and type(genotype).fits(space.cells)
    assert genotype.validate(space) is genotype
    assert from_dict(json.loads(dumps(genotype))) == genotype
    assert parse_genotype(genotype.to_string(), space.name) == genotype
    by_cell = genotype.operations_by_cell()
    assert genotype.operations() == [name for names in by_cell.values() for name in names]
    assert set(by_cell) == set(space.cells) == {g.name for g in genotype.graphs(space)}


@pytest.mark.parametrize('kind', sorted(GENOTYPE_FORMS.module_dict))
def test_an_encoding_has_a_one_for_each_kept_candidate(kind):
    space = build_space(SPACES[kind])
    rows = first_of_each_edge(space).encode(space)
    for cell, topology in space.cells.items():
        assert rows[cell] == [[1] + [0] * (len(e.candidates) - 1) for e in topology.edges]


def test_edges_that_are_not_kept_are_zero():
    space = build_space('s2')
    pairs = [('skip_connect', 0), ('sep_conv_3x3', 1)] * 4
    cells = ', '.join(f'{cell}={pairs}, {cell}_concat=range(2, 6)' for cell in space.cells)
    rows = load_genotype(f'Genotype({cells})', space).encode(space)['normal']
    assert [row for row, edge in zip(rows, space.cells['normal'].edges, strict=True)
            if edge.source == 0] == [[1, 0]] * 4  # fmt: skip
    assert sum(map(sum, rows)) == 8
    with pytest.raises(UserError, match="but 'darts' is needed"):
        load_genotype(f'Genotype({cells})', space).encode('darts')


def test_a_text_without_a_space_is_of_the_first_space_of_its_form():
    cell = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'
    assert parse_genotype(cell) == DenseCellGenotype('nas_bench_201', ('none',) * 6)
    assert parse_genotype('skip_connect - mbconv_k3_e3').space == 'mobilenet_like'


def test_a_form_that_does_not_say_everything_cannot_be_made():
    class Some(Genotype):
        kind = 'some'

    with pytest.raises(TypeError, match='abstract'):
        Some()


def test_a_form_of_ones_own():
    @GENOTYPE_FORMS.register_module(name='choices')
    @dataclass(frozen=True)
    class Choices(Genotype):
        """Numbers of blocks."""

        kind: ClassVar[str] = 'choices'
        start: ClassVar[re.Pattern[str]] = re.compile(r'choose\(')
        space: str
        blocks: tuple[int, ...]

        @classmethod
        def fits(cls, cells):
            return list(cells) == ['choices']

        @classmethod
        def takes(cls, text):
            return text.startswith('choose(')

        @classmethod
        def of_edges(cls, space, operations):
            return cls(space.name, tuple(map(int, operations['choices'])))

        def validate(self, space):
            return self

        def operations_by_cell(self):
            return dict(choices=[str(count) for count in self.blocks])

        def to_string(self):
            return f'choose({",".join(map(str, self.blocks))})'

        def graphs(self, space=None):
            return []

        @classmethod
        def from_string(cls, text, space):
            return cls(space, tuple(map(int, text[7:-1].split(','))))

        @classmethod
        def from_dict(cls, data):
            return cls(data['space'], tuple(data['blocks']))

        def to_dict(self):
            return dict(space=self.space, kind=self.kind, blocks=list(self.blocks))

    try:
        found = parse_genotype('best = choose(1,2)', 'mine')
        assert found == Choices('mine', (1, 2))
        assert from_dict(json.loads(dumps(found))) == found
        assert parse_genotype(found.to_string(), 'mine') == found
        assert found.operations() == ['1', '2']
        with pytest.raises(UserError, match="no space is registered for texts of the form 'choic"):
            parse_genotype('choose(1,2)')
    finally:
        del GENOTYPE_FORMS.module_dict['choices']
    with pytest.raises(UserError, match="unknown form of genotypes 'choices'"):
        form_named('choices')
