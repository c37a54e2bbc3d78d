"""The built-in spaces against the published tables, and how spaces group their edges."""

from __future__ import annotations

import dataclasses

import pytest

from rdarts.errors import UserError
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.search_spaces.base import Edge, dense_cell

DARTS_OPERATIONS = (
    'none',
    'max_pool_3x3',
    'avg_pool_3x3',
    'skip_connect',
    'sep_conv_3x3',
    'sep_conv_5x5',
    'dil_conv_3x3',
    'dil_conv_5x5',
)
DARTS_EDGES = [(i, j) for j in range(2, 6) for i in range(j)]

SKIP, MAX, AVG = 'skip_connect', 'max_pool_3x3', 'avg_pool_3x3'
SEP3, DIL3, DIL5 = 'sep_conv_3x3', 'dil_conv_3x3', 'dil_conv_5x5'
S1 = {
    'normal': {
        (0, 2): (SKIP, DIL3), (1, 2): (SKIP, DIL5),
        (0, 3): (SKIP, DIL5), (1, 3): (SKIP, SEP3), (2, 3): (SKIP, DIL3),
        (0, 4): (MAX, SKIP), (1, 4): (SKIP, SEP3), (2, 4): (SKIP, SEP3), (3, 4): (SKIP, DIL3),
        (0, 5): (SKIP, SEP3), (1, 5): (MAX, SKIP), (2, 5): (SKIP, DIL3), (3, 5): (DIL3, DIL5),
        (4, 5): (DIL3, DIL5),
    },
    'reduce': {
        (0, 2): (MAX, AVG), (1, 2): (MAX, DIL3),
        (0, 3): (MAX, AVG), (1, 3): (MAX, AVG), (2, 3): (SKIP, DIL5),
        (0, 4): (MAX, AVG), (1, 4): (MAX, SEP3), (2, 4): (SKIP, DIL3), (3, 4): (SKIP, DIL5),
        (0, 5): (MAX, AVG), (1, 5): (MAX, AVG), (2, 5): (SKIP, DIL5), (3, 5): (SKIP, DIL5),
        (4, 5): (SKIP, DIL5),
    },
}  # fmt: skip


def test_nas_bench_201():
    space = build_space('nas_bench_201')
    (cell,) = space.cells.values()
    assert [(e.source, e.target) for e in cell.edges] == [
        (0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3),
    ]  # fmt: skip
    assert {e.candidates for e in cell.edges} == {
        ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
    }
    assert (cell.num_inputs, cell.num_nodes, cell.output) == (1, 4, 'last')
    assert space.num_edges == 6
    assert [g.name for g in space.groups] == ['cell']


@pytest.mark.parametrize(
    ('name', 'candidates'),
    [
        ('darts', DARTS_OPERATIONS),
        ('s2', ('skip_connect', 'sep_conv_3x3')),
        ('s3', ('none', 'skip_connect', 'sep_conv_3x3')),
        ('s4', ('noise', 'sep_conv_3x3')),
    ],
)
def test_spaces_of_one_candidate_list(name, candidates):
    space = build_space(name)
    assert space.name == name
    assert list(space.cells) == ['normal', 'reduce']
    for cell in space.cells.values():
        assert [(e.source, e.target) for e in cell.edges] == DARTS_EDGES
        assert {e.candidates for e in cell.edges} == {candidates}
        assert (cell.num_inputs, cell.num_nodes, cell.output) == (2, 6, 'concat')
    assert space.num_edges == 28
    assert [(g.name, len(g.edges), g.candidates) for g in space.groups] == [
        ('normal', 14, candidates),
        ('reduce', 14, candidates),
    ]
    assert space.candidates == candidates


def test_the_darts_space_without_some_candidates():
    space = build_space(dict(type='darts', leave_out=['none', 'avg_pool_3x3']))
    left = tuple(name for name in DARTS_OPERATIONS if name not in ('none', 'avg_pool_3x3'))
    assert space.candidates == left
    assert [(group.name, group.candidates) for group in space.groups] == [
        ('normal', left), ('reduce', left)
    ]  # fmt: skip
    whole = build_space('darts')
    assert space == dataclasses.replace(whole, cells=space.cells)
    assert build_space(dict(type='darts', leave_out=[])) == whole


