"""Candidates that get more channels: which are copies of which, and what of the function stays."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from rdarts.architect.transitions import Beginning, Ended
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.partial_channels import PartialChannels
from rdarts.registry import OPERATIONS, TRANSITIONS, build

CONVOLUTIONS = ['sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3', 'dil_conv_5x5', 'conv_7x1_1x7']
CONVOLUTIONS += ['nor_conv_1x1', 'nor_conv_3x3']
NAMES = ['none', 'skip_connect', 'max_pool_3x3', 'avg_pool_3x3', *CONVOLUTIONS]
CHANNELS, BEFORE, AFTER = 24, 4, 8
EDGES = 2


def model(share, names=NAMES, stride=1, cls=PartialChannels, **kwargs):
    """Two edges that leave a node, in float64, with batch norms that tell their channels apart."""
    mixed = cls([names] * EDGES, CHANNELS, stride=stride, share=share, **kwargs).double()
    for key, value in mixed.state_dict().items():
        if value.dim() == 2:
            value.copy_(torch.rand_like(value) + (-0.5 if 'mean' in key else 0.5))
    return nn.ModuleDict(dict(node=mixed, head=nn.Linear(CHANNELS, 2).double()))


def begin(new, last, seed=0, **options):
    """A transition of a config that was called."""
    transition = build(dict(type='rdarts.Widen', **options), TRANSITIONS)
    transition(Beginning(Config(), new, seed=seed), Ended(Config(), last))
    return transition


def widened(stride=1, affine=False, seed=0):
    """One sixth of the channels, and then one third."""
    torch.manual_seed(0)
    last, new = (model(share, stride=stride, affine=affine) for share in (6, 3))
    transition = begin(new, last, seed)
    before, state = last.state_dict(), new.state_dict()
    return SimpleNamespace(last=last, new=new, transition=transition, before=before, state=state)


def sources(now, before):
    """Of which channel each is the copy, where no two of before are equal."""
    equal = (now[:, None] == before[None]).reshape(len(now), len(before), -1).all(-1)
    assert equal.sum(1).eq(1).all()
    return equal.int().argmax(1)


@pytest.mark.parametrize('affine', [False, True])
@pytest.mark.parametrize('stride', [1, 2])
def test_every_tensor_has_what_it_had_and_copies_of_it(stride, affine):
    found = widened(stride, affine)
    keys = [key for key, value in found.state.items() if value.shape != found.before[key].shape]
    per_edge = {}
    for key in keys:
        before, now = found.before[key], found.state[key]
        outs, ins = before.shape[1], before.shape[2] if before.dim() == 5 else 1
        dense = ins > 1
        for edge in range(EDGES):
            given = sources(now[edge, :, :ins] if dense else now[edge], before[edge])
            whole, read = before[edge][given], None
            if dense:
                read = sources(now[edge, :outs].transpose(0, 1), before[edge].transpose(0, 1))
                assert read[:ins].tolist() == list(range(ins))
                whole = whole[:, read]
            assert torch.equal(now[edge], whole)
            if 'skip_connect.bn' not in key:  # whose convolutions give a half each
                assert given[:outs].tolist() == list(range(outs))
            per_edge[key, edge] = (given, read)
    names = {key.split('.')[2] for key in keys}
    assert names == set(NAMES[2:]) | ({'skip_connect'} if stride == 2 else set())
    # each edge has drawn its own, and so has each layer but for those that must fit
    draws = [tuple(given.tolist()) for given, _ in per_edge.values()]
    assert len(set(draws)) > 5
    for edge in range(EDGES):

        def of(layer, edge=edge):
            return per_edge[f'node.operations.{layer}', edge]

        for name, depth, point, norm in (
            ('sep_conv_3x3', 1, 2, 3),
            ('sep_conv_3x3', 5, 6, 7),
            ('dil_conv_5x5', 1, 2, 3),
        ):
            assert torch.equal(of(f'{name}.{depth}.weight')[0], of(f'{name}.{point}.weight')[1])
            for which in ('running_mean', 'running_var', *(['weight', 'bias'] if affine else [])):
                given = of(f'{name}.{norm}.{which}')[0]
                assert torch.equal(of(f'{name}.{point}.weight')[0], given)


def test_a_momentum_is_copied_from_the_same_channels():
    found = widened()
    for key, parameter in found.new.named_parameters():
        before = found.before[key]
        if before.shape == parameter.shape:
            continue
        momentum = torch.randn_like(before)
        grown = found.transition.grown(key, momentum, parameter.shape)
        for edge in range(EDGES):  # by its values, each of which occurs once
            values = before[edge].flatten()
            places = (found.state[key][edge].flatten()[:, None] == values).int().argmax(1)
            assert torch.equal(grown[edge].flatten(), momentum[edge].flatten()[places])
        # what an optimizer keeps beside it is of another shape
        assert found.transition.grown(key, torch.tensor(3.0), parameter.shape) is None
    assert found.transition.grown('head.weight', found.before['head.weight'], None) is None


def run(mixed, name, x, execution):
    """What a candidate makes of the channels that it sees, on each edge."""
    mixed.execution = execution
    places = [names.index(name) for names in mixed.candidates]
    weights = torch.zeros(sum(map(len, mixed.candidates)), dtype=x.dtype)
    for edge, place in enumerate(places):
        weights[edge * len(NAMES) + place] = 1
    mixing = Mixing(weights, active=[[place] for place in places])
    with torch.no_grad():
        return MixedOp.forward_edges(mixed, x, mixing)


def copies_of(new, last, name):
    """Of which channel each of a candidate's result is the copy, by the batch norm at its end."""
    state, before = (mixed.operations[name].state_dict() for mixed in (new, last))
    key = [key for key in state if key.endswith('running_mean')][-1]
    return [sources(*means) for means in zip(state[key], before[key], strict=True)]


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
def test_what_stays_of_the_function(stride, training, execution):
    found = widened(stride)
    last, new = found.last.node.train(training), found.new.node.train(training)
    wide = torch.randn(3, AFTER, 9, 9, dtype=torch.float64)
    padded = wide.clone()
    padded[:, BEFORE:] = 0
    names = [*CONVOLUTIONS, *(['skip_connect'] if stride == 2 else [])]
    copies = {name: copies_of(new, last, name) for name in names}
    for name in names:
        reads_copies = name.startswith('sep_conv') or name == 'conv_7x1_1x7'
        before = run(last, name, padded[:, :BEFORE], execution)
        after = run(new, name, padded, execution)
        for edge, whole in enumerate(run(new, name, wide, execution)):
            source = copies[name][edge]
            own = [int((source == channel).nonzero()[0]) for channel in range(BEFORE)]
            # of any input, new channels are those that they are copies of
            torch.testing.assert_close(whole, whole[:, own][:, source], rtol=1e-10, atol=1e-10)
            # of one whose new channels are zeros, the old channels are as before
            same = torch.allclose(after[edge][:, own], before[edge], rtol=1e-10, atol=1e-10)
            assert same != reads_copies, name


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_the_copies_that_a_second_convolution_reads_are_all_that_differs(execution):
    found = widened()
    last, new = found.last.node.train(), found.new.node.train()
    x = torch.randn(3, AFTER, 9, 9, dtype=torch.float64)
    x[:, BEFORE:] = 0
    for name, layer in (('sep_conv_3x3', 6), ('sep_conv_5x5', 6), ('conv_7x1_1x7', 2)):
        with torch.no_grad():
            new.operations[name][layer].weight[:, :, BEFORE:] = 0
        before = run(last, name, x[:, :BEFORE], execution)
        for one, other in zip(before, run(new, name, x, execution), strict=True):
            torch.testing.assert_close(other[:, :BEFORE], one, rtol=1e-10, atol=1e-10)


