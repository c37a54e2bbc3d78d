"""What is handed over of a supernet that is observed: each candidate that runs, and no other."""

from __future__ import annotations

import copy

import pytest
import torch
from test_models.fused_nets import SPACES, image, make, space_of

from rdarts.models import BaseSupernet, MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.search_spaces import CellTopology


def mixed_ops(net: BaseSupernet) -> dict[str, MixedOp]:
    return {path: one for path, one in net.named_modules() if isinstance(one, MixedOp)}


def candidates(net: BaseSupernet) -> list[tuple[str, str, str]]:
    """Those that have something to do, in the order in which the mixed operations run them."""
    return [
        (path, label, name)
        for path, mixed in mixed_ops(net).items()
        for label, names in zip(mixed.labels, mixed.candidates, strict=True)
        for name in names
        if name != 'none'
    ]


def observed(net: BaseSupernet, x: torch.Tensor) -> tuple[torch.Tensor, list]:
    found = []
    torch.manual_seed(3)
    with net.observe(lambda *given: found.append(given)):
        assert net.execution == 'plain' and not net.runs_fused
        (out,) = net(x)
    return out, found


@pytest.mark.parametrize('space', SPACES)
def test_every_candidate_of_every_edge(space, swish):
    net = make(space_of(space))
    net.execution = 'auto'
    twin = copy.deepcopy(net)
    twin.execution = 'plain'
    x = image(2, 16)
    torch.manual_seed(3)
    (expected,) = twin(x)
    out, found = observed(net, x)
    assert torch.equal(out, expected)
    assert [given[:3] for given in found] == candidates(net)
    for path, _, _, output in found:
        assert output.shape[:2] == (2, mixed_ops(net)[path].out_channels)
    for name, value in twin.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name
    assert net.execution == 'auto'
    assert all(one.execution == 'fused' for one in mixed_ops(net).values())
    count = len(found)
    net(x)
    assert len(found) == count


def test_the_mixture_is_the_weighted_sum_of_what_is_handed_over():
    net = make('nas_bench_201')
    found = {}
    with net.observe(lambda path, *rest: found.update({(path, *rest[:2]): rest[2]})):
        path, mixed = next(iter(mixed_ops(net).items()))
        x = image(2, 8, 8)
        weights = torch.randn(15, dtype=torch.float64)
        outs = mixed.forward_edges(x, Mixing(weights))
    for label, names, beta, out in zip(
        mixed.labels, mixed.candidates, weights.split(5), outs, strict=True
    ):
        terms = [b * found[path, label, n] for b, n in zip(beta, names, strict=True) if n != 'none']
        torch.testing.assert_close(sum(terms), out)


@pytest.mark.parametrize('space', ['nas_bench_201', 'darts', 'mobilenet_like'])
def test_what_is_pruned_or_hidden_is_not_handed_over(space):
    net = make(space)
    cell, topology = next(iter(net.space.cells.items()))
    last = len(topology.edges) - 1
    label = f'{topology.edges[last].source}_{topology.edges[last].target}'
    gone = [name for name in topology.edges[last].candidates if name != 'none'][:2]
    net.prune(cell, last, gone[:1])
    with net.hide(cell, last, gone[1:]):
        _, found = observed(net, image(2, 16))
    own = cells_of_type(net, cell, topology)
    expected = [
        one for one in candidates(net) if not (one[0] in own and one[1] == label and one[2] in gone)
    ]
    assert [given[:3] for given in found] == expected
    assert len(expected) < len(candidates(net))


def cells_of_type(net: BaseSupernet, cell: str, topology: CellTopology) -> set[str]:
    """The paths of the mixed operations of a cell type."""
    modules = dict(net.named_modules())
    return {
        path
        for path in mixed_ops(net)
        if cell == 'layerwise' or modules[path.partition('.mixed')[0]].topology is topology
    }


@pytest.mark.parametrize('space', ['nas_bench_201', 'darts', 'mobilenet_like'])
def test_of_a_relaxation_that_samples_what_was_drawn(space):
    net = make(space, relaxation='rdarts.GumbelSoftmax')
    torch.manual_seed(3)
    weights = net.mixing_weights()
    _, found = observed(net, image(2, 16))
    drawn = {}
    for cell, topology in net.space.cells.items():
        for edge, (group, row) in zip(topology.edges, net.space.slots(cell), strict=True):
            name = edge.candidates[int(weights[group][row].argmax())]
            drawn.setdefault(f'{edge.source}_{edge.target}', set()).add(name)
    assert found
    count = 0
    for path, mixed in mixed_ops(net).items():
        handed = [given[1:3] for given in found if given[0] == path]
        labels = [label for label, _ in handed]
        assert len(set(labels)) == len(labels) and set(labels) <= set(mixed.labels)
        assert all(name in drawn[label] for label, name in handed)
        count += len(handed)
    assert count == len(found)


def test_it_ends_as_it_began_whatever_happens():
    net = make('nas_bench_201')
    outer, inner = [], []
    net.execution = 'fused'
    with net.observe(lambda *given: outer.append(given)):
        with pytest.raises(KeyError), net.observe(lambda *given: inner.append(given)):
            net(image(2, 8))
            raise KeyError('in the middle')
        assert inner and not outer
        net(image(2, 8))
        assert len(outer) == len(inner)
    assert net.execution == 'fused'
    assert all(one.observer is None for one in mixed_ops(net).values())
