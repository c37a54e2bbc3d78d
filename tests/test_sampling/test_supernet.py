"""What networks reach with the weights of a supernet, and the angle that these turned by."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from golden import assert_close, double, golden, uniform
from test_sampling.searched import genotypes, small, space_of

from rdarts.engine.going_on import network_of
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype, parse_genotype
from rdarts.models import NASBench201Supernet, find_alpha_owner
from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.declared import build_declared
from rdarts.registry import EVALUATORS, build
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.evaluators import Angle, Supernet
from rdarts.search_spaces import build_space

NAMES = ('nb201_digits', 'darts_c10', 'mobilenet_like_c10')


def trained(cfg, folder, name='iter_1.pth', seed=0):
    """A checkpoint of a supernet whose weights are those of a seed, and their batch norms too."""
    torch.manual_seed(seed)
    network = network_of(cfg)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    torch.save(dict(state_dict=network.state_dict()), folder / name)
    return network


LAYERS = dict(type='mobilenet_like', widths=[8, 16], depths=[3, 2], strides=[1, 2])


def single(name, folder, **options):
    """The config of a search that asks a supernet, and this, drawn along paths."""
    options = {'model.backbone.relaxation': dict(type='rdarts.SinglePath'), **options}
    if name.startswith('mobilenet'):
        options['model.backbone.space'] = LAYERS
    cfg = small(name, **options)
    cfg.supernet = str(folder / 'iter_1.pth')
    return cfg, trained(cfg, folder)


def prepared(evaluator, cfg, seed=0):
    found = build(evaluator, EVALUATORS)
    found.prepare(space_of(cfg), seed, cfg)
    return found


def derived_with(cfg, genotype, supernet):
    """The network that a genotype derives, with the supernet's weights, on the CPU."""
    space = space_of(cfg)
    networks = DerivedNetworks(cfg, space, 0)
    net = build_declared(space, 'network', genotype=genotype, space=space, **networks.sizes)
    state = find_alpha_owner(supernet).to_edge_state_dict()
    places = [f'stages.{i}.{j}.' for i, stage in enumerate(net.stages) for j in range(len(stage))]
    own = {}
    for key, value in net.state_dict().items():
        for number, place in enumerate(places):
            key = key.replace(place, f'cells.{number}.')
        _, _, rest = key.partition('.edges.')
        if rest:
            cell, (label, rest) = key.split('.edges.')[0], rest.split('.', 1)
            node = label.split('_')[0]
            names = {
                edge: names for graph in genotype.graphs(space)
                for edge, names in [(f'{s}_{t}', n) for s, t, n in graph.edges]
            }  # fmt: skip
            key = f'{cell}.mixed.{node}.edges.{label}.{names[label]}.{rest}'
        own[key] = state.get(key, value)
    net.load_state_dict(dict(zip(net.state_dict(), own.values(), strict=True)))
    return net


