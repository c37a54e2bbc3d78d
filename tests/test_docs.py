"""What README and docs show is true: links, examples, commands."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import run_tool, write_cifar, write_retrained
from mmengine.registry import Registry
from PIL import Image
from same_runs import rows
from torch.utils.data import TensorDataset

import rdarts
from rdarts import registry
from rdarts.apis.dry_run import dry_run
from rdarts.apis.runs import configure_training, train
from rdarts.architect.regularizers import ExpectedCost
from rdarts.benchmarks import NASBench201
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.composition import is_config
from rdarts.configuration.config_names import config_path
from rdarts.configuration.load import check_model, load_config, phases_of
from rdarts.console.subcommands import SUBCOMMANDS
from rdarts.datasets.given import GivenDataset, give
from rdarts.engine.runner import build_runner
from rdarts.errors import UserError
from rdarts.models import find_alpha_owner
from rdarts.registry import HOOKS, REGULARIZERS, build
from rdarts.results.log import read_search_log
from rdarts.search_spaces import build_space
from rdarts.visualization.plots import PLOTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*/*.md'))]
EXAMPLE = re.compile(r'<!-- example: (\S+) -->\n```python\n(.*?)```', re.DOTALL)


def examples(page: str) -> dict[str, str]:
    return dict(EXAMPLE.findall((ROOT / page).read_text(encoding='utf-8')))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder that sees the configs as a clone's root does."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    return tmp_path


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', page.read_text(encoding='utf-8')):
        if '://' not in target:
            assert (page.parent / target).exists(), f'{page.name}: {target}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_name_files_that_exist(page):
    text = page.read_text(encoding='utf-8')
    found = re.findall(r'(?<![\w/.])(?:tools|configs)/[\w/.{},*-]+\.(?:py|sh)\b', text)
    for name in found:
        if not set(name) & set('{}*'):
            assert (ROOT / name).exists() or is_config(ROOT / name), f'{page.name}: {name}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_of_the_package_are_there(page):
    """But for what an example of the page puts there."""
    text = page.read_text(encoding='utf-8')
    own = {name for name, _ in EXAMPLE.findall(text)}
    for name in re.findall(r'(?<![\w./-])rdarts/[\w/.-]*', text):
        name = name.rstrip('.')
        assert (ROOT / name).exists() or Path(name).name in own, f'{page.name}: {name}'


def test_the_page_on_architecture_names_files_that_are_there():
    """From the root, or from a folder of the package or of the configs."""
    places = [ROOT / 'rdarts', ROOT / 'configs' / '_base_']
    text = (ROOT / 'docs' / 'en' / 'architecture.md').read_text(encoding='utf-8')
    for name in re.findall(r'`(?!work_dirs)([\w./-]+(?:\.py|\.cpp|\.h|\.html|/))`', text):
        found = (ROOT / name).exists() or any(any(one.glob(f'**/{name}')) for one in places)
        assert found, name


def is_registered(name: str) -> bool:
    """Whether a registry holds what configs call ``rdarts.<name>``."""
    found = [one for one in vars(registry).values() if isinstance(one, Registry)]
    for one in found:
        one.import_from_location()
    return any(name in one.module_dict for one in found)


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, parts = rdarts, name.split('.')[1:]
    for place, part in enumerate(parts):
        if hasattr(module, part):
            module = getattr(module, part)
            continue
        try:
            module = importlib.import_module('.'.join(['rdarts', *parts[: place + 1]]))
        except ModuleNotFoundError:
            return False
    return True


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_names_of_the_package_are_there(page):
    text = page.read_text(encoding='utf-8')
    own = set(re.findall(r'^(?:class|def) (\w+)', text, re.MULTILINE)) | {'X'}  # X: any
    for name in sorted(set(re.findall(r'(?<![\w./-])rdarts\.\w+(?:\.\w+)*', text))):
        last = name.removeprefix('rdarts.')
        assert last in own or is_there(name) or is_registered(last), f'{page.name}: {name}'


def test_the_readme_shows_both_commands():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    for target in ('quickstart', 'test'):
        assert f'make {target}' in text
        assert re.search(rf'^{target}:', makefile, re.MULTILINE)
    assert re.search(r'^make test$', (ROOT / '.ci' / 'run').read_text(), re.MULTILINE)


def test_pages_name_subcommands_and_configs_that_exist():
    shown = []
    for page in PAGES:
        shown += re.findall(
            r'^    rdarts ([^#\n]+)', page.read_text(encoding='utf-8'), re.MULTILINE
        )
    for words in map(str.split, shown):
        assert words[0] in SUBCOMMANDS or words == ['--help'], words
        if words[0] in ('search', 'retrain', 'detect'):
            assert is_config(config_path(words[1])), words
    assert ['search', 'rdarts_darts_c10'] in map(str.split, shown)


@pytest.mark.slow
def test_searching_ones_own_images_as_the_readme_says(project, capsys):
    rng = np.random.default_rng(0)
    for split, count in (('train', 4), ('val', 1)):
        for label in ('cat', 'dog'):
            folder = project / 'data' / 'image_folder' / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.jpg')
    (project / 'my_search.py').write_text(examples('README.md')['my_search.py'])
    cfg = load_config('my_search.py')
    assert cfg.model.head.num_classes == 2
    assert cfg.default_hooks.architect.lambda_ == 1.0
    cfg.merge_from_dict(
        {
            'model.backbone.channels': 4,
            'model.head.in_channels': 64,
            'model.backbone.num_cells': 3,
            'randomness.seed': 0,
        }
    )
    for loader in (cfg.train_dataloader, cfg.arch_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    result = dry_run(cfg)
    assert result['alphas'] == 2 * 14 * 8
    assert 'expected:' in capsys.readouterr().out


@pytest.mark.slow
def test_adding_a_method_as_the_page_says(project, monkeypatch):
    """By its command, too, in a folder that no path names."""
    texts = examples('docs/en/adding_a_method.md')
    for name, text in texts.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    write_cifar(project / 'data' / 'cifar10', 'cifar10', 20, 10)
    tiny = ['model.backbone.channels=2', 'model.backbone.cells_per_stage=1']
    loaders = ('train_dataloader', 'arch_dataloader', 'val_dataloader')
    tiny += ['model.head.in_channels=8', *(f'{loader}.batch_size=5' for loader in loaders)]
    for name in ('squares_nb201_c10.py', 'mine/search/squares_nb201_c10.py'):
        done = run_tool(['train.py', name, '--dry-run', '--cfg-options', *tiny], cwd=project)
        assert done.code == 0, done.err
        assert 'expected:' in done.out
    monkeypatch.setattr(sys, 'path', list(sys.path))
    try:
        cfg = load_config('squares_nb201_c10.py')
        composed = load_config('mine/search/squares_nb201_c10.py')
        elsewhere = load_config('mine/search/squares_s2_c100.py')
        regularizer = build(cfg.default_hooks.architect.regularizers.squares, REGULARIZERS)
    finally:
        sys.modules.pop('alpha_squares', None)
        REGULARIZERS.module_dict.pop('AlphaSquares', None)
    space = build_space('nas_bench_201')
    assert regularizer({'cell': torch.ones(6, 5) * 2}, space).item() == pytest.approx(20.0)
    assert regularizer.lambda_.at(50) == pytest.approx(25.0)
    assert cfg.default_hooks.architect.type == 'rdarts.ArchitectHook'
    assert composed.default_hooks == cfg.default_hooks
    assert (elsewhere.arch_optimizer.lr, elsewhere.model.backbone.space) == (1e-4, 's2')
    squares = elsewhere.default_hooks.architect.regularizers.squares
    assert squares.lambda_.points == [(0, 0.0), (50, 50.0)]


@pytest.mark.slow
def test_searches_in_phases_as_the_page_says(project):
    texts = examples('docs/en/phases.md')
    for name, text in texts.items():
        (project / name).write_text(text)
    assert len(texts['two_phases.py'].splitlines()) <= 15
    first, second = phases_of(load_config('two_phases.py'))
    assert (first.epochs, second.epochs) == (10, 20)
    depths = [phase.cfg.model.backbone.cells_per_stage for phase in (first, second)]
    assert depths[1] == 2 * depths[0]
    checkpoints = 'default_hooks.checkpoint'
    quick = ['--cfg-options', 'epochs=2', 'limit=128', 'model.backbone.channels=4']
    quick += ['model.backbone.execution=fused']  # not timed
    quick += [f'{checkpoints}.iter_interval=1', f'{checkpoints}.max_keep_ckpts=-1']

    def run(config, *options):
        done = run_tool(['train.py', config, '--work-dir', 'run', *options, *quick], cwd=project)
        assert done.code == 0, done.err

    def ended(phase):
        return read_checkpoint(find_checkpoint(project / 'run' / f'phase_{phase}'))['state_dict']

    run('two_phases.py')
    found = (project / 'run' / 'genotype.json').read_bytes()
    log = rows(project / 'run')
    assert [row['phase'] for row in log if row['kind'] == 'phase'] == [0, 1]
    assert [row['epoch'] for row in log if row['kind'] == 'epoch'] == [1, 2]
    alive = ended(1)['backbone.alive.cell']
    assert alive.view(6, 5).sum(1).tolist() == [3] * 6
    run('two_phases.py', '--from-phase', 1)
    assert rows(project / 'run') == log
    run('two_phases.py', '--resume')
    assert (project / 'run' / 'genotype.json').read_bytes() == found
    before = ended(0)
    # what init says, and a transition of one's own
    (project / 'run').rename(project / 'before')
    quick.append('init=before/phase_0')
    run('shrunk.py')
    assert not (project / 'run' / 'phase_0').exists()
    key = 'backbone.arch_parameters.cell'
    start = read_checkpoint(project / 'run' / 'phase_1' / 'iter_1.pth')['state_dict']
    step = load_config('shrunk.py').arch_optimizer.lr
    torch.testing.assert_close(start[key], 0.2 * before[key], rtol=0, atol=1.01 * step)


def test_ranges_as_the_page_on_methods_says(project):
    (project / 'ranges.py').write_text(examples('docs/en/adding_a_method.md')['ranges.py'])
    base = ROOT / 'configs' / 'search' / 'rdarts_nb201_digits.py'
    for arguments, line in (
        ('start_epoch=-1', 'start_epoch must be a whole number of at least 0, but is -1'),
        ('threshold=2', 'threshold must be a finite number of at least 0 and at most 1, but is 2'),
        ("mode='egde'", "mode must be one of 'edge', 'node', but is 'egde'"),
        ('treshold=1', "FreezeHook takes no 'treshold': did you mean 'threshold'?"),
        ("mode='node', threshold=0", 'threshold must be above 0 with mode=node, but is 0'),
        ('', None),
    ):
        (project / 'frozen.py').write_text(
            f"_base_ = [r'{base}']\n"
            "custom_imports = dict(imports=['ranges'])\n"
            f"custom_hooks = [dict(type='FreezeHook', {arguments})]\n"
        )
        if line is None:
            assert load_config('frozen.py').custom_hooks[0].type == 'rdarts.FreezeHook'
        else:
            with pytest.raises(UserError) as error:
                load_config('frozen.py')
            assert line in str(error.value)


@pytest.mark.slow
def test_a_search_by_call_as_the_readme_says(project):
    names: dict = {}
    exec(examples('README.md')['by_call.py'], names)
    assert names['found'].genotype.space == 'nas_bench_201'
    assert [row['epoch'] for row in names['found'].history] == [1, 2]
    assert names['net'](torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_network_as_the_page_on_retraining_says():
    names: dict = {}
    exec(examples('docs/en/retrain.md')['build_net.py'], names)
    assert names['net'].eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_features_and_names_of_timm_as_the_page_on_retraining_says():
    texts = examples('docs/en/retrain.md')
    exec(texts['features.py'], {})
    pytest.importorskip('timm')
    names: dict = {}
    exec(texts['by_timm.py'], names)
    assert names['net'].num_classes == 10
    assert names['maps'].feature_info.reduction() == [4, 8, 16, 32]
    count = sum(parameter.numel() for parameter in names['mine'].backbone.parameters())
    assert names['mine'].head.fc.out_features == 10 and count > 1e6


def test_a_network_on_the_hub_as_the_page_on_export_says(project):
    pytest.importorskip('huggingface_hub')
    options = {
        'model.backbone.channels': 4,
        'model.backbone.num_cells': 3,
        'model.head.in_channels': 64,
        'model.head.auxiliary.in_channels': 64,
    }
    write_retrained(project / 'work_dirs/darts_c10', 'darts_c10', 'DARTS_V2', options)
    names: dict = {}
    exec(examples('docs/en/export.md')['to_the_hub.py'], names)
    assert names['net'](torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.slow
def test_a_search_with_a_cost_as_the_page_on_configs_says(project):
    """A measured table; a search of some iterations; the cost outweighs L_val."""
    path = project / 'rdarts_with_cost.py'
    path.write_text(examples('docs/en/configs.md')[path.name])
    base = ROOT / 'configs' / 'search' / 'rdarts_mobilenet_like_imagenet.py'
    size = ['--shape', 3, 32, 32, '--repeats', 1]
    done = run_tool(['benchmarks/cost_table.py', base, '--out', project / 'costs.json', *size])
    assert done.code == 0, done.err
    cfg = load_config(path.name)
    cost = cfg.default_hooks.architect.regularizers.cost
    assert (cost.type, cost.lambda_) == ('rdarts.ExpectedCost', 0.01)
    assert cfg.default_hooks.architect.type == 'rdarts.BERArchitectHook'
    cost.lambda_ = 1e6
    cfg.optim_wrapper.optimizer.lr = 1e-3  # one pixel is left of 32
    cfg.default_hooks.architect.start_epoch = 0
    cfg.default_hooks.update(checkpoint=None, report=None)
    cfg.train_cfg.update(max_epochs=1, val_begin=2)
    cfg.work_dir, cfg.experiment_name = str(project / 'run'), 'with_cost'
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(48, 3, 32, 32, generator=generator)
    given = GivenDataset(TensorDataset(images, torch.arange(48) % 2))
    cfg.data_preprocessor = dict(type='ClsDataPreprocessor', num_classes=2)
    cfg.model.head.num_classes = 2
    for loader in (cfg.train_dataloader, cfg.arch_dataloader, cfg.val_dataloader):
        loader.dataset.dataset = dict(type='rdarts.Given', name='tiny')
        loader.dataset.subset, loader.dataset.fraction = 1.0, 0.5
        loader.update(batch_size=8, num_workers=0, persistent_workers=False)
    with give('tiny', given):
        runner = build_runner(cfg)
        supernet = find_alpha_owner(runner.model)
        before = {name: alpha.clone() for name, alpha in supernet.arch_parameters.items()}
        runner.train()
    assert runner.iter == 3
    alphas, space = supernet.arch_parameters, supernet.space
    assert ExpectedCost()(alphas, space) < ExpectedCost()(before, space)
    for edge, (group, row) in enumerate(space.slots('layerwise')):
        costs = torch.tensor(space.costs['layerwise'][edge])
        moved = alphas[group][row] - before[group][row]
        # three steps of Adam: the dearest has lost, the cheapest won
        assert moved[costs.argmax()] < -2e-3 and moved[costs.argmin()] > 2e-3, edge
    skips = alphas['layerwise_1'] - before['layerwise_1']
    assert (skips[:, -1] > 2e-3).all()


def test_a_detector_as_the_page_on_detection_says(project):
    pytest.importorskip('mmdet', reason='detection is not installed: make install-detection')
    (project / 'my_detector.py').write_text(examples('docs/en/detection.md')['my_detector.py'])
    cfg = load_config('my_detector.py')
    cfg.model.backbone.init_cfg.checkpoint = 'any.pth'
    check_model(cfg)
    assert cfg.model.backbone.type == 'rdarts.DARTSNet'


def test_the_retraining_configs_are_those_that_the_page_lists():
    text = (ROOT / 'docs/en/retrain.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| (`[^|]+) \|', text, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r'`(\w+)`', row)}
    assert listed == {path.stem for path in (ROOT / 'configs' / 'retrain').glob('*.py')}


@pytest.mark.slow
def test_watching_hooks_as_the_page_on_searching_says(project):
    (project / 'watched.py').write_text(examples('docs/en/search.md')['watched.py'])
    hooks = load_config('watched.py').default_hooks
    for name in ('convergence', 'collapse'):
        HOOKS.build(hooks[name])
    assert hooks.architect.type == 'rdarts.BERArchitectHook'


def test_the_page_on_reports_lists_every_picture():
    text = (ROOT / 'docs/en/report.md').read_text(encoding='utf-8')
    assert re.findall(r'^\| `(\w+)` \|', text, re.MULTILINE) == list(PLOTS)
    tool = (ROOT / 'tools/analysis/plot_search.py').read_text(encoding='utf-8')
    assert re.findall(r'^(\w+)  +\S', tool.split('"""')[1], re.MULTILINE) == list(PLOTS)


