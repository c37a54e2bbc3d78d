"""The split of a supernet by gradient matching: its groups, its distances, and what it leaves."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace

import pytest
import torch
from golden import assert_close, golden, uniform
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader

from rdarts.architect.transitions import Beginning, Ended, SplitByGradientMatching
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.datasets.samplers import SeededSampler
from rdarts.errors import UserError
from rdarts.models.backbones import DARTSSupernet, MobileNetLikeSupernet, NASBench201Supernet
from rdarts.registry import TRANSITIONS, build

GATES = dict(type='rdarts.BinaryGates')


def split(**options):
    return build(dict(type='rdarts.SplitByGradientMatching', **options), TRANSITIONS)


@pytest.fixture(scope='module', params=['nb201_c10', 'mobilenet_like_imagenet'])
def of_config(request):
    """Makes the transition of the method's config, with further options."""
    cfg = load_config(configs_folder() / 'search' / f'gm_nas_{request.param}.py')
    (spec,) = phases_of(cfg)[1].start
    return lambda **options: build({**spec, **options}, TRANSITIONS)


def given_distances(case, inputs):
    size = case['n']
    given = uniform(case['stream'], size * size).view(size, size)
    return ((given + given.T) / 2).fill_diagonal_(0)


def as_sets(groups):
    return {frozenset(group) for group in groups}


def test_the_generator_of_the_case():
    inputs, _, _ = golden('gm_nas_split', 'gm_nas_split')
    for call, expected in inputs['generator']['check'].items():
        stream = int(call[2:].split(',')[0])
        assert uniform(stream, len(expected)).tolist() == expected


@pytest.mark.parametrize('place', range(3))
def test_the_groups_of_the_golden_case(place, of_config):
    inputs, expected, tolerance = golden('gm_nas_split', 'gm_nas_split')
    case = expected['cases'][place]
    distances = given_distances(case, inputs)
    optimum, published = of_config(edge_by='within'), of_config(division='published')
    for one in (of_config(), optimum, published):
        assert as_sets(one.divide(distances, 2)) == as_sets(case['split2'])
    assert_close(optimum.cut(distances, case['split2']), case['cut2'], tolerance)
    if 'split3_code' not in case:
        return
    groups = published.divide(distances, 3)
    assert groups == case['split3_code']
    assert_close(optimum.cut(distances, groups), case['cut3_code'], tolerance)
    best = expected['three_groups_true_optimum'][str(case['stream'])]
    groups = of_config().divide(distances, 3)
    assert as_sets(groups) == as_sets(best['groups'])
    assert_close(optimum.cut(distances, groups), best['cut'], tolerance)


def test_groups_have_two_members_where_there_are_enough_candidates():
    far = torch.ones(5, 5)
    far[0] = far[:, 0] = 9.0  # which would be alone
    assert as_sets(split().divide(far, 2)) != as_sets([[0], [1, 2, 3, 4]])
    assert {len(group) for group in split().divide(far, 2)} == {2, 3}
    assert sorted(map(len, split().divide(far, 3))) == [1, 2, 2]
    assert split().divide(torch.ones(3, 3), 3) == [[0], [1], [2]]
    # all ways of seven into three of two or more
    found = [split().divide(uniform(i, 49).view(7, 7), 3) for i in range(20)]
    assert all(sorted(map(len, groups)) == [2, 2, 3] for groups in found)


def test_the_edge_whose_groups_agree_least_is_split():
    def distances(cosine, size=4):
        """Two groups of two, whose members are alike, with this cosine to the others."""
        one = torch.full((size, size), 1 - cosine)
        one[:2, :2] = one[2:, 2:] = 0
        return one

    edges = {('cell', 0): distances(0.5), ('cell', 1): distances(-0.5), ('cell', 2): distances(0)}
    assert split().choose(edges, 2) == (('cell', 1), [[0, 1], [2, 3]])
    # the published code asks how near the members of a group are
    edges['cell', 0][0, 1] = edges['cell', 0][1, 0] = 0.1
    edges['cell', 1][0, 1] = edges['cell', 1][1, 0] = 0.2
    assert split(edge_by='within').choose(edges, 2)[0] == ('cell', 2)


class Net(BaseModel):
    """A supernet and a classifier over images."""

    def __init__(self, supernet, channels):
        super().__init__()
        self.backbone, self.fc = supernet, nn.Linear(channels, 3)

    def forward(self, inputs, labels, mode='loss'):
        (x,) = self.backbone(inputs)
        return dict(loss=nn.functional.cross_entropy(self.fc(x.mean((2, 3))), labels))


def nb201(**options):
    return NASBench201Supernet(channels=4, cells_per_stage=1, alpha_std=0.5, **options), 16


def darts(**options):
    return DARTSSupernet(space='s2', channels=2, num_cells=3, alpha_std=0.5, **options), 32


def layerwise(**options):
    space = dict(type='mobilenet_like', widths=(4, 8), depths=(2, 1), strides=(1, 2))
    sizes = dict(stem_channels=4, first_channels=4, last_channels=8, stem='cifar')
    return MobileNetLikeSupernet(space=space, alpha_std=0.5, **sizes, **options), 8