def test_it_is_the_network_that_derives_with_these_weights_after_its_statistics_are_taken(tmp_path):
    cfg, supernet = single('nb201_digits', tmp_path)
    options = dict(recalibrate=3, batch_size=64, momentum=0.2)
    evaluator = prepared(dict(type='rdarts.Supernet', **options), cfg)
    for genotype in genotypes(evaluator.space, 2, seed=1):
        result = evaluator(genotype)
        net = derived_with(cfg, genotype, supernet)
        model = torch.nn.ModuleList([net, copy.deepcopy(supernet.head)])
        model.to(evaluator.networks.device)

        def scores(data, net=net, model=model):
            return model[1].fc(net(data['inputs'])[0].mean((2, 3)))

        norms = [one for one in net.modules() if isinstance(one, BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = 0.2
        networks = DerivedNetworks(cfg, evaluator.space, 0)
        loader = networks.loader('train_dataloader', 'recalibration', batch_size=64, drop_last=True)
        preprocessor = networks.preprocessor()
        with torch.no_grad():
            for _, batch in zip(range(3), loader, strict=False):
                scores(preprocessor(batch, False))
            net.eval()
            right = count = 0
            for batch in networks.loader('val_dataloader', 'validation', shuffle=False):
                data = preprocessor(batch, False)
                labels = torch.cat([one.gt_label for one in data['data_samples']])
                right += int((scores(data).argmax(1) == labels).sum())
                count += len(labels)
        # what passed the supernet last is what its batch norms have the statistics of
        own = evaluator.model.backbone
        torch.testing.assert_close(own.lastact[0].running_var, net.lastact[0].running_var,
                                   rtol=1e-4, atol=1e-5)  # fmt: skip
        torch.testing.assert_close(own.stem[1].running_mean, net.stem[1].running_mean)
        assert result.value == pytest.approx(100 * right / count, abs=0.2)  # one image in 718
        assert result.costs == networks.costs(genotype)


@pytest.mark.parametrize('name', NAMES)
def test_each_space_in_each_execution(name, tmp_path, monkeypatch):
    """One path alive at a time, the same in both; DARTS's nodes read two others."""
    monkeypatch.setattr(Supernet, 'prepare', without_images)
    cfg, _ = single(name, tmp_path)
    cfg.model.backbone.execution = 'fused'
    evaluator = prepared(dict(type='rdarts.Supernet', recalibrate=2), cfg)
    one, other = genotypes(evaluator.space, 2)
    first, second = evaluator(one).value, evaluator(other).value
    plain, _ = single(name, tmp_path)
    plain.model.backbone.execution = 'plain'
    again = prepared(dict(type='rdarts.Supernet', recalibrate=2), plain)
    assert again(other).value == pytest.approx(second, rel=1e-3)  # whatever was asked before
    assert again(one).value == pytest.approx(first, rel=1e-3)
    assert first != second


prepare = Supernet.prepare


def without_images(self, space, seed, cfg):
    """As :meth:`Supernet.prepare`, with random images, and with a mean score for the accuracy."""
    monkey = DerivedNetworks.loader
    DerivedNetworks.loader = lambda *args, **kwargs: torch.utils.data.DataLoader([0, 1])
    try:
        prepare(self, space, seed, cfg)
    finally:
        DerivedNetworks.loader = monkey
    images = torch.Generator().manual_seed(0)
    drawn = [torch.randn(4, 3, 16, 16, generator=images) for _ in range(2)]
    batches = [dict(inputs=one.to(self.networks.device)) for one in drawn]
    self._validation = self._training = batches
    self._scores = lambda batch: (self.model(batch['inputs'], mode='tensor'), None)
    self._accuracy = lambda: sum(self._scores(one)[0].square().sum().item() for one in batches)


def test_batch_statistics_move_nothing(tmp_path):
    cfg, _ = single('nb201_digits', tmp_path)
    evaluator = prepared(dict(type='rdarts.Supernet', recalibrate=0), cfg)
    before = copy.deepcopy(evaluator.model.state_dict())
    one, other = genotypes(evaluator.space, 2)
    value = evaluator(one).value
    evaluator(other)
    after = evaluator.model.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    again = prepared(dict(type='rdarts.Supernet', recalibrate=0), cfg)
    again(other)
    assert again(one).value == value


def test_the_mean_of_few_batches(tmp_path):
    cfg, _ = single('nb201_digits', tmp_path)
    evaluator = prepared(dict(type='rdarts.Supernet', recalibrate=4, batch_size=32,
                              momentum=None), cfg)  # fmt: skip
    (genotype,) = genotypes(evaluator.space, 1)
    evaluator(genotype)
    networks = DerivedNetworks(cfg, evaluator.space, 0)
    loader = networks.loader('train_dataloader', 'recalibration', batch_size=32, drop_last=True)
    means = []
    with torch.no_grad():
        for _, batch in zip(range(4), loader, strict=False):
            data = evaluator.model.data_preprocessor(batch, False)
            means.append(evaluator.model.backbone.stem[0](data['inputs']).mean((0, 2, 3)))
    found = evaluator.model.backbone.stem[1].running_mean
    torch.testing.assert_close(found, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


def test_images_are_taken_again_where_they_are_few(tmp_path):
    cfg, _ = single('nb201_digits', tmp_path, limit=80)  # 40 for the weights
    evaluator = prepared(dict(type='rdarts.Supernet', recalibrate=5, batch_size=16), cfg)
    first = [batch['inputs'] for batch in evaluator._training]
    assert len(first) == 5 and not torch.equal(first[0], first[2])
    second = [batch['inputs'] for batch in evaluator._training]
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    with pytest.raises(UserError, match='only 40 images for a batch of 64 .* evaluator.batch_size'):
        prepared(dict(type='rdarts.Supernet', batch_size=64), cfg)


@pytest.mark.parametrize('kind', ['Supernet', 'Angle'])
def test_what_is_no_supernet_of_the_search_is_one_line(kind, tmp_path):
    cfg, _ = single('nb201_digits', tmp_path)
    torch.save(torch.load(cfg.supernet, weights_only=True), tmp_path / 'initial.pth')
    evaluator = build(f'rdarts.{kind}', EVALUATORS)
    for given, message in (
        (None, 'there is no supernet whose weights could be inherited: search in phases'),
        (str(tmp_path / 'no.pth'), 'supernet: no checkpoint'),
    ):
        other = copy.deepcopy(cfg)
        other.supernet = given
        with pytest.raises(UserError, match=message):
            evaluator.prepare(space_of(cfg), 0, other)
    if kind == 'Angle':
        return
    with pytest.raises(UserError, match="of the space 'nas_bench_201', but 'darts' is searched"):
        other = small('darts_c10')
        evaluator.prepare(build_space('darts'), 0, mixed_up(cfg, other))
    wide = copy.deepcopy(cfg)
    wide.model.backbone.channels = 8
    wide.model.head.in_channels = 32
    with pytest.raises(UserError, match='does not fit this network'):
        evaluator.prepare(space_of(cfg), 0, wide)
    pruned = network_of(cfg)
    find_alpha_owner(pruned).prune('cell', 0, ['none'])
    torch.save(dict(state_dict=pruned.state_dict()), cfg.supernet)
    with pytest.raises(UserError, match='candidates of it were pruned'):
        evaluator.prepare(space_of(cfg), 0, cfg)


def mixed_up(cfg, other):
    """A config whose supernet is not of the space that is searched."""
    found = copy.deepcopy(other)
    found.supernet = cfg.supernet
    found.model.backbone = cfg.model.backbone
    return found


def test_a_supernet_with_alpha_may_be_asked(tmp_path):
    """As DARTS trains one: what alpha was is left out."""
    cfg = small('nb201_digits')
    trained(cfg, tmp_path)
    asks, _ = single('nb201_digits', tmp_path)
    trained(cfg, tmp_path)
    state = torch.load(asks.supernet, weights_only=True)['state_dict']
    assert 'backbone.arch_parameters.cell' in state
    evaluator = prepared(dict(type='rdarts.Supernet', recalibrate=0), asks)
    weight = evaluator.model.backbone.stem[0].weight.cpu()
    assert torch.equal(weight, state['backbone.stem.0.weight'])


# The angle


def golden_model(given, stream, beside=None):
    """The supernet of the golden case: its 201 tensors in their order."""
    net = torch.nn.Module()
    net.backbone = NASBench201Supernet(channels=4, cells_per_stage=5).double()
    net.head = torch.nn.Linear(16, 10).double()
    rows = find_alpha_owner(net).to_edge_state_dict()
    keys = ['stem.0.weight', 'stem.1.weight', 'stem.1.bias']
    for index in range(17):
        cell = f'cells.{index}.'
        if index in (5, 11):
            keys += [f'{cell}conv_{part}.{key}' for part in 'ab'
                     for key in ('1.weight', '2.weight', '2.bias')]  # fmt: skip
            keys.append(f'{cell}downsample.1.weight')
        else:
            keys += [
                f'{cell}mixed.{label[0]}.edges.{label}.{name}.1.weight'
                for label in ('0_1', '0_2', '1_2', '0_3', '1_3', '2_3')
                for name in ('nor_conv_1x1', 'nor_conv_3x3')
            ]
    keys += ['lastact.0.weight', 'lastact.0.bias']
    tensors = [rows[key] for key in keys] + [net.head.weight, net.head.bias]
    assert len(tensors) == 201
    for k, tensor in enumerate(tensors):
        fan = math.prod(tensor.shape[1:]) if tensor.dim() > 1 else len(tensor)
        drawn = 2 * uniform(stream + k, tensor.numel()).double() - 1
        own = drawn.view(tensor.shape) / math.sqrt(fan)
        value = own if beside is None else beside[k] + 0.5 * own
        with torch.no_grad():
            tensor.copy_(value)
    return net, [tensor.detach().clone() for tensor in tensors]


def test_the_angles_of_the_published_code():
    given, expected, tolerance = golden('rlnas_angle', 'rlnas_angle')
    assert_close(uniform(0, 3), given['generator']['check']['U(0,0..2)'], 1e-15)
    initial, tensors = golden_model(given, 4000)
    after, _ = golden_model(given, 5000, tensors)
    angle = Angle()
    angle.space = build_space('nas_bench_201')
    angle.compare(initial, after)
    for index, case in expected.items():
        found = angle.angle(parse_genotype(case['arch_str'], 'nas_bench_201'))
        assert found == pytest.approx(case['angle'], abs=tolerance), index


def by_paths(genotype, space, initial, trained, identity):
    """The angle in the DARTS space, path by path, as its published code enumerates them."""
    vectors = []
    for model in (initial, trained):
        net, parts = model.backbone, []
        rows, parameters = net.to_edge_state_dict(), dict(model.named_parameters())
        for index, kind in enumerate(net.cell_types):
            (graph,) = (one for one in genotype.graphs(space) if one.name == kind)
            mixed = net.cells[index].mixed['0']
            by = {(s, t): name for s, t, name in graph.edges}

            def weights(edge, by=by, index=index, mixed=mixed, rows=rows):
                start = f'cells.{index}.mixed.{edge[0]}.edges.{edge[0]}_{edge[1]}.{by[edge]}.'
                found = [value.flatten() for key, value in rows.items()
                         if key.startswith(start) and key.endswith(('weight', 'bias'))]  # fmt: skip
                if found:
                    return torch.cat(found)
                channels = mixed.in_channels
                if 'pool' in by[edge]:
                    return double([1 / 9] * 9 * channels)
                return torch.eye(channels).double().flatten() if identity else double([])

            def walk(path, by=by, weights=weights, parts=parts, outputs=graph.output):
                if path[-1] in outputs:
                    parts += [weights(edge) for edge in itertools.pairwise(path)]
                for source, target in by:
                    if source == path[-1]:
                        walk([*path, target])

            walk([0])
            walk([1])
        parts += [p.flatten() for name, p in parameters.items()
                  if '.mixed.' not in name and 'arch_parameters' not in name]  # fmt: skip
        vectors.append(torch.cat(parts))
    return float(torch.nn.functional.cosine_similarity(*vectors, dim=0).acos())


@pytest.mark.parametrize('identity', [False, True])
def test_the_angle_in_the_darts_space_is_that_of_all_paths(identity, tmp_path):
    cfg, after = single('darts_c10', tmp_path)
    torch.manual_seed(3)
    after, initial = after.double(), network_of(cfg).double()
    angle = build(dict(type='rdarts.Angle', identity=identity), EVALUATORS)
    angle.space = space_of(cfg)
    angle.compare(initial, after)
    for genotype in (*genotypes(angle.space, 3), load_genotype('DARTS_V2')):
        expected = by_paths(genotype, angle.space, initial, after, identity)
        assert angle.angle(genotype) == pytest.approx(expected, abs=1e-9)


def test_the_angle_of_layers(tmp_path):
    """Each layer is once on the one path."""
    cfg, after = single('mobilenet_like_c10', tmp_path)
    initial, space, found = network_of(cfg), space_of(cfg), []
    for identity in (False, True):
        angle = Angle(identity)
        angle.space = space
        angle.compare(initial, after)
        found.append([angle.angle(one) for one in genotypes(space, 6)])
    assert len({*found[0]}) > 4
    skips = ['skip_connect' in one.operations() for one in genotypes(space, 6)]
    assert any(skips) and skips == [filled < plain for plain, filled in zip(*found, strict=True)]


def test_there_is_no_angle_of_weights_that_are_not_finite(tmp_path):
    cfg, after = single('nb201_digits', tmp_path)
    angle = Angle()
    angle.space = space_of(cfg)
    after.head.fc.bias.data[0] = math.inf
    angle.compare(network_of(cfg), after)
    assert all(math.isnan(angle.angle(one)) for one in genotypes(angle.space, 3))


def test_the_initial_weights_must_be_there(tmp_path):
    cfg, _ = single('nb201_digits', tmp_path)
    with pytest.raises(UserError, match="are not there .*type='rdarts.InitialWeightsHook'"):
        prepared('rdarts.Angle', cfg)