@pytest.mark.slow
def test_the_small_mobilenet_example_runs(data_root, tmp_path, monkeypatch):
    folder = ROOT / 'docs' / 'en' / 'examples' / 'mobilenet_small'
    (tmp_path / 'imagenet').symlink_to(data_root / 'imagenet_mini')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    darts, rdarts, retrain = (
        load_config(folder / f'{name}.py') for name in ('search_darts', 'search_rdarts', 'retrain')
    )
    assert rdarts.default_hooks.architect.lambda_ == 1
    assert darts.model == rdarts.model
    for key, value in retrain.model.backbone.items():
        if key in rdarts.model.backbone and key != 'type':
            assert value == rdarts.model.backbone[key], key
    for cfg in (darts, retrain):
        assert cfg.test_dataloader.dataset.pipeline[2].crop_size == 64
    rdarts.model.backbone.execution = 'fused'  # to time both takes most of so short a run
    monkeypatch.setattr('rdarts.apis.dry_run.SECONDS', 0.0)  # as few iterations as there may be
    retrain.model.backbone.genotype = ' - '.join(['mbconv_k3_e3'] * 11)
    for cfg, alphas in ((rdarts, 6 * 6 + 5 * 7), (retrain, 0)):
        cfg.work_dir = str(tmp_path / 'run')
        for name in ('train', 'arch', 'val', 'test'):
            loader = cfg.get(f'{name}_dataloader')
            if loader is not None:
                loader.batch_size = 2
        assert dry_run(cfg)['alphas'] == alphas


