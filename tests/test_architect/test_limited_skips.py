"""At most so many skip connections, against P-DARTS's published code."""

from __future__ import annotations

import pytest
import torch
from golden import double, golden

from rdarts.architect.discretizers import LimitedSkips, TopEdges
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.errors import UserError
from rdarts.genotypes import skips_by_cell
from rdarts.models import AlphaOwner
from rdarts.registry import DISCRETIZERS, build
from rdarts.search_spaces import build_space

DARTS = build_space('darts')
RULE = dict(type='rdarts.LimitedSkips')


def last_stage(given) -> AlphaOwner:
    """Alpha of the golden case: three candidates of each edge are alive."""
    owner = AlphaOwner('darts').double()
    assert given['primitives'] == list(DARTS.candidates)
    for cell in ('normal', 'reduce'):
        alpha = owner.arch_parameters[cell].data
        for edge, places in enumerate(given['survivors_per_edge']):
            alpha[edge, places] = double(given[f'alpha_{cell}'])[edge]
            gone = [name for k, name in enumerate(DARTS.candidates) if k not in places]
            owner.prune(cell, edge, gone)
    return owner


def pairs(genotype, cell):
    """As the published list: by node, the edges of a node by source."""
    return [
        list(pair)
        for node in genotype.nodes[cell]
        for pair in sorted(node, key=lambda pair: pair[1])
    ]


def test_limits_of_p_darts():
    given, expected, _ = golden('pdarts', 'final_genotype_and_skip_limit')
    view = last_stage(given).view()
    last = phases_of(load_config(configs_folder() / 'search' / 'pdarts_darts_c10.py'))[-1].cfg
    rule = build(last.default_hooks.genotype.discretizer, DISCRETIZERS)
    others = rule.others(*view)
    assert list(others) == [f'skips_{limit}' for limit in range(8, -1, -1)]
    for limit in range(9):
        found = others[f'skips_{limit}']
        name = f'at_most_{limit}' if limit < 5 else 'initial'
        assert pairs(found, 'normal') == expected['normal'][name]
        assert pairs(found, 'reduce') == expected['reduce']
        assert skips_by_cell(found)['normal'] == expected['skips'][name]
    assert rule(*view) == others['skips_2']
    assert TopEdges()(*view) == others['skips_8']
    assert TopEdges().others(*view) == {}


def test_a_node_keeps_its_inputs():
    """Nothing but skip connections and none: they stay, however few are allowed."""
    owner = AlphaOwner('s3').double()
    for edge in range(14):
        owner.prune('normal', edge, ['sep_conv_3x3'])
    owner.prune('reduce', 0, ['skip_connect'])
    owner.arch_parameters['normal'].data.copy_(torch.randn(14, 3).double())
    found = LimitedSkips(0)(*owner.view())
    assert skips_by_cell(found)['normal'] == 8
    assert [len(node) for node in found.nodes['normal']] == [2] * 4
    both = LimitedSkips(0, cells=['normal', 'reduce'])(*owner.view())
    assert skips_by_cell(both) == dict(normal=8, reduce=0)


def test_the_weakest_goes_and_alpha_stays():
    alpha = torch.zeros(14, 8, dtype=torch.float64)
    skip, conv = DARTS.candidates.index('skip_connect'), DARTS.candidates.index('sep_conv_3x3')
    alpha[:, conv] = 0.5
    alpha[:2, skip] = double([3.0, 2.0])  # the edges into node 2
    before = alpha.clone()
    found = LimitedSkips(1)(dict(normal=alpha, reduce=alpha), DARTS)
    assert found.nodes['normal'][0] == (('skip_connect', 0), ('sep_conv_3x3', 1))
    assert found.nodes['reduce'][0] == (('skip_connect', 0), ('skip_connect', 1))
    assert torch.equal(alpha, before)
    tie = LimitedSkips(1)(dict.fromkeys(('normal', 'reduce'), alpha.clamp(max=2.0)), DARTS)
    assert tie.nodes['normal'][0] == (('skip_connect', 1), ('sep_conv_3x3', 0))


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(skips=-1), '^LimitedSkips: skips must be an integer, 0 or more, but is -1$'),
        (dict(most=1.5), 'most must be an integer, 0 or more, but is 1.5'),
        (dict(k=0), '^LimitedSkips: k must be a positive integer, but is 0$'),
    ],
)
def test_arguments_that_are_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        build(dict(RULE, **arguments), DISCRETIZERS)


def test_spaces_that_are_refused():
    space = build_space('nas_bench_201')
    alphas = dict(cell=torch.zeros(6, 5))
    with pytest.raises(
        UserError, match="cells has 'normal', but those of the space 'nas_bench_201' are cell$"
    ):
        LimitedSkips()(alphas, space)
    with pytest.raises(UserError, match="^LimitedSkips does not fit the space 'nas_bench_201'"):
        LimitedSkips(cells=['cell'])(alphas, space)


def test_an_edge_that_was_dropped_has_no_skip_connection():
    owner = AlphaOwner('darts')
    owner.drop_edge('normal', 2)
    found = LimitedSkips(0)(*owner.view())
    assert skips_by_cell(found)['normal'] == 0
    dropped = DARTS.cells['normal'].edges[2]
    into = found.nodes['normal'][dropped.target - 2]
    assert dropped.source not in [source for _, source in into]
