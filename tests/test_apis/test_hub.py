"""Trained networks in folders of the Hub's form, and on a Hub that is a folder."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from helpers import write_retrained

from rdarts.errors import RunFailed, UserError

huggingface_hub = pytest.importorskip('huggingface_hub')
pytest.importorskip('safetensors')
from rdarts.apis import hub  # noqa: E402
from rdarts.apis.hub import HubNet  # noqa: E402
from rdarts.deploy.inference import load_exported  # noqa: E402

CELL = '|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|'
OPTIONS = {
    'model.backbone.channels': 4,
    'model.backbone.cells_per_stage': 1,
    'model.head.in_channels': 16,
}
ROWS = (
    dict(step=10, loss=2.0),
    {'accuracy/top1': 50.0, 'step': 1},
    {'accuracy/top1': 91.25, 'step': 2},
)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs') / 'cell'
    write_retrained(folder, 'nb201_c100', CELL, OPTIONS, meta=dict(epoch=2))
    log = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('\n'.join(map(json.dumps, ROWS)) + '\n{"accuracy/top1": 9')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(dict(config, experiment_name='nb201_c100')))
    (folder / 'images.json').write_text(json.dumps(dict(count=50_000, sha256='0')))
    return folder


@pytest.fixture(scope='module')
def net(run):
    return HubNet.from_run(run)


@pytest.fixture
def folder(net, tmp_path):
    net.save_pretrained(tmp_path / 'saved')
    return tmp_path / 'saved'


def images(count=2):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_what_is_saved_is_what_is_loaded(net, folder, capsys):
    assert sorted(path.name for path in folder.iterdir()) == [
        *('README.md', 'config.json', 'model.safetensors')
    ]
    loaded = HubNet.from_pretrained(folder)
    assert not loaded.training and capsys.readouterr().out == ''
    with torch.no_grad():
        assert torch.equal(loaded(images()), net(images()))
    assert loaded.description == net.description and loaded.measured == net.measured
    again = folder.with_name('again')
    loaded.save_pretrained(again)
    for name in ('config.json', 'model.safetensors'):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_weights_are_an_export_too(net, folder):
    predictor = load_exported(folder / 'model.safetensors')
    with torch.no_grad():
        expected = net(images()).numpy()
    assert (predictor.scores(images().numpy()) == expected).all()


def test_the_card_says_what_was_measured(net, folder):
    net_macs = net.measured['macs']
    assert net.measured['accuracy'] == 91.25 and net.measured['epoch'] == 2
    assert net.measured['parameters'] == sum(p.numel() for p in net.net.parameters())
    # a cell is a 3x3 convolution and a 1x1 one: 10 C^2 a pixel; a reduction is two 3x3 and a 1x1
    cells = sum(10 * c * c * side * side for c, side in ((4, 32), (8, 16), (16, 8)))
    reductions = sum(
        (9 * c * 2 * c + 36 * c * c + 2 * c * c) * side**2 for c, side in ((4, 16), (8, 8))
    )
    assert net_macs == 27 * 4 * 32 * 32 + cells + reductions + 16 * 100
    card = huggingface_hub.ModelCard.load(folder / 'README.md')
    assert card.data.library_name == 'rdarts'
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == ('CIFAR100', 0.9125)
    for text in (
        '| accuracy on the test images | 91.25 %, after epoch 2 |',
        f'| parameters | {net.measured["parameters"]:,} |',
        f'| multiply-adds | {net_macs:,} an image |',
        '| data | CIFAR100, 50,000 training images |',
        f"configs/retrain/nb201_c100.py --genotype '{CELL}'",
        'batch_size = 256',
        'lr=0.1',
    ):
        assert text in card.text


def test_what_was_not_measured_is_not_on_the_card(run, tmp_path):
    for name in ('config.py', 'epoch_1_iter_1.pth'):
        shutil.copy(run / name, tmp_path)
    net = HubNet.from_run(tmp_path)
    assert set(net.measured) == {'parameters', 'macs', 'epoch'}
    card = net.generate_model_card('mine')
    assert 'accuracy' not in str(card) and 'train.py' not in str(card)
    assert card.data.eval_results is None


def test_an_accuracy_of_another_epoch_is_not_the_networks(run, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(run, other)
    log = next(other.glob('*/vis_data/scalars.json'))
    log.write_text(json.dumps(ROWS[1]))
    assert 'accuracy' not in HubNet.from_run(other).measured


class FolderHub:
    """What the mixin calls of the Hub, on a folder."""

    root = None

    def __init__(self, token=None):
        pass

    def create_repo(self, repo_id, **kwargs):
        (self.root / repo_id).mkdir(parents=True)
        return self

    repo_id = 'me/cell'

    def upload_folder(self, repo_id, folder_path, **kwargs):
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f'https://hub/{repo_id}'


def test_pushed_and_had_from_the_hub(net, tmp_path, monkeypatch):
    monkeypatch.setattr(FolderHub, 'root', tmp_path)
    monkeypatch.setattr(huggingface_hub.hub_mixin, 'HfApi', FolderHub)

    def download(repo_id, filename, **kwargs):
        return str(tmp_path / repo_id / filename)

    monkeypatch.setattr(huggingface_hub.hub_mixin, 'hf_hub_download', download)
    monkeypatch.setattr(hub, 'hf_hub_download', download)
    monkeypatch.setattr(hub, 'is_reachable', lambda: True)
    assert net.push_to_hub('me/cell') == 'https://hub/me/cell'
    assert '\n# cell\n' in (tmp_path / 'me/cell/README.md').read_text()
    monkeypatch.chdir(tmp_path / 'me')  # so that the name is no folder
    loaded = HubNet.from_pretrained('me/cell')
    with torch.no_grad():
        assert torch.equal(loaded(images()), net(images()))


@pytest.mark.parametrize('reached', [True, False])
def test_a_name_without_network_is_one_line(net, monkeypatch, reached):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(hub, 'is_reachable', lambda: reached)
    with pytest.raises(UserError) as error:
        HubNet.from_pretrained('nobody/nothing')
    assert str(error.value).startswith(
        "'nobody/nothing' is no folder, and the Hub does not give it"
    )
    assert '\n' not in str(error.value)
    with pytest.raises(UserError) as error:
        net.push_to_hub('nobody/nothing')
    assert str(error.value).startswith('nobody/nothing cannot be pushed: ')
    assert '\n' not in str(error.value)


def test_whether_the_hub_is_reached(monkeypatch):
    def lookup(host, port):
        assert host == 'huggingface.co'
        raise OSError

    monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', 'https://huggingface.co')
    monkeypatch.setattr(hub, 'getproxies', dict)
    monkeypatch.setattr(hub.socket, 'getaddrinfo', lookup)
    assert not hub.is_reachable()
    monkeypatch.setattr(hub, 'getproxies', lambda: dict(https='http://proxy'))
    assert hub.is_reachable()


def break_config(change):
    def write(folder):
        path = folder / 'config.json'
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return write


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda f: (f / 'config.json').unlink(), 'holds no config.json'),
        (lambda f: (f / 'model.safetensors').unlink(), 'holds no model.safetensors'),
        (lambda f: (f / 'config.json').write_text('{'), 'its description is no JSON'),
        (lambda f: (f / 'config.json').write_text('[1]'), 'its description is of format None'),
        (lambda f: (f / 'model.safetensors').write_bytes(b'x' * 99), 'model.safetensors: damaged'),
        (
            break_config(lambda data: data['network'].update(type='torch.nn.Linear')),
            "'torch.nn.Linear'",
        ),
        (break_config(lambda data: data['network'].update(channels=8)), 'weights are not of its'),
        (break_config(lambda data: data.update(classes=['a'])), 'weights are not of its'),
        (
            break_config(lambda data: data['network'].update(init_cfg=dict(type='Pretrained'))),
            "'init_cfg' is no argument",
        ),
    ],
)
def test_damaged_folders_are_one_line(damage, message, folder):
    damage(folder)
    with pytest.raises(UserError) as error:
        HubNet.from_pretrained(folder)
    assert message in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith(str(folder))


def test_what_a_config_holds_beside_figures_is_left(folder):
    def change(data):
        data['measured'].update(accuracy='<b>99</b>', macs=True, more=1, data=3)

    break_config(change)(folder)
    found = HubNet.from_pretrained(folder).measured
    assert not {'accuracy', 'macs', 'more', 'data'} & set(found) and found['epoch'] == 2


def test_a_folder_that_cannot_be_written(net, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunFailed, match='file cannot be written'):
        net.save_pretrained(tmp_path / 'file')


def test_without_the_library(monkeypatch):
    monkeypatch.delitem(sys.modules, 'rdarts.apis.hub')
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match='need huggingface_hub safetensors: pip install'):
        import rdarts.apis.hub  # noqa: F401