@pytest.mark.data
def test_cells_without_none_as_the_notes_say(tmp_path, data_root):
    alpha = [[2.0, 1.0, 0.0, 1.5, 0.0]] * 5 + [[0.0, 1.0, 0.0, 0.0, 0.5]]
    row = dict(kind='epoch', epoch=1, mean_entropy=1.5, alpha=dict(cell=alpha))
    (tmp_path / 'search_log.jsonl').write_text(json.dumps(row) + '\n')
    script = ROOT / 'docs' / 'en' / 'examples' / 'cells_without_none.py'
    done = run_tool([script, tmp_path], env=dict(RDARTS_DATA=str(data_root)))
    assert done.code == 0, done.err
    header, found = (line.split(',') for line in done.out.replace(', ', ' ').splitlines())
    assert len(header) == len(found) == 10
    assert found[:2] + found[3:6] == ['1', '1.5000', '10.00', '5', '1']
    table = NASBench201(data_root / 'nasbench201' / 'nasbench201.csv.gz')
    cell = table.query(
        '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+'
        '|nor_conv_3x3~0|nor_conv_3x3~1|skip_connect~2|'
    )
    accuracy = f'{cell.accuracy("cifar10", "test"):.2f}'
    assert found[6:] == [str(cell.index), accuracy, '0', '1']
    done = run_tool([script, tmp_path / 'gone'], env=dict(RDARTS_DATA=str(data_root)))
    assert done.code == 2 and done.err.startswith('error: no search_log.jsonl in ')