def ended(make=nb201, seed=0, **options):
    torch.manual_seed(seed)
    net = Net(*make(**options)).double().eval()
    return Ended(Config(), net.requires_grad_(False))


def loader(batches=3, seed=5):
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(4 * batches, 3, 8, 8, generator=generator, dtype=torch.float64)
    samples = [dict(inputs=x, labels=i % 3) for i, x in enumerate(images)]
    return DataLoader(samples, 4, sampler=SeededSampler(samples, seed=seed))


def beginning(last, branch=0, branches=2, batches=3, seed=5, loads=True):
    new = ended(MAKERS[type(last.model.backbone)], seed=1)
    return Beginning(
        Config(),
        new.model,
        seed=seed,
        branch=branch,
        branches=branches,
        train_dataloader=loader(batches, branch) if loads else None,
    )


MAKERS = {NASBench201Supernet: nb201, DARTSSupernet: darts, MobileNetLikeSupernet: layerwise}


def distances_of(transition, last, every=1, **options):
    """Of every edge, or of each third of a cell."""
    sizes = {
        (cell, place): len(edges[place])
        for cell, edges in last.owner.alive.items()
        for place in range(0, len(edges), every)
    }
    return transition.distances(last.model, last.owner, sizes, beginning(last, **options))


def shared_gradient(net, batch, cell, place, name):
    """Of a copy in which all other candidates of an edge were pruned, by the names of its entries.

    Those of the edge's own are left out, in every cell of the type.
    """
    net = copy.deepcopy(net).train()
    owner, own = net.backbone, net.backbone.space.cells[cell].edges[place]
    owner.prune(cell, place, [one for one in own.candidates if one != name])
    alphas = {id(alpha) for alpha in owner.arch_parameters.values()}
    weights = [p for p in net.parameters() if id(p) not in alphas]
    for weight in weights:
        weight.requires_grad_(True)
    net(**batch)['loss'].backward()
    cells = [name for name, module in owner.named_modules() if hasattr(module, 'topology')]
    same = [f'{name}.' for name, kind in zip(cells, owner.cell_types, strict=False) if kind == cell]
    for tensor in (*owner.arch_parameters.values(), *owner.buffers()):
        tensor.data.zero_()
    for weight in weights:
        weight.data = torch.zeros_like(weight) if weight.grad is None else weight.grad
    label = f'.edges.{own.source}_{own.target}.'
    shared = [
        value.flatten()
        for key, value in owner.to_edge_state_dict().items()
        if not key.startswith('alive.')
        and not (label in key and key.startswith(tuple(same or [''])))
    ]
    return torch.cat([*shared, net.fc.weight.flatten(), net.fc.bias]).detach()


def by_hand(net, batches, cell, place):
    """D of an edge."""
    total = 0
    for batch in batches:
        names = net.backbone.space.cells[cell].edges[place].candidates
        grads = [shared_gradient(net, batch, cell, place, name) for name in names]
        grads = torch.stack(grads)
        norm = grads.norm(dim=1)
        total = total + 1 - grads @ grads.T / (norm[:, None] * norm)
    return total / len(batches)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('make', [nb201, darts, layerwise])
def test_the_distances_are_those_of_networks_with_one_candidate(make, execution):
    last = ended(make, execution=execution)
    found = distances_of(split(batches=2), last, every=3)
    batches = list(loader())[:2]
    for (cell, place), distances in found.items():
        expected = by_hand(last.model, batches, cell, place)
        torch.testing.assert_close(distances, expected, rtol=1e-8, atol=1e-10)


def test_draws_of_the_other_edges_are_those_of_the_seed(monkeypatch):
    last = ended(relaxation=GATES)
    ran = []
    for module in last.model.modules():
        if hasattr(module, 'ran'):
            module.ran = ran
    one = distances_of(split(batches=2), last)
    # every edge runs one candidate, and within a batch only that of the edge that is looked at
    # differs: three cells of three mixed operations
    passes = [tuple(itertools.chain(*ran[i : i + 3])) for i in range(0, len(ran), 9)]
    assert len(passes) == 2 * 6 * 5
    assert all(len(active) == 1 for each in passes for active in each)
    for start in range(0, len(passes), 5):
        by_edge = zip(*(map(tuple, one) for one in passes[start : start + 5]), strict=True)
        assert sorted(len(set(chosen)) for chosen in by_edge) == [1] * 5 + [5]
    again = distances_of(split(batches=2), last)
    other = distances_of(split(batches=2), last, seed=6)
    assert all(torch.equal(one[edge], again[edge]) for edge in one)
    assert any(not torch.equal(one[edge], other[edge]) for edge in one)


