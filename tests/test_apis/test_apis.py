"""``rdarts.apis``: networks as plain modules, a search by one call, and quick imports."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import IN_PHASES, methods_of
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from rdarts.apis import build_net, build_supernet, search
from rdarts.errors import UserError
from rdarts.genotypes import DenseCellGenotype, load_genotype
from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.sampling.result import Result
from rdarts.search_spaces import build_space

# not timed, so that two searches of one seed are the same in every bit
SMALL = dict(channels=4, cells_per_stage=1, batch_size=8, execution='fused')
CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'


def images(count=48, classes=3, size=8):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    x = torch.randn(count, 3, size, size, generator=generator) + labels[:, None, None, None]
    return TensorDataset(x, labels)


# build_net and build_supernet


def test_a_net_is_a_plain_module_that_trains():
    torch.manual_seed(0)
    net = build_net(CELL, 3, channels=8, cells_per_stage=1)
    x, y = images().tensors
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    assert isinstance(net, nn.Module) and net(x).shape == (48, 3)


def test_weights_of_a_retraining_load_strictly(tmp_path):
    from mmpretrain.registry import MODELS

    head = dict(
        type='rdarts.AuxiliaryClsHead',
        num_classes=5,
        in_channels=64,
        auxiliary=dict(in_channels=64),
        loss=dict(type='CrossEntropyLoss'),
    )
    backbone = dict(type='rdarts.DARTSNet', genotype='DARTS_V2', channels=4, num_cells=3)
    with DefaultScope.overwrite_default_scope('mmpretrain'):  # whatever ran before in this process
        retrained = MODELS.build(
            dict(type='ImageClassifier', backbone=dict(backbone, auxiliary=True), head=head)
        )
    net = build_net('DARTS_V2', 5, channels=4, num_cells=3, auxiliary=True)
    net.load_state_dict(retrained.state_dict(), strict=True)
    x = torch.randn(2, 3, 32, 32)
    net.eval(), retrained.eval()
    assert torch.equal(net(x), retrained.head(retrained.extract_feat(x)))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(genotype=CELL, auxiliary=True), 'auxiliary heads are for networks of the DARTS'),
        (dict(genotype='DARTS_V2', chanels=4), "takes no 'chanels': did you mean 'channels'?"),
        (dict(genotype='DARTS_V2', num_classes=0), 'num_classes must be a positive integer'),
        (dict(genotype='DARTS_V2', space='s2'), "of the space 'darts', but 's2' is needed"),
    ],
)
def test_nets_that_do_not_fit(kwargs, message):
    with pytest.raises(UserError) as caught:
        build_net(**kwargs)
    assert message in str(caught.value)


def test_supernets():
    net = build_supernet('s3', 7, channels=4, num_cells=3)
    assert isinstance(net.backbone, DARTSSupernet)
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 7)
    net = build_supernet('nas_bench_201', channels=4, cells_per_stage=1)
    assert isinstance(net.backbone, NASBench201Supernet)
    assert net.backbone.arch_parameters['cell'].shape == (6, 5)
    with pytest.raises(UserError, match="unknown search space 'nasbench': did you mean"):
        build_supernet('nasbench')


# search


@pytest.mark.slow
def test_a_search_finds_a_genotype_and_says_how(tmp_path):
    found = search('nas_bench_201', images(), epochs=2, work_dir=tmp_path, **SMALL)
    assert isinstance(found.genotype, DenseCellGenotype)
    assert found.genotype == load_genotype(tmp_path)
    assert found.alphas['cell'].shape == (6, 5) and not found.alphas['cell'].requires_grad
    assert [row['epoch'] for row in found.history] == [1, 2]
    for row in found.history:
        assert 0 <= row['accuracy/top1'] <= 100 and row['mean_entropy'] > 1.6
        assert torch.allclose(torch.tensor(row['alpha']['cell']), found.alphas['cell'], atol=0.01)
    assert build_net(found.genotype, 3, channels=4)(torch.randn(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.slow
def test_seeds_and_lambda_decide(tmp_path):
    def alphas(**kwargs):
        sizes = dict(num_cells=3, channels=4, batch_size=8, execution='fused')
        return search('s2', images(), epochs=1, **sizes, **kwargs)

    first, again, other = alphas(seed=3), alphas(seed=3), alphas(seed=4)
    for group, alpha in first.alphas.items():
        assert torch.equal(alpha, again.alphas[group])
        assert not torch.equal(alpha, other.alphas[group])
    strong = alphas(seed=3, lambda_=50.0)
    assert any(not torch.equal(a, strong.alphas[g]) for g, a in first.alphas.items())
    darts = alphas(seed=3, method='darts')
    none = alphas(seed=3, lambda_=0.0)
    assert all(torch.equal(a, none.alphas[g]) for g, a in darts.alphas.items())
    added = alphas(seed=3, method='darts', lambda_=50.0)
    assert all(torch.equal(a, strong.alphas[g]) for g, a in added.alphas.items())


@pytest.mark.parametrize('method', methods_of('nb201'))
def test_every_method_that_has_an_overlay_takes_a_lambda(method):
    """Far enough to see that its config is one of a search with it."""
    sizes, line = dict(SMALL), 'lambda_ of BatchEntropyDecay must be at least 0'
    if method in IN_PHASES:
        del sizes['cells_per_stage']  # phases may say how deep they are
        line = r'phases\.0: default_hooks\.architect\.lambda_ must be at least 0'
    with pytest.raises(UserError, match=line):
        search('nas_bench_201', images(), method=method, epochs=1, lambda_=-1.0, **sizes)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['fbnet', 'pc_darts', 'proxylessnas'])
def test_alpha_moves_in_a_search_of_few_epochs(method):
    """It rests for 10 epochs of 90, 15 of 50 and 25 of 100 there."""
    space, depth = 'nas_bench_201', dict(cells_per_stage=1)
    if method == 'pc_darts':
        space, depth = 's2', dict(num_cells=3)
    sizes = dict(channels=4, batch_size=8, execution='fused', **depth)
    rested, moved = (
        search(space, images(64), method=method, epochs=epochs, **sizes).alphas for epochs in (1, 2)
    )
    assert all(float((moved[name] - rested[name]).abs().max()) > 1e-4 for name in moved)


def test_a_method_without_a_step_of_alpha_is_refused(tmp_path, monkeypatch):
    overlay = tmp_path / '_base_' / 'methods' / 'mine.py'
    overlay.parent.mkdir(parents=True)
    text = "_base_ = ['rdarts::_base_/default_runtime.py']\ntrain_dataloader = None\n"
    overlay.write_text(text + 'arch_dataloader = None\n')
    monkeypatch.setattr(sys.modules['rdarts.apis.search'], 'configs_folder', lambda: tmp_path)
    with pytest.raises(UserError, match="'mine' takes no step of alpha, and no lambda_: start it"):
        search('nas_bench_201', images(), method='mine', epochs=1, **SMALL)


@pytest.mark.slow
def test_a_stopped_search_goes_on(tmp_path):
    def run(folder, epochs):
        return search('nas_bench_201', images(), epochs=epochs, work_dir=folder, **SMALL)

    whole = run(tmp_path / 'whole', 2)
    again = run(tmp_path / 'whole', 2)  # ended: nothing is done again
    assert torch.equal(whole.alphas['cell'], again.alphas['cell'])
    assert whole.history == again.history


@pytest.mark.slow
def test_a_search_in_phases(tmp_path):
    def run():
        args = dict(channels=8, batch_size=8, execution='fused', work_dir=tmp_path / 'run')
        return search('nas_bench_201', images(), method='pdarts', epochs=6, **args)

    found = run()
    assert found.genotype == load_genotype(tmp_path / 'run')
    assert [row['phase'] for row in found.history] == [0, 0, 1, 1, 2, 2]
    assert [row['epoch'] for row in found.history] == [1, 2, 3, 4, 5, 6]
    assert found.alphas['cell'].shape == (6, 5)
    again = run()
    assert again.history == found.history
    assert torch.equal(again.alphas['cell'], found.alphas['cell'])
    line = (
        r'^cells_per_stage: the phases of this method set it themselves, one of them to \d: leave'
    )
    with pytest.raises(UserError, match=line):
        search('nas_bench_201', images(), method='pdarts', epochs=4, **SMALL)


class Broken(Dataset):
    """A data set of pairs, with one that is not."""

    def __init__(self, wrong):
        self.wrong = wrong

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return self.wrong if index == 5 else (torch.zeros(3, 8, 8), index % 2)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ((torch.zeros(3, 8, 9), 0), 'the image is [3, 8, 9], but that of dataset[0] is [3, 8, 8]'),
        ((torch.zeros(3, 8, 8, dtype=torch.uint8), 0), 'a float tensor [C, H, W], but is torch.ui'),
        ((torch.zeros(3, 8, 8), -1), 'the label is -1'),
        ((torch.zeros(3, 8, 8), 'cat'), "the label is no integer: 'cat'"),
        (torch.zeros(3, 8, 8), 'it must be a pair (image, label), but is Tensor'),
    ],
)
def test_samples_that_do_not_fit(wrong, message):
    with pytest.raises(UserError) as caught:
        search('nas_bench_201', Broken(wrong), epochs=1, **SMALL)
    assert message in str(caught.value) and 'dataset[5]' in str(caught.value)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(method='r-darts'), "unknown method 'r-darts': did you mean 'rdarts'"),
        (dict(epochs=0), 'epochs must be a positive integer, but is 0'),
        (dict(lambda_=-1.0), 'lambda'),
        (dict(batch_size=64), 'only 48 images for a batch of 64 of the weights and one of alpha'),
        (dict(device='gpu'), "device 'gpu' is not there"),
        (dict(dataset=TensorDataset(torch.zeros(0, 3, 8, 8), torch.zeros(0))), 'holds no image'),
        (dict(dataset=3), 'it must be a torch Dataset'),
        (dict(chanels=3), "takes no 'chanels': did you mean 'channels'?"),
        (dict(num_classes=2), 'the label is 2, but the 2 classes are counted from 0'),
    ],
)
def test_searches_that_do_not_fit(kwargs, message):
    args = dict(space='nas_bench_201', dataset=images(), epochs=1, **SMALL)
    with pytest.raises(UserError) as caught:
        search(**{**args, **kwargs})
    assert message in str(caught.value)


@pytest.mark.slow
def test_a_table_as_space():
    cell = dict(num_nodes=3, candidates=['skip_connect', 'nor_conv_3x3'])
    table = dict(type='CellSpace', name='mine', cells=dict(cell=cell))
    found = search(table, images(), epochs=1, method='darts', **SMALL)
    assert found.genotype.space == 'mine' and found.alphas['cell'].shape == (3, 2)


# Imports


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_package_imports_no_torch():
    assert fresh("import rdarts, sys; print('torch' in sys.modules)") == 'False'


@pytest.mark.slow
def test_build_net_is_imported_without_the_framework():
    code = (
        'import torch, sys; before = set(sys.modules); from rdarts.apis import build_net; '
        'import json; new = {n.partition(".")[0] for n in set(sys.modules) - before}; '
        'print(json.dumps(sorted(new - set(sys.stdlib_module_names))))'
    )
    assert json.loads(fresh(code)) == ['rdarts']


def test_a_method_that_is_not_known():
    with pytest.raises(UserError, match="unknown method 'dart': did you mean 'darts'"):
        search('mobilenet_like', images(), method='dart', epochs=1)


@pytest.mark.slow
def test_a_space_by_name_is_as_the_method_has_it():
    sizes = dict(channels=4, num_cells=3, epochs=1, batch_size=16)
    found = search('darts', images(), method='beta_darts', **sizes)
    assert {name: a.shape[1] for name, a in found.alphas.items()} == dict(normal=7, reduce=7)
    assert found.genotype.space == 'darts'
    net = build_net(found.genotype, 4, channels=4, num_cells=3)
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 4)
    found = search(build_space('darts'), images(), method='beta_darts', **sizes)
    assert {name: a.shape[1] for name, a in found.alphas.items()} == dict(normal=8, reduce=8)


@pytest.mark.parametrize('method', ['rdarts', 'darts_2nd'])
def test_a_search_of_layers(method):
    sizes = dict(stem='cifar', stem_channels=8, first_channels=8, last_channels=16)
    space = dict(type='mobilenet_like', widths=(8, 16), depths=(1, 2), strides=(2, 1))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 16, 16, generator=generator)
    dataset = TensorDataset(images, torch.arange(64) % 4)
    found = search(space, dataset, method=method, epochs=1, batch_size=16, **sizes)
    assert found.genotype.kind == 'layerwise' and len(found.genotype.layers) == 3
    assert {name: tuple(a.shape) for name, a in found.alphas.items()} == dict(
        layerwise_0=(2, 6), layerwise_1=(1, 7)
    )
    assert found.history[0]['genotype'] == found.genotype.to_string()
    net = build_net(found.genotype, 4, space=space, **sizes)
    assert net(images[:2]).shape == (2, 4)


# Searches that ask


def count_convolutions(genotype) -> int:
    return sum('conv' in name for name in genotype.operations())


def test_a_method_that_asks_needs_neither_images_nor_epochs(tmp_path):
    asked = []

    def answer(genotype):
        asked.append(genotype)
        return count_convolutions(genotype)

    found = search('nas_bench_201', method='local_search', evaluator=answer, budget=120)
    assert count_convolutions(found.genotype) == 6 and found.alphas == {}
    assert [row['query'] for row in found.history] == [*range(1, 121)] and len(asked) == 120
    assert [row['value'] for row in found.history] == [*map(count_convolutions, asked)]
    again = search(
        's2', method='local_search', evaluator=answer, budget=9, work_dir=tmp_path, seed=1
    )
    assert again.genotype.space == 's2' and (tmp_path / 'genotype.json').is_file()


def test_a_search_in_phases_goes_on_with_an_evaluator_of_ones_own(tmp_path):
    """Its config says the same of the object each time, as that of the images does."""
    asked = []

    def answer(genotype):
        asked.append(genotype)
        return count_convolutions(genotype)

    given = dict(method='single_path', evaluator=answer, budget=3, epochs=1, work_dir=tmp_path)
    sizes = dict(batch_size=16, channels=4, cells_per_stage=1)
    found = search('nas_bench_201', images(), **given, **sizes)
    again = search('nas_bench_201', images(), **given, **sizes)
    assert again.genotype == found.genotype and len(asked) == 3


def test_a_score_of_images_of_ones_own_answers():
    found = search(
        'nas_bench_201',
        images(),
        method='local_search',
        evaluator=dict(type='rdarts.Scored', score='NASWOT', batch_size=8),
        budget=4,
        batch_size=8,
        channels=4,
        cells_per_stage=1,
    )
    assert max(row['value'] for row in found.history) == found.history[-1]['best']


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(method='local_search', epochs=3), "epochs: the method 'local_search' trains nothing"),
        (dict(method='rdarts', epochs=3), "dataset is missing: the method 'rdarts' trains"),
        (dict(dataset=images(), batch_size=8), "epochs is missing: the method 'rdarts' trains"),
        (
            dict(dataset=images(), batch_size=8, epochs=1, budget=3),
            "budget: the method 'rdarts' asks nothing; one that does is 'local_search'",
        ),
        (dict(method='local_search', budget=0), 'budget must be a positive integer, but is 0'),
        (
            dict(method='local_search', evaluator=lambda genotype: Result('good')),
            'a Result of numbers is wanted',
        ),
        (
            dict(method='nsga2', evaluator=lambda genotype: Result(1.0, dict(macs=math.nan))),
            "cost 'macs' of nan: a search that looks at it needs finite ones",
        ),
        (
            dict(method='local_search', evaluator=lambda genotype: 'good'),
            'a number or a Result is wanted of .*, but str was returned',
        ),
        (dict(method='local_search', evaluator='rdarts.Tabel'), "did you mean 'Table'"),
    ],
)
def test_searches_that_ask_refuse(kwargs, message):
    with pytest.raises(UserError, match=message):
        search('nas_bench_201', **kwargs)


@pytest.mark.parametrize('number', [np.float32, np.int64, torch.tensor])
def test_an_evaluator_may_answer_with_numbers_of_any_kind(number):
    found = search(
        'nas_bench_201',
        method='local_search',
        evaluator=lambda genotype: Result(number(3), dict(macs=number(2))),
        budget=2,
    )
    assert found.history[-1]['value'] == 3.0 and found.history[-1]['costs'] == dict(macs=2.0)