@pytest.mark.parametrize(
    ('leave_out', 'message'),
    [
        ('none', "leave_out must be a list of candidates, but is 'none'"),
        (['skip_conect'], "names 'skip_conect', which is no candidate: did you mean 'skip_connect"),
        ([3], 'leave_out names 3, which is no candidate: known: avg_pool_3x3, '),
        (list(DARTS_OPERATIONS), 'leave_out leaves no candidate'),
    ],
)
def test_what_cannot_be_left_out(leave_out, message):
    with pytest.raises(UserError, match=f'^darts: .*{message}') as error:
        build_space(dict(type='darts', leave_out=leave_out))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('cell', ['normal', 'reduce'])
def test_s1_edge_by_edge(cell):
    space = build_space('s1')
    edges = space.cells[cell].edges
    assert {(e.source, e.target): e.candidates for e in edges} == S1[cell]
    assert [(e.source, e.target) for e in edges] == DARTS_EDGES


def test_s1_has_a_group_for_each_candidate_list():
    space = build_space('s1')
    sizes = {g.name: (g.candidates, len(g.edges)) for g in space.groups}
    assert sizes == {
        'normal_0': ((SKIP, DIL3), 4),
        'normal_1': ((SKIP, DIL5), 2),
        'normal_2': ((SKIP, SEP3), 4),
        'normal_3': ((MAX, SKIP), 2),
        'normal_4': ((DIL3, DIL5), 2),
        'reduce_0': ((MAX, AVG), 6),
        'reduce_1': ((MAX, DIL3), 1),
        'reduce_2': ((SKIP, DIL5), 5),
        'reduce_3': ((MAX, SEP3), 1),
        'reduce_4': ((SKIP, DIL3), 1),
    }


@pytest.mark.parametrize('name', ['darts', 's1', 's4', 'nas_bench_201'])
def test_slots_are_the_inverse_of_groups(name):
    space = build_space(name)
    groups = {group.name: group for group in space.groups}
    for cell, topology in space.cells.items():
        slots = space.slots(cell)
        assert len(set(slots)) == len(topology.edges)
        for index, (group, row) in enumerate(slots):
            assert groups[group].edges[row] == index
            assert groups[group].candidates == topology.edges[index].candidates


def test_parameter_free_operations():
    assert build_space('darts').parameter_free >= {'none', SKIP, MAX, AVG, 'noise'}
    assert not build_space('darts').parameter_free & {SEP3, DIL3, DIL5, 'nor_conv_1x1'}


def cell_table(**cell):
    return dict(type='CellSpace', name='mine', cells={'a': cell})


def test_a_table_of_edges_in_any_order():
    space = build_space(
        cell_table(
            num_inputs=2,
            num_nodes=4,
            output='concat',
            candidates=['skip_connect'],
            edges=[(2, 3), (0, 3, ['none', 'sep_conv_3x3']), [1, 2]],
        )
    )
    assert space.cells['a'].edges == (
        Edge(1, 2, ('skip_connect',)),
        Edge(0, 3, ('none', 'sep_conv_3x3')),
        Edge(2, 3, ('skip_connect',)),
    )
    assert [(g.name, g.edges) for g in space.groups] == [('a_0', (0, 2)), ('a_1', (1,))]
    assert space.discretizer == 'TopEdges'
    assert space.cells['a'].edges_into(3) == [1, 2]
    assert space.cells['a'].edges_from(2) == [2]


def test_a_table_with_one_list_for_all_edges():
    space = build_space(cell_table(num_nodes=3, candidates=['none', 'skip_connect']))
    assert space.cells['a'] == dense_cell(1, 3, ('none', 'skip_connect'), 'last')
    assert (space.genotype, space.discretizer) == ('cell', 'Argmax')
    assert build_space(space) is space


def test_a_table_with_one_list_an_edge():
    space = build_space(cell_table(num_nodes=3, candidates=[['none'], ['noise'], ['none']]))
    assert [e.candidates for e in space.cells['a'].edges] == [('none',), ('noise',), ('none',)]