@pytest.mark.data
def test_searches_that_ask_as_their_page_says(project, data_root, monkeypatch):
    monkeypatch.setenv('RDARTS_DATA', str(data_root))
    found = examples('docs/en/queries.md')
    (project / 'my_queries.py').write_text(found['my_queries.py'])
    cfg = configure_training('my_queries.py', {'budget': 3, 'strategy.population': 2})
    train(cfg)
    rows = read_search_log(cfg.work_dir, 'query')
    assert len(rows) == 3 and all(row['costs']['params'] <= 8e5 for row in rows)

    (project / 'ask_by_call.py').write_text(found['ask_by_call.py'])
    done = run_tool([project / 'ask_by_call.py'])
    assert done.code == 0, done.err
    cell, best = done.out.split()[-2:]
    assert float(best) == cell.count('conv')


@pytest.mark.data
def test_a_strategy_that_asks_as_the_page_on_methods_says(tmp_path, data_root):
    (tmp_path / 'ask.py').write_text(examples('docs/en/methods.md')['ask.py'])
    done = run_tool([tmp_path / 'ask.py'], env=dict(RDARTS_DATA=str(data_root)))
    assert done.code == 0, done.err
    value, cell = done.out.split()
    assert 80 < float(value) < 95 and cell.startswith('|nor_conv')


def test_scores_of_cells_as_the_page_on_methods_says(tmp_path, monkeypatch):
    page = (ROOT / 'docs/en/methods.md').read_text(encoding='utf-8')
    lines = re.findall(r'^    python (tools/analysis/score_cells.py .*)$', page, re.MULTILINE)
    tool, *args = shlex.split(lines[-1])
    main = runpy.run_path(str(ROOT / tool))['main']
    for line in lines:  # the others need data, and minutes
        monkeypatch.setattr(sys, 'argv', shlex.split(line))
        main.__globals__['parse_args']()
    done = run_tool([Path(tool).relative_to('tools'), *args], cwd=tmp_path)
    assert done.code == 0, done.err
    header, _, row = done.out.splitlines()[-3:]
    assert header.split() == ['cell', 'zico', 'params', 'latency']
    assert row.startswith('Genotype(normal=') and float(row.split()[-1]) < 0
