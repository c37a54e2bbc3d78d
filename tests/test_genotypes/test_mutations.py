"""Genotypes at random, one change away from another, and as vectors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, DenseCellGenotype, form_named, load_genotype
from rdarts.search_spaces import build_space
from rdarts.search_spaces.base import SearchSpace, dense_cell

SPACES = ('darts', 'mobilenet_like', 'nas_bench_201', 'nasnet', 's1', 's4')


def generator(seed=0):
    return np.random.default_rng(seed)


def random_of(space, seed=0):
    return form_named(space.genotype).random(space, generator(seed))


@pytest.mark.parametrize('name', SPACES)
def test_random_and_mutated_genotypes_are_of_the_space(name):
    space = build_space(name)
    draws = generator()
    genotype = form_named(space.genotype).random(space, draws)
    for _ in range(50):
        other = genotype.mutated(space, draws)
        assert other != genotype and other.validate(space) is other
        before, after = (sum(one.vector(space)) for one in (genotype, other))
        assert before == after or space.repeated_edges
        genotype = other
    assert random_of(space, 1) == random_of(space, 1) != random_of(space, 2)


@pytest.mark.parametrize('name', SPACES)
def test_a_genotype_is_its_choices(name):
    space = build_space(name)
    form = form_named(space.genotype)
    draws = generator()
    for _ in range(20):
        drawn = draws.integers(form.choices(space)).tolist()
        genotype = form.of_choices(space, drawn).validate(space)
        chosen = genotype.chosen(space)
        assert all(mine in (None, other) for mine, other in zip(chosen, drawn, strict=True))
        free = [0 if mine is None else mine for mine in chosen]
        assert form.of_choices(space, free) == genotype


def test_choices_of_cells():
    darts = build_space('darts')
    # of each node the pairs of sources, then seven operations of each edge
    one_cell = [1, 7, 7, 3, 7, 7, 7, 6, *[7] * 4, 10, *[7] * 5]
    assert CellGenotype.choices(darts) == one_cell * 2
    assert CellGenotype.choices(build_space('nasnet'))[:5] == [3, 9, 9, 9, 9]
    assert DenseCellGenotype.choices(build_space('nas_bench_201')) == [5] * 6
    backwards = load_genotype(
        'Genotype(' + ', '.join(
            f"{cell}={[('skip_connect', 1), ('skip_connect', 0)] * 4}, {cell}_concat=range(2, 6)"
            for cell in darts.cells
        ) + ')'
    )  # fmt: skip
    with pytest.raises(UserError, match="'normal': node 2 must read two nodes in their order"):
        backwards.chosen(darts)


@pytest.mark.parametrize('name', SPACES)
def test_a_mutation_is_one_of_the_neighbours(name):
    space = build_space(name)
    genotype = random_of(space)
    texts = [one.validate(space).to_string() for one in genotype.neighbours(space)]
    assert len(set(texts)) == len(texts) and genotype.to_string() not in texts
    draws = generator()
    assert {genotype.mutated(space, draws).to_string() for _ in range(40 * len(texts))} == set(
        texts
    )


def test_operations_of_edges_are_uniform():
    space = build_space('nas_bench_201')
    draws = generator()
    cells = [DenseCellGenotype.random(space, draws) for _ in range(2000)]
    parent, changed = cells[0], Counter()
    for place, edge in enumerate(space.cells['cell'].edges):
        counts = Counter(cell.ops[place] for cell in cells)
        assert set(counts) == set(edge.candidates)
        assert all(abs(count - 400) < 4 * (400 * 0.8) ** 0.5 for count in counts.values())
    for _ in range(3000):
        ops = parent.mutated(space, draws).ops
        ((place, name),) = ((i, op) for i, op in enumerate(ops) if op != parent.ops[i])
        changed[place, name] += 1
    assert len(changed) == 24  # of mean 125
    assert all(abs(count - 125) < 4 * 125**0.5 for count in changed.values())


def test_the_order_of_neighbours():
    space = build_space('nas_bench_201')
    cell = DenseCellGenotype('nas_bench_201', ('none',) * 6)
    others = [name for name in space.candidates if name != 'none']
    assert [one.ops for one in cell.neighbours(space)] == [
        tuple(name if i == edge else 'none' for i in range(6))
        for edge in range(6)
        for name in others
    ]


def test_a_node_of_a_random_cell_reads_two_others():
    space = build_space('darts')
    for seed in range(20):
        genotype = random_of(space, seed)
        assert genotype.concat == dict(normal=(2, 3, 4, 5), reduce=(2, 3, 4, 5))
        assert 'none' not in genotype.operations()
        for nodes in genotype.nodes.values():
            assert all(len({source for _, source in pairs}) == 2 for pairs in nodes)
    repeated = [random_of(build_space('nasnet'), seed) for seed in range(20)]
    sources = [{s for _, s in pairs} for one in repeated for p in one.nodes.values() for pairs in p]
    assert {len(some) for some in sources} == {1, 2}


def test_the_changes_of_a_cell_are_of_operations_and_of_sources():
    names = ('none', 'skip_connect', 'sep_conv_3x3')
    space = SearchSpace('own', dict(normal=dense_cell(2, 4, names, 'concat')))
    genotype = CellGenotype(
        'own',
        dict(normal=((('skip_connect', 0), ('skip_connect', 1)),) * 2),
        dict(normal=(2, 3)),
    )
    skip, other = names[1:]
    first = tuple((skip, source) for source in (0, 1))
    assert [one.nodes['normal'] for one in genotype.neighbours(space)] == [
        (((other, 0), (skip, 1)), first),
        (((skip, 0), (other, 1)), first),
        (first, ((other, 0), (skip, 1))),
        (first, ((skip, 0), (other, 1))),
        (first, ((skip, 1), (skip, 2))),  # the first node has no other sources
        (first, ((skip, 0), (skip, 2))),
    ]


def test_a_source_without_the_operation_gives_its_own():
    edges = [('skip_connect',), ('skip_connect',), ('noise', 'sep_conv_3x3')]
    space = SearchSpace('own', dict(normal=dense_cell(3, 4, edges, 'last')))
    pairs = (('skip_connect', 0), ('skip_connect', 1))
    genotype = CellGenotype('own', dict(normal=(pairs,)), dict(normal=(3,)))
    assert [one.nodes['normal'][0] for one in genotype.neighbours(space)] == [
        (('skip_connect', 1), ('noise', 2)),
        (('skip_connect', 1), ('sep_conv_3x3', 2)),
        (('skip_connect', 0), ('noise', 2)),
        (('skip_connect', 0), ('sep_conv_3x3', 2)),
    ]


def test_dropped_edges_stay_dropped():
    space = build_space('darts')
    alive = {
        cell: [[edge.source != 0] * len(edge.candidates) for edge in topology.edges]
        for cell, topology in space.cells.items()
    }
    space = space.restrict(alive)
    for seed in range(5):
        genotype = random_of(space, seed).mutated(space, generator(seed)).validate(space)
        assert [len(pairs) for pairs in genotype.nodes['normal']] == [1, 2, 2, 2]
        assert all(source for pairs in genotype.nodes['normal'] for _, source in pairs)


def test_a_vector_is_the_encoding():
    space = build_space('nas_bench_201')
    names = space.candidates
    vector = DenseCellGenotype('nas_bench_201', (*names, names[0])).vector(space)
    assert vector.dtype == np.float64
    assert vector.reshape(6, 5).argmax(1).tolist() == [0, 1, 2, 3, 4, 0] and vector.sum() == 6
    assert load_genotype('DARTS_V2').vector('darts').shape == (224,)


def test_what_cannot_be_mutated_is_one_line():
    space = SearchSpace('own', dict(normal=dense_cell(1, 2, ['skip_connect'], 'last')))
    space = SearchSpace('own', space.cells, genotype='dense_cell')
    genotype = random_of(space)
    assert genotype.neighbours(space) == []
    with pytest.raises(UserError, match="'own' has a single genotype, which cannot be mutated"):
        genotype.mutated(space, generator())
    with pytest.raises(UserError, match="of the space 'own', but 'darts' is needed"):
        genotype.mutated(build_space('darts'), generator())
    with pytest.raises(UserError, match="of the space 'own', but 'darts' is needed"):
        genotype.neighbours(build_space('darts'))