def test_layers():
    space = build_space(
        dict(type='LayerwiseSpace', name='mine', layers=[['a', 'b'], ['a'], ('a', 'b')])
    )
    assert (space.genotype, space.discretizer, space.num_edges) == ('layerwise', 'Argmax', 3)
    assert [(g.name, g.edges) for g in space.groups] == [
        ('layerwise_0', (0, 2)),
        ('layerwise_1', (1,)),
    ]
    assert [(e.source, e.target) for e in space.cells['layerwise'].edges] == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]


TABLE_ERRORS = [
    (dict(num_nodes=2, nodes=2), "unknown key 'nodes'; a cell has num_inputs, num_nodes"),
    (dict(candidates=['none']), 'num_nodes and num_inputs must be integers'),
    (dict(num_nodes='3', candidates=['none']), 'num_nodes and num_inputs must be integers'),
    (dict(num_nodes=True, candidates=['none']), 'num_nodes and num_inputs must be integers'),
    (dict(num_nodes=3, num_inputs=3, candidates=['none']), 'less than num_nodes.*3 and 3'),
    (dict(num_nodes=3, num_inputs=0, candidates=['none']), 'must be 1 or more .*0 and 3'),
    (dict(num_nodes=3, output='sum', candidates=['none']), "'last' or 'concat', but is 'sum'"),
    (dict(num_nodes=3), 'give edges, or candidates for all of them'),
    (dict(num_nodes=3, candidates=[]), 'give edges, or candidates for all of them'),
    (dict(num_nodes=3, candidates='none'), "candidates must be a list of names, but are 'none'"),
    (dict(num_nodes=3, candidates=['none'] * 2), 'edge 0 -> 1 names a candidate twice'),
    (dict(num_nodes=3, candidates=[['none']]), '3 edges need 3 candidate lists: 1'),
    (dict(num_nodes=3, candidates=[['none'], [], ['none']]), 'edge 0 -> 2 needs a list of cand'),
    (dict(num_nodes=2, edges=3), 'edges must be a list, but are 3'),
    (dict(num_nodes=2, edges=[3]), r'an edge is \(source, target, candidates\), but got 3'),
    (dict(num_nodes=2, edges=[(0, 1)]), r'an edge is \(source, target, candidates\), but got'),
    (dict(num_nodes=2, edges=[(0, 1, ['none'], 4)]), r'an edge is \(source, target, candidates\)'),
    (dict(num_nodes=2, edges=[('0', 1, ['none'])]), "edge '0' -> 1 must join nodes by number"),
    (dict(num_nodes=2, edges=[(0, 1.0, ['none'])]), 'edge 0 -> 1.0 must join nodes by number'),
    (dict(num_nodes=3, edges=[(1, 1, ['none'])]), 'edge 1 -> 1 must lead from an earlier node'),
    (dict(num_nodes=3, edges=[(2, 1, ['none'])]), 'edge 2 -> 1 .* nodes 1 to 2'),
    (dict(num_nodes=3, edges=[(-1, 1, ['none'])]), 'edge -1 -> 1 must lead from an earlier'),
    (dict(num_nodes=3, edges=[(0, 3, ['none'])]), 'edge 0 -> 3 must lead .* nodes 1 to 2'),
    (
        dict(num_nodes=3, num_inputs=2, edges=[(0, 1, ['none'])]),
        'edge 0 -> 1 must lead .* nodes 2 to 2',
    ),
    (dict(num_nodes=2, edges=[(0, 1, [])]), 'edge 0 -> 1 needs a list of candidates'),
    (dict(num_nodes=2, edges=[(0, 1, 'none')]), "needs a list of candidates, but has 'none'"),
    (dict(num_nodes=2, edges=[(0, 1, [3])]), 'needs a list of candidates, but has .3.'),
    (dict(num_nodes=2, edges=[(0, 1, ['a', 'a'])]), 'edge 0 -> 1 names a candidate twice'),
    (dict(num_nodes=2, edges=[(0, 1, ['a']), (0, 1, ['b'])]), 'two edges join the same two nodes'),
    (dict(num_nodes=3, edges=[(0, 2, ['a'])]), 'no edge leads into node 1'),
    (dict(num_nodes=2, edges=[]), 'no edge leads into node 1'),
]