def test_a_seed_gives_the_same_channels():
    one, same, other = widened(), widened(), widened(seed=1)
    assert all(torch.equal(value, same.state[key]) for key, value in one.state.items())
    assert any(not torch.equal(value, other.state[key]) for key, value in one.state.items())


class OwnOperation(nn.Conv2d):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__(in_channels, out_channels, 1, stride)


class Squares(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()

    def forward(self, x):
        return x.square()


def test_phases_that_do_not_fit():
    torch.manual_seed(0)
    with pytest.raises(UserError, match='^Widen: the candidates have as many channels as'):
        begin(model(3), model(3))
    with pytest.raises(UserError) as error:
        begin(model(6), model(3))
    assert str(error.value) == (
        'Widen: the candidates of node would have 4 channels, but have 8 in the phase before: they '
        'can only get more'
    )
    with pytest.raises(UserError, match='^Widen: the phase before has no mixed operation like n'):
        begin(model(3), model(6, NAMES[1:]))
    with pytest.raises(UserError, match='^Widen: .* like node, but the cells and candidates of'):
        begin(model(3), nn.ModuleDict(dict(head=nn.Linear(CHANNELS, 2))))
    other = model(3)
    other['head'] = nn.Linear(CHANNELS, 3)
    with pytest.raises(UserError) as error:
        begin(other, model(6))
    assert str(error.value) == (
        "Widen gives more channels to candidates alone, but 'head.weight' is [3, 24] in this phase "
        'and [2, 24] in that before'
    )
    with pytest.raises(UserError, match='skip_connect.conv_1 has no channel in the phase before'):
        begin(model(3, ['skip_connect'], 2), model(24, ['skip_connect'], 2))


def test_candidates_that_are_modules_of_their_own():
    modules = dict(own_operation=OwnOperation, squares=Squares)
    for name, cls in modules.items():
        OPERATIONS.register_module(name=name, module=cls)
    try:
        with pytest.raises(UserError) as error:
            begin(model(3, ['own_operation']), model(6, ['own_operation']))
        names = ['squares', 'nor_conv_1x1']
        begin(model(3, names), model(6, names))
    finally:
        for name in modules:
            OPERATIONS.module_dict.pop(name)
    assert str(error.value) == (
        'Widen: node.operations.own_operation is a module of its own (EdgeCopies), but only '
        'candidates that are described by their layers can get more channels'
    )
