"""The example of a space in one file outside the package: it goes wherever ours go."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import run_tool
from torch.utils.data import TensorDataset

from rdarts.apis import build_net, build_supernet, search
from rdarts.configuration.retraining import retraining_command
from rdarts.configuration.spaces import is_declared
from rdarts.deploy.inference import load_exported
from rdarts.genotypes import load_genotype
from rdarts.models import NASBench201Net, NASBench201Supernet
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_config import to_config
from rdarts.search_spaces.as_data import from_data, to_data

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'docs' / 'en' / 'examples' / 'three_nodes'
SMALL = ['model.backbone.channels=4', 'train_cfg.max_epochs=1']
CELL = '|dil_conv_3x3~0|+|none~0|skip_connect~1|'


@pytest.fixture
def three_nodes(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop('three_nodes', None)
    SEARCH_SPACES.module_dict.pop('three_nodes', None)
    importlib.import_module('three_nodes')
    yield build_space('three_nodes')
    sys.modules.pop('three_nodes', None)
    SEARCH_SPACES.module_dict.pop('three_nodes', None)


def test_apis_answer_for_it(three_nodes):
    genotype = load_genotype(CELL, 'three_nodes')
    assert genotype.space == 'three_nodes' and len(genotype.ops) == 3
    net = build_net(genotype, 3, channels=4, cells_per_stage=1)
    assert isinstance(net.backbone, NASBench201Net)
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    supernet = build_supernet('three_nodes', channels=4, cells_per_stage=1)
    assert isinstance(supernet.backbone, NASBench201Supernet)
    assert supernet.backbone.arch_parameters['cell'].shape == (3, 4)


def test_a_search_by_one_call_finds_a_cell_of_it(three_nodes):
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(48, 3, 8, 8, generator=generator), torch.arange(48) % 3)
    found = search(three_nodes, data, epochs=1, channels=4, cells_per_stage=1, batch_size=8)
    assert found.genotype.space == 'three_nodes' and found.alphas['cell'].shape == (3, 4)


def test_what_is_written_of_it_is_read_back(three_nodes):
    assert to_config(three_nodes) == 'three_nodes'
    assert to_data(from_data(to_data(three_nodes))) == to_data(three_nodes)
    assert is_declared('network', dict(type='rdarts.NASBench201Net', space='three_nodes'))


def test_its_own_config_is_what_follows(three_nodes, tmp_path):
    following = retraining_command(tmp_path, three_nodes, dict(type='rdarts.Digits'))
    *_, script, option, shown = shlex.split(following)  # a path from here, where that is near
    assert script.endswith('three_nodes/retrain.py') and option == '--genotype'
    assert os.path.abspath(shown) == str(tmp_path)
    assert retraining_command(tmp_path, three_nodes, dict(type='rdarts.CIFAR10')) is None


@pytest.mark.slow
def test_it_searches_retrains_draws_reports_and_exports(three_nodes, tmp_path):
    folder = tmp_path / 'docs' / 'en' / 'examples' / 'three_nodes'  # anywhere outside the package
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    found, trained = tmp_path / 'found', tmp_path / 'trained'

    def run(*args):
        done = run_tool([*args])
        assert done.code == 0, done.err
        return done.out

    few = [*SMALL, 'model.backbone.execution=fused']
    few += ['train_dataloader.num_batch_per_epoch=2', 'val_dataloader.num_batch_per_epoch=1']
    said = run('train.py', folder / 'search.py', '--work-dir', found, '--cfg-options', *few)
    shown = re.findall(r'three_nodes/retrain\.py --genotype (.*)', said)
    assert {os.path.abspath(ROOT / path) for path in shown} == {str(found)}
    genotype = load_genotype(found, three_nodes)
    assert genotype.kind == 'dense_cell' and len(genotype.ops) == 3
    assert (found / 'report.html').is_file()
    args = [folder / 'retrain.py', '--genotype', found, '--work-dir', trained]
    run('train.py', *args, '--cfg-options', *SMALL, 'train_dataloader.num_batch_per_epoch=2')
    run('analysis/draw_genotype.py', found)
    assert 'cell-node-1' in (found / 'genotype.svg').read_text()
    (found / 'report.html').unlink()
    run('report.py', found)
    assert 'three_nodes' in (found / 'report.html').read_text()
    run('export.py', trained, '--out', tmp_path / 'net.pt2')
    net = load_exported(tmp_path / 'net.pt2', trust=True)
    assert net.description.network['space'] == 'three_nodes'
