"""From alpha to genotype: DARTS's two strongest edges, and the strongest operation."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from rdarts.architect.discretizers import Argmax, Discretizer, TopEdges
from rdarts.errors import UserError
from rdarts.genotypes import DenseCellGenotype, load_genotype
from rdarts.registry import DISCRETIZERS, build
from rdarts.search_spaces import build_space

DARTS = build_space('darts')
NB201 = build_space('nas_bench_201')
OPS = DARTS.candidates
EDGES = [(e.source, e.target) for e in DARTS.cells['normal'].edges]


def alphas_of(nodes) -> torch.Tensor:
    """Alpha of a cell whose kept edges, in the order in which they are listed, are ``nodes``."""
    alpha = torch.zeros(14, 8)
    alpha[:, OPS.index('none')] = 1.0  # the edges that are not kept
    for target, edges in enumerate(nodes, 2):
        for strength, (name, source) in zip((4.0, 3.0), edges, strict=True):
            alpha[EDGES.index((source, target)), OPS.index(name)] = strength
    return alpha


@pytest.mark.data
@pytest.mark.parametrize('name', ['DARTS_V1', 'DARTS_V2', 'PC_DARTS_cifar'])
def test_published_genotypes(data_root, name):
    table = json.loads((data_root / 'genotypes.json').read_text())[name]
    text = ', '.join(
        f'{cell}={[tuple(pair) for pair in table[cell]]}, {cell}_concat=range(2, 6)'
        for cell in ('normal', 'reduce')
    )
    expected = load_genotype(f'Genotype({text})')
    alpha = {cell: alphas_of(expected.nodes[cell]) for cell in ('normal', 'reduce')}
    found = TopEdges()(alpha, DARTS)
    assert found == expected.validate('darts')
    assert found.to_string() == f'Genotype({text})'


def test_the_rule_by_hand():
    """Node 2 reads both inputs; the order is that of the weights, not of alpha.

    Edge 0 -> 2 has the larger alpha, but its `none` takes most of its softmax.
    """
    alpha = torch.zeros(14, 8)
    alpha[0, OPS.index('none')] = 5.0
    alpha[0, OPS.index('sep_conv_5x5')] = 2.0
    alpha[1, OPS.index('max_pool_3x3')] = 1.0
    first = math.exp(2) / (math.exp(5) + math.exp(2) + 6)
    second = math.exp(1) / (math.exp(1) + 7)
    assert first < second
    genotype = TopEdges()({'normal': alpha, 'reduce': alpha}, DARTS)
    assert genotype.nodes['normal'][0] == (('max_pool_3x3', 1), ('sep_conv_5x5', 0))
    assert genotype.concat == {'normal': (2, 3, 4, 5), 'reduce': (2, 3, 4, 5)}


def test_the_weakest_edges_go():
    alpha = torch.zeros(14, 8)
    for source, strength in enumerate((0.1, 0.4, 0.2, 0.5, 0.3)):
        alpha[EDGES.index((source, 5)), OPS.index('dil_conv_3x3')] = strength
    nodes = TopEdges()({'normal': alpha, 'reduce': alpha}, DARTS).nodes['normal']
    assert nodes[3] == (('dil_conv_3x3', 3), ('dil_conv_3x3', 1))
    nodes = TopEdges(k=3)({'normal': alpha, 'reduce': alpha}, DARTS).nodes['normal']
    assert [source for _, source in nodes[3]] == [3, 1, 4]
    assert [len(edges) for edges in nodes] == [2, 3, 3, 3]


def test_none_is_never_kept_by_top_edges():
    alpha = torch.zeros(14, 8)
    alpha[:, OPS.index('none')] = 100.0
    alpha[:, OPS.index('skip_connect')] = 1.0
    genotype = TopEdges()({'normal': alpha, 'reduce': alpha}, DARTS)
    assert set(genotype.operations()) == {'skip_connect'}


def test_ties_take_the_earlier_node_and_the_earlier_operation():
    alpha = torch.zeros(14, 8)
    genotype = TopEdges()({'normal': alpha, 'reduce': alpha}, DARTS)
    for edges in genotype.nodes['normal']:
        assert edges == (('max_pool_3x3', 0), ('max_pool_3x3', 1))


def test_very_large_alphas_do_not_overflow():
    alpha = torch.zeros(14, 8)
    alpha[1, OPS.index('sep_conv_3x3')] = 1e4
    alpha[0, OPS.index('sep_conv_5x5')] = -1e4
    nodes = TopEdges()({'normal': alpha, 'reduce': alpha}, DARTS).nodes['normal']
    assert nodes[0] == (('sep_conv_3x3', 1), ('max_pool_3x3', 0))


def test_unequal_candidates():
    space = build_space('s1')
    torch.manual_seed(0)
    alpha = {g.name: torch.randn(len(g.edges), 2) for g in space.groups}
    genotype = TopEdges()(alpha, space).validate('s1')
    for cell, topology in space.cells.items():
        beta = [alpha[group].softmax(1)[row] for group, row in space.slots(cell)]
        for target, edges in enumerate(genotype.nodes[cell], 2):
            into = topology.edges_into(target)
            order = sorted(into, key=lambda i: -beta[i].max().item())[:2]
            assert edges == tuple(
                (topology.edges[i].candidates[int(beta[i].argmax())], topology.edges[i].source)
                for i in order
            )


# NAS-Bench-201


def test_argmax_of_every_cell_edge():
    torch.manual_seed(0)
    for _ in range(20):
        alpha = torch.randn(6, 5)
        ops = tuple(NB201.candidates[i] for i in alpha.argmax(1).tolist())
        assert Argmax()({'cell': alpha}, NB201) == DenseCellGenotype(NB201.name, ops)
        ops = tuple(NB201.candidates[1:][i] for i in alpha[:, 1:].argmax(1).tolist())
        assert Argmax(allow_none=False)({'cell': alpha}, NB201) == DenseCellGenotype(
            NB201.name, ops
        )


def test_none_may_be_derived_unless_told_otherwise():
    alpha = torch.zeros(6, 5)
    alpha[:, 0], alpha[:, 3] = 2.0, 1.0
    assert set(Argmax()({'cell': alpha}, NB201).ops) == {'none'}
    assert set(Argmax(allow_none=False)({'cell': alpha}, NB201).ops) == {'nor_conv_3x3'}
    assert build(NB201.discretizer, DISCRETIZERS).allow_none is True


def test_argmax_takes_the_first_of_a_tie():
    alpha = torch.zeros(6, 5)
    assert set(Argmax()({'cell': alpha}, NB201).ops) == {'none'}
    assert set(Argmax(allow_none=False)({'cell': alpha}, NB201).ops) == {'skip_connect'}
    alpha[:, 2:4] = 1.0
    assert set(Argmax()({'cell': alpha}, NB201).ops) == {'nor_conv_1x1'}


def test_the_paper_cell():
    """r-DARTS, lambda .75, CIFAR-10 (index 13714 of the benchmark)."""
    text = (
        '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|'
        '+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|'
    )
    alpha = torch.zeros(6, 5)
    for row, column in enumerate((3, 3, 3, 1, 2, 3)):
        alpha[row, column] = 0.01
    assert Argmax()({'cell': alpha}, NB201).to_string() == text


def test_argmax_in_a_space_of_cells_keeps_every_edge():
    torch.manual_seed(0)
    alpha = {'normal': torch.randn(14, 8), 'reduce': torch.randn(14, 8)}
    genotype = Argmax()(alpha, DARTS).validate('darts')
    for cell in ('normal', 'reduce'):
        assert [len(edges) for edges in genotype.nodes[cell]] == [2, 3, 4, 5]
        found = {
            (source, target): op
            for target, edges in enumerate(genotype.nodes[cell], 2)
            for op, source in edges
        }
        for pair, row in zip(EDGES, alpha[cell], strict=True):
            assert found[pair] == OPS[int(row.argmax())]
    assert genotype.concat['normal'] == (2, 3, 4, 5)


def test_a_rule_reads_alpha_and_changes_nothing():
    alpha = torch.nn.Parameter(torch.randn(6, 5), requires_grad=True)
    before = alpha.detach().clone()
    Argmax()({'cell': alpha}, NB201)
    assert torch.equal(alpha, before) and alpha.grad is None


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_any_precision(dtype):
    alpha = torch.eye(5, dtype=dtype)[[0, 1, 2, 3, 4, 0]]
    assert Argmax()({'cell': alpha}, NB201).ops == (*NB201.candidates, 'none')


@pytest.mark.parametrize('k', [0, -1, 1.5, 'two'])
def test_k_is_a_positive_integer(k):
    with pytest.raises(UserError, match=f'TopEdges: k must be a positive integer, but is {k!r}'):
        build(dict(type='rdarts.TopEdges', k=k), DISCRETIZERS)


def test_top_edges_needs_cells():
    with pytest.raises(UserError, match="TopEdges does not fit the space 'nas_bench_201'.*Argmax"):
        TopEdges()({'cell': torch.zeros(6, 5)}, NB201)


def test_an_unknown_rule():
    with pytest.raises(UserError, match="unknown discretizer 'TopEdge': did you mean 'TopEdges'"):
        build('TopEdge', DISCRETIZERS)


def test_a_rule_overrides_the_call():
    class Half(Discretizer):
        pass

    with pytest.raises(TypeError, match='Half does not override __call__'):
        Half()({}, NB201)


def test_a_node_that_could_only_read_none():
    table = dict(
        type='CellSpace',
        name='x',
        discretizer='TopEdges',
        cells=dict(a=dict(num_nodes=3, output='concat', candidates=[['none'], ['none'], ['a']])),
    )
    space = build_space(table)
    alpha = {group.name: torch.zeros(len(group.edges), 1) for group in space.groups}
    with pytest.raises(UserError, match="space 'x', cell 'a': no edge into node 1 has a candid"):
        TopEdges()(alpha, space)


def test_every_nas_bench_201_choice_is_a_valid_genotype():
    for columns in itertools.islice(itertools.product(range(5), repeat=6), 0, None, 619):
        alpha = torch.eye(5)[list(columns)]
        Argmax()({'cell': alpha}, NB201).validate('nas_bench_201')
