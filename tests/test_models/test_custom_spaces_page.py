"""What docs/en/custom_spaces.md shows runs, and so does its example of a CNN of one's own."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from helpers import run_tool

from rdarts.configuration.load import load_config
from rdarts.engine.runner import build_runner
from rdarts.genotypes import load_genotype
from rdarts.models import find_alpha_owner
from rdarts.models.layers import EdgeCopies, PlainLayers, StackedLayers
from rdarts.models.operations import build_operation
from rdarts.registry import MODELS, OPERATIONS, lookup

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'en' / 'custom_spaces.md').read_text(encoding='utf-8')
EXAMPLES = dict(re.findall(r'<!-- example: (\S+) -->\n```python\n(.*?)```', PAGE, re.DOTALL))
# A few iterations of every loop, alpha's too
SHORT = {
    'train_cfg.max_epochs': 2,
    'train_dataloader.batch_size': 8,
    'train_dataloader.num_batch_per_epoch': 3,
    'arch_dataloader.batch_size': 8,
    'val_dataloader.batch_size': 8,
    'val_dataloader.num_batch_per_epoch': 2,
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder that sees the configs as the clone's root does."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_search(cfg, work_dir):
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.parent.name}_{work_dir.name}'
    runner = build_runner(cfg, quiet=True)
    before = {k: a.clone() for k, a in find_alpha_owner(runner.model).arch_parameters.items()}
    runner.train()
    return runner, before


def check_run(supernet, work_dir, space):
    genotype = load_genotype(work_dir / 'genotype.json', space)
    rows = [json.loads(row) for row in (work_dir / 'search_log.jsonl').read_text().splitlines()]
    assert any('regularizers' in row for row in rows)
    assert sorted(p.name for p in (work_dir / 'genotypes').iterdir()) == [
        'epoch_1.json',
        'epoch_2.json',
    ]
    assert not any(alpha.requires_grad for alpha in supernet.arch_parameters.values())
    return genotype


def test_every_python_block_of_the_page_is_an_example():
    assert PAGE.count('```python') == len(EXAMPLES) == 8
    names = re.search(r'^Built in: (.*?)\n\n', PAGE, re.DOTALL | re.MULTILINE)[1]
    shown = set()
    for name in re.findall(r'`(\w+(?:\{[\w,]+\})?)`', names):
        stem, _, options = name.partition('{')
        shown.update(stem + option for option in options.rstrip('}').split(','))
    lookup('none', OPERATIONS)
    assert shown == set(OPERATIONS.module_dict)


@pytest.mark.parametrize('name', ['layerwise.py', 'alone.py', 'read_back.py'])
def test_scripts_of_the_page(name):
    scope = {}
    exec(compile(EXAMPLES[name], name, 'exec'), scope)
    assert {'space', 'y', 'genotype'} & set(scope)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'options', 'groups'),
    [
        (
            'my_cells.py',
            {'model.backbone.channels': 2, 'model.head.in_channels': 8},
            {'cell_0': (3, 3), 'cell_1': (1, 2)},
        ),
        (
            'my_darts.py',
            {
                'model.backbone.channels': 2,
                'model.backbone.num_cells': 3,
                'model.head.in_channels': 16,
            },
            {'normal': (5, 3), 'reduce': (5, 3)},
        ),
    ],
)
def test_configs_of_the_page_search(project, name, options, groups):
    (project / name).write_text(EXAMPLES[name])
    full = load_config(name)
    assert full.model.head.in_channels == MODELS.build(full.model.backbone).out_channels
    cfg = load_config(name)
    cfg.merge_from_dict({**options, **SHORT})
    runner, before = run_search(cfg, project / 'run')
    supernet = find_alpha_owner(runner.model)
    assert {k: tuple(a.shape) for k, a in supernet.arch_parameters.items()} == groups
    for key, alpha in supernet.arch_parameters.items():
        assert (alpha != before[key]).any(dim=1).all()
    genotype = check_run(supernet, project / 'run', supernet.space)
    assert genotype.space == name.removesuffix('.py')


def test_operations_of_the_page():
    try:
        for name in ('squeeze.py', 'nor_conv_5x5.py'):
            exec(compile(EXAMPLES[name], name, 'exec'), dict(__name__='example'))
        x = torch.randn(2, 4, 7, 7)
        for stride in (1, 2):
            for name in ('squeeze', 'nor_conv_5x5'):
                plain = build_operation(name, PlainLayers(), 4, 6, stride)
                stacked = build_operation(name, StackedLayers(3), 4, 6, stride)
                size = -(-7 // stride)
                outs = [plain(x)] + [function(x) for function in stacked.unbind()]
                assert {tuple(out.shape) for out in outs} == {(2, 6, size, size)}
                assert isinstance(stacked, EdgeCopies) is (name == 'squeeze')
        assert stacked[1].weight.shape == (3, 6, 4, 5, 5)
        assert build_operation('squeeze', PlainLayers(), 8, 8, ratio=4).layers[1].out_channels == 2
    finally:
        OPERATIONS.module_dict.pop('squeeze', None)
        OPERATIONS.module_dict.pop('nor_conv_5x5', None)


@pytest.mark.slow
def test_operations_beside_a_config(project):
    """By a command as the page has it, in a folder that no path names."""
    for name in ('squeeze.py', 'nor_conv_5x5.py', 'my_operations.py'):
        (project / name).write_text(EXAMPLES[name])
    tiny = ['model.backbone.channels=2', 'model.head.in_channels=8']
    for loader in ('train_dataloader', 'arch_dataloader', 'val_dataloader'):
        tiny += [f'{loader}.batch_size=8', f'{loader}.dataset.dataset.limit=40']
    args = ['train.py', 'my_operations.py', '--dry-run', '--cfg-options', *tiny]
    done = run_tool(args, cwd=project)
    assert done.code == 0, done.err
    assert ' and 6 alphas' in done.out


@pytest.mark.slow
def test_the_cnn_of_ones_own_is_searched(project):
    path = ROOT / 'docs' / 'en' / 'examples' / 'own_cnn.py'
    spec = importlib.util.spec_from_file_location('own_cnn', path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        torch.manual_seed(0)
        runner = module.search('run', channels=4, **SHORT)
        supernet = find_alpha_owner(runner.model)
        assert type(supernet) is module.OwnCNN
        genotype = check_run(supernet, project / 'run', module.SPACE)
        assert len(genotype.layers) == 3
        hook = runner.hooks[[type(h).__name__ for h in runner.hooks].index('BERArchitectHook')]
        architect = hook.architect
        assert architect.steps == runner.iter == 6
        assert {k: tuple(a.shape) for k, a in supernet.arch_parameters.items()} == {
            'layerwise_0': (1, 3),
            'layerwise_1': (1, 4),
            'layerwise_2': (1, 3),
        }
        # Adam's steps of 3e-4 leave the start of 1e-3 x N(0, 1) behind, and it moved everywhere
        state = architect.optimizer.state_dict()['state']
        assert len(state) == 3
        assert all(entry['exp_avg'].ne(0).all() for entry in state.values())
    finally:
        MODELS.module_dict.pop('OwnCNN', None)