def test_it_leaves_the_network_the_loader_and_the_random_state_as_they_were():
    last = ended(relaxation=GATES)
    new = beginning(last, branches=2, batches=2)
    new.train_dataloader.sampler.set_epoch(3)
    state = {key: value.clone() for key, value in last.model.state_dict().items()}
    weights = {key: value.clone() for key, value in new.model.state_dict().items()}
    before = torch.get_rng_state()
    split(batches=3)(new, last)  # an epoch and a half
    assert torch.equal(torch.get_rng_state(), before)
    sampler = new.train_dataloader.sampler
    assert (sampler.epoch, sampler.seed) == (3, 0)
    assert not any(module.training for module in last.model.modules())
    assert not any(p.requires_grad for p in last.model.parameters())
    for one, then in ((last.model, state), (new.model, weights)):
        assert all(torch.equal(one.state_dict()[key], value) for key, value in then.items())


@pytest.mark.parametrize('branches', [2, 3])
def test_the_branches_share_out_the_candidates_of_one_edge(branches):
    last = ended(relaxation=GATES)
    kept = []
    first, later = split(batches=2), split(batches=2)  # as where it was killed after the first
    for branch in range(branches):
        new = beginning(last, branch, branches)
        (later if branch else first)(new, last)
        (changed,) = [(i, e) for i, e in enumerate(new.owner.alive['cell']) if not all(e)]
        kept.append(changed)
    assert len({place for place, _ in kept}) == 1
    assert [sum(flags) for flags in zip(*(flags for _, flags in kept), strict=True)] == [1] * 5
    assert all(all(edge) for edge in last.owner.alive['cell'])


def test_an_edge_is_split_once():
    last, new = ended(), None
    for place in range(6):
        new = beginning(last, loads=False)
        new.model.load_state_dict(last.model.state_dict())
        split()(new, last)
        assert [all(edge) for edge in new.owner.alive['cell']] == [i > place for i in range(6)]
        # where nothing was trained the candidates fall into groups in their order
        assert new.owner.alive['cell'][place] == [True, True, True, False, False]
        last = Ended(Config(), new.model)
    with pytest.raises(UserError, match='no edge has all of its candidates, and 2 or more of them'):
        split()(new, last)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(batches=0), 'batches of SplitByGradientMatching must be a positive .* but is 0'),
        (dict(batches=True), 'batches .* but is True'),
        (dict(division='greedy'), "division of SplitByGradientMatching must be one of .* 'greedy'"),
        (dict(edge_by='cut'), "edge_by of SplitByGradientMatching must be one of .* 'cut'"),
    ],
)
def test_options_that_are_not_known(options, match):
    with pytest.raises(UserError, match=match):
        split(**options)


def test_phases_that_do_not_fit():
    last = ended()
    with pytest.raises(UserError, match='set branches=2 or more in it, not 1'):
        split()(beginning(last, branches=1, loads=False), last)
    with pytest.raises(UserError, match='no edge has all of its candidates, and 6 or more of them'):
        split()(beginning(last, branches=6, loads=False), last)
    with pytest.raises(UserError, match='but there are 4 branches and 5 candidates: set division'):
        split(division='published')(beginning(last, branches=4, loads=False), last)
    new = beginning(last)
    unseeded = replace(new, train_dataloader=DataLoader(new.train_dataloader.dataset, 4))
    with pytest.raises(UserError, match='SequentialSampler has no seed and epoch; use rdarts.Seed'):
        split()(unseeded, last)
    next(last.model.fc.parameters()).fill_(float('nan'))
    with pytest.raises(UserError, match='a gradient of the phase before is not finite: lower'):
        split(batches=1)(new, last)


def test_further_branches_take_what_the_first_one_decided(monkeypatch):
    last, transition = ended(), SplitByGradientMatching(batches=1)
    first = beginning(last)
    transition(first, last)
    decided = json.loads(json.dumps(first.decided))
    monkeypatch.setattr(transition, 'distances', lambda *args: pytest.fail('found once more'))
    second = replace(beginning(last, branch=1), decided=decided)
    transition(second, last)
    alive = torch.tensor([one.owner.alive['cell'] for one in (first, second)])
    place = decided['edge']
    assert (alive[:, place].sum(0) == 1).all()  # each candidate in one branch
    assert alive.sum(1).sum(1).tolist() == [25 + len(group) for group in decided['groups']]


@pytest.mark.parametrize(
    'change',
    [
        dict(cell='normal'),
        dict(edge=6),
        dict(edge='0'),
        dict(edge=[0]),
        dict(groups=None),
        dict(groups=[[0, 1, 2, 3], []]),
        dict(groups=[[0, 1], [2, 3]]),
        dict(groups=[[0, 1], [2, 3, 3]]),
        dict(groups=[[0, 1], [2, 3], [4]]),
        dict(groups=[[0, 1], [2, 3, 'x']]),
    ],
)
def test_a_decision_that_is_no_split_of_the_network(change):
    last = ended()
    decided = dict(cell='cell', edge=0, groups=[[0, 1], [2, 3, 4]])
    new = replace(beginning(last), decided={**decided, **change})
    with pytest.raises(UserError, match=r'decided\.json, is no split of this network: begin it an'):
        SplitByGradientMatching(batches=1)(new, last)
