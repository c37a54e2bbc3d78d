"""The strongest candidates of each edge go on, against P-DARTS's published code."""

from __future__ import annotations

import pytest
import torch
from golden import double, golden
from mmengine.config import Config

from rdarts.architect.transitions import Beginning, Ended, KeepTopOps
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.registry import TRANSITIONS, build
from rdarts.search_spaces import build_space

SEARCH = configs_folder() / 'search'
OPS = build_space('nas_bench_201').candidates


def owner(space='nas_bench_201', relaxation='rdarts.Softmax', alive=None, **alphas) -> AlphaOwner:
    """The owner of some alpha, with the masks of another."""
    made = AlphaOwner(space, relaxation).double()
    state = made.state_dict()
    state.update({f'arch_parameters.{name}': double(alpha) for name, alpha in alphas.items()})
    if alive is not None:
        state.update({k: v for k, v in alive.state_dict().items() if k.startswith('alive.')})
    made.load_state_dict(state)
    return made


def after(last: AlphaOwner, start: dict) -> AlphaOwner:
    """The phase after ``last``, with its masks and those of the transition."""
    new = owner(last.space, alive=last)
    build(start, TRANSITIONS)(Beginning(Config(), new), Ended(Config(), last))
    return new


def kept(keep: int, last: AlphaOwner, **options) -> AlphaOwner:
    return after(last, dict(type='rdarts.KeepTopOps', keep=keep, **options))


def places(one: AlphaOwner, cell: str) -> list[list[int]]:
    return [[k for k, flag in enumerate(edge) if flag] for edge in one.alive[cell]]


def names(one: AlphaOwner, cell: str = 'cell') -> list[tuple[str, ...]]:
    return [edge.candidates for edge in one.view()[1].cells[cell].edges]


def test_what_p_darts_keeps_from_stage_to_stage():
    given, expected, _ = golden('pdarts', 'op_dropping_between_stages')
    first = given['alpha_stage1']
    assert given['primitives'] == list(build_space('darts').candidates)
    _, (to_second,), (to_third,) = (
        phase.start for phase in phases_of(load_config(SEARCH / 'pdarts_darts_c10.py'))
    )
    second = after(owner('darts', normal=first, reduce=first), to_second)
    after_first = expected['kept_after_stage1']
    assert places(second, 'normal') == places(second, 'reduce') == after_first
    # alpha of the second stage in the places of the whole space; what is dead has any value
    whole = torch.full((14, 8), 100.0, dtype=torch.float64)
    for row, columns in enumerate(after_first):
        whole[row, columns] = double(given['alpha_stage2'])[row]
    whole = whole.tolist()
    third = after(owner('darts', alive=second, normal=whole, reduce=whole), to_third)
    # places of survivors in the published order are those in the whole space
    assert places(third, 'normal') == expected['kept_after_stage2']


def test_it_ranks_by_what_the_relaxation_expects():
    alpha = [[0.0, 1.0, 2.0, 3.0, 4.0]] * 6
    for relaxation in ('rdarts.Softmax', 'rdarts.Sigmoid', 'rdarts.GumbelSoftmax'):
        new = kept(2, owner(relaxation=relaxation, cell=alpha))
        assert names(new) == [OPS[3:]] * 6
    ties = kept(2, owner(cell=[[1.0, 0.0, 1.0, 1.0, 0.0]] * 6))
    assert names(ties) == [(OPS[0], OPS[2])] * 6


def test_all_of_them_leaves_no_mask():
    last = owner()
    assert not kept(5, last).ways.pruned
    assert last.state_dict().keys() == kept(5, last).state_dict().keys()


def test_candidates_that_go_in_any_case():
    alpha = [[9.0, 1.0, 2.0, 3.0, 4.0]] * 6
    new = kept(3, owner(cell=alpha), leave_out=['none', 'nor_conv_1x1'])
    assert names(new) == [(OPS[1], OPS[3], OPS[4])] * 6
    fewer = kept(3, new, leave_out=['skip_connect'])
    assert names(fewer) == [(OPS[3], OPS[4])] * 6
    with pytest.raises(UserError) as error:
        kept(2, fewer, leave_out=OPS[3:])
    line = "leave_out has all candidates of cell 'cell', edge 0 -> 1 that are alive: nor_conv_3x3, "
    assert line in str(error.value)


def test_more_than_are_alive_are_refused():
    new = kept(3, owner())
    with pytest.raises(UserError) as error:
        kept(4, new)
    assert str(error.value) == (
        "KeepTopOps: keep=4, but 3 candidates of cell 'cell', edge 0 -> 1 are alive: keep no more"
    )
    with pytest.raises(UserError, match='keep=2, but 1 candidate of .* is alive'):
        kept(2, kept(1, new))


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(keep=0), '^KeepTopOps: keep must be a positive integer, but is 0$'),
        (dict(keep=2.0), 'but is 2.0'),
        (dict(keep=True), 'but is True'),
        (dict(keep=2, leave_out=['nonee']), "^leave_out of KeepTopOps: .* mean 'none'"),
    ],
)
def test_arguments_that_are_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        KeepTopOps(**arguments)