@pytest.mark.parametrize(('cell', 'message'), TABLE_ERRORS)
def test_errors_of_a_cell(cell, message):
    with pytest.raises(UserError, match=message) as error:
        build_space(cell_table(**cell))
    assert str(error.value).startswith("cell 'a' of the space's table: ")
    assert '\n' not in str(error.value)


CELL = dict(num_nodes=2, candidates=['none'])


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        (dict(name='x', cells={}), "space 'x': cells must be a dict of one cell type or more"),
        (dict(name='x', cells=[CELL]), "space 'x': cells must be a dict"),
        (dict(name='x', cells=dict(a=[1])), r"cell 'a' .*must be a dict, but is \[1\]"),
        (dict(name='x', cells={'a.b': CELL}), "cell 'a.b' .*named like a variable"),
        (dict(name='', cells=dict(a=CELL)), "a space's name must be a text, but is ''"),
        (dict(name=4, cells=dict(a=CELL)), "a space's name must be a text, but is 4"),
        (dict(cells=dict(a=CELL)), "search space 'CellSpace' needs 'name'"),
        (
            dict(name='x', cells=dict(a=CELL), operation_args=dict(nome={})),
            "operation_args has 'nome', which is no candidate: did you mean 'none'",
        ),
    ],
)
def test_errors_of_a_table(table, message):
    with pytest.raises(UserError, match=message) as error:
        build_space(dict(type='CellSpace', **table))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('layers', 'message'),
    [
        ([], "space 'x': layers must be a list of one candidate list or more"),
        ('none', "space 'x': layers must be a list"),
        (['none'], "edge 0 -> 1 needs a list of candidates, but has 'none'"),
        ([['none'], []], 'edge 1 -> 2 needs a list of candidates'),
        ([['none', 'none']], 'edge 0 -> 1 names a candidate twice'),
    ],
)
def test_errors_of_layers(layers, message):
    with pytest.raises(UserError, match=message):
        build_space(dict(type='LayerwiseSpace', name='x', layers=layers))


@pytest.mark.parametrize(
    ('stages', 'message'),
    [
        ([[8, 1, 2]], 'the stages have 1 layer, but layers lists 2'),
        ([[8, 2]], r'stages must be lists of width, depth and stride, but are \[\[8, 2\]\]'),
        ([[8, 2, 0]], 'stages must be lists of width, depth and stride'),
        ([[8.0, 2, 1]], 'stages must be lists of width, depth and stride'),
        ([8, 2, 1], 'stages must be lists of width, depth and stride'),
        (8, 'stages must be lists of width, depth and stride'),
    ],
)
def test_errors_of_stages(stages, message):
    layers = [['nor_conv_1x1', 'nor_conv_3x3']] * 2
    with pytest.raises(UserError, match=message):
        build_space(dict(type='LayerwiseSpace', name='x', layers=layers, stages=stages))


@pytest.mark.parametrize(
    ('space', 'message'),
    [
        ('dart', "unknown search space 'dart': did you mean 'darts'?"),
        ('rdarts.nas_bench201', "did you mean 'nas_bench_201'?"),
        (dict(type='CelSpace'), "did you mean 'CellSpace'?"),
        (dict(name='x'), "a search space needs a 'type'"),
        (None, "a search space is a name or a dict with a 'type', but got None"),
        (3, "a search space is a name or a dict with a 'type', but got 3"),
        (object(), 'a search space must be a SearchSpace'),
    ],
)
def test_unknown_spaces(space, message):
    with pytest.raises(UserError) as error:
        build_space(space)
    assert message in str(error.value)


def test_the_prefix_of_our_scope_is_understood():
    assert isinstance(build_space('rdarts.darts'), SearchSpace)
    assert build_space(dict(type='rdarts.s3')).name == 's3'
