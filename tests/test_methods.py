"""Every method as a user runs it: it starts, is logged, stops anywhere and resumes bit-equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from epoch_numbers import assert_epochs_follow, assert_within, scheduled
from helpers import (
    IN_PHASES,
    asking_methods,
    configs_of_run,
    digits_runner,
    log_text,
    methods_of,
    search_config,
    write_cifar,
)
from mmengine.config import Config
from same_runs import assert_same_state, rows

from rdarts.apis.runs import configure_training
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.composition import methods
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.configuration.schedule import Schedule
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import prepare_work_dir
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.models import find_alpha_owner

SEARCH = configs_folder() / 'search'
METHODS = [method for method in methods(SEARCH) if method not in asking_methods()]
# of one phase: those of several are in test_methods_in_phases.py
OF_NB201 = [method for method in methods_of('nb201') if method not in IN_PHASES]
OF_CELLS = (  # of a cell
    *('darts_plus', 'dots', 'fp_darts', 'lambda_darts', 'pc_darts', 'pc_darts_aer'),
    *('drnas_progressive', 'pdarts', 'pdarts_aer'),
)
WITHOUT_BER = ('is_darts', 'nasi', 'nasi_ada')  # no loss that it could be added to
OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'epochs': 2,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
}


def run(method: str, work_dir: Path, options: dict[str, Any] | None = None, **keys):
    """Two epochs of two iterations."""
    options = {**OPTIONS, **(options or {})}
    runner = digits_runner(work_dir, options, config=f'{method}_nb201_digits', **keys)
    runner.train()
    return runner


@pytest.mark.slow
@pytest.mark.parametrize('method', OF_NB201)
def test_a_search_resumes_bit_equal_from_any_iteration(method, tmp_path):
    """Half the methods with BER and in bfloat16, the others in float32 as configured."""
    place = OF_NB201.index(method)
    options: dict[str, Any] = {}
    with_ber = place // 2 % 2 == 0 and method not in WITHOUT_BER
    if place // 2 % 2 == 0:
        options['optim_wrapper.type'] = 'rdarts.BFloat16OptimWrapper'  # as --amp bf16
    if with_ber:
        options['default_hooks.architect.lambda_'] = 0.5
    whole = run(method, tmp_path / 'whole', options)
    genotype = load_genotype(tmp_path / 'whole' / 'genotype.json')
    assert genotype.space == 'nas_bench_201'
    log = rows(tmp_path / 'whole')
    assert len([row for row in log if row['kind'] == 'epoch']) == 2
    check_numbers(whole.cfg, log, with_ber)
    length = len(whole.train_dataloader)  # all images where weights and alpha share them
    last = f'epoch_2_iter_{2 * length}.pth'
    # of every other method within an epoch and after its end, of the rest in its last iteration and
    # in an epoch that is not the first
    points = [('iter', 1), ('iter', length), ('epoch', 1), ('iter', length + 1)]
    for kind, number in points[place % 2 :: 2]:
        name = f'iter_{number}.pth' if kind == 'iter' else f'epoch_1_iter_{length}.pth'
        folder = tmp_path / f'from_{name}'
        run(method, folder, options, resume=str(tmp_path / 'whole' / name))
        assert_same_state(folder / last, tmp_path / 'whole' / last)
        done = next(
            i for i, row in enumerate(log) if (row['kind'], row.get(kind)) == (kind, number)
        )
        assert rows(folder)[1:] == log[done + 1 :]
        assert load_genotype(folder / 'genotype.json') == genotype
    start, end = (
        read_checkpoint(tmp_path / 'whole' / name)['state_dict'] for name in ('iter_1.pth', last)
    )
    moved = [key for key in start if 'arch_parameters' in key]
    assert moved
    assert all(not torch.equal(start[key], end[key]) for key in moved), moved


def check_numbers(cfg: Config, log: list[dict[str, Any]], with_ber: bool) -> None:
    """BER is logged, and every number of the config that may change, in the rows of the epochs."""
    epoch = next(row for row in log if row['kind'] == 'epoch')
    own = [epoch.get(key) for key in ('relaxation', 'mixed_op', 'architect')]
    numbers = (*own, *epoch.get('regularizers', {}).values())
    logged = {item for found in numbers if found for item in found.items()}
    for name, spec in scheduled(cfg.to_dict()):
        assert (name, Schedule(spec, name).at(0)) in logged
    if with_ber:
        assert ('lambda_', 0.5) in logged
        row = next(row for row in log if row['kind'] == 'iter' and row.get('regularizers'))
        assert row['regularizers']['ber']['lambda_'] == 0.5
        assert row['regularizers']['ber']['value'] > 0


@pytest.mark.parametrize('method', WITHOUT_BER)
def test_what_has_no_loss_takes_no_ber(method, tmp_path):
    options = {**OPTIONS, 'default_hooks.architect.lambda_': 0.5}
    with pytest.raises(UserError, match=r"'ber' could be added to: .*\.lambda_=0$"):
        digits_runner(tmp_path, options, config=f'{method}_nb201_digits')


@pytest.mark.parametrize(
    ('method', 'space'),
    [
        pytest.param(method, space, marks=() if space == 'nb201' else pytest.mark.slow)
        for space in ('nb201', 'darts', 's1', 's2', 's3', 's4')
        for method in methods_of(space)
    ],
)
def test_every_method_has_a_config_in_every_space(method, space):
    # on CIFAR-100 in one of the four spaces that differ in candidates alone
    if space in ('nb201', 'darts', f's{1 + METHODS.index(method) % 4}'):
        load_config(SEARCH / f'{method}_{space}_c100.py')
    cfg = load_config(SEARCH / f'{method}_{space}_c10.py')
    for one in configs_of_run(cfg):
        assert one.default_hooks.architect.regularizers.ber is not None
        assert_epochs_follow(one)
        assert_within(one)
    below = Config.fromfile(SEARCH / f'darts_{space}_c10.py')
    assert cfg.keys() <= {*below.keys(), 'phases'}
    assert bool(cfg.get('phases')) == (method in IN_PHASES)


@pytest.mark.parametrize('method', ['beta_darts', 'drnas', 'fairdarts'])
def test_the_darts_space_is_without_none_where_it_is_published_so(method):
    for space, given in (('darts', dict(type='darts', leave_out=['none'])), ('s3', 's3')):
        assert load_config(SEARCH / f'{method}_{space}_c10.py').model.backbone.space == given


# Tiny nets of two cell types, of lists of candidates that differ, and of layers
TINY = dict(
    darts={'model.backbone.channels': 4, 'model.backbone.num_cells': 3},
    s1={'model.backbone.channels': 4, 'model.backbone.num_cells': 3},
    mobilenet_like={
        'model.backbone.space': dict(
            type='mobilenet_like', widths=(8, 16, 16), depths=(1, 2, 1), strides=(2, 1, 2)
        ),
        'model.backbone.stem_channels': 8,
        'model.backbone.first_channels': 8,
        'model.backbone.last_channels': 8,
    },
)


@pytest.fixture(scope='module')
def ten_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_cifar(folder / 'cifar10', 'cifar10', 10, 10)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'space'),
    [(method, space) for space in TINY for method in methods_of(space) if method not in IN_PHASES],
)
def test_a_step_in_spaces_of_other_kinds(method, space, ten_images, monkeypatch, tmp_path):
    monkeypatch.setenv('RDARTS_DATA', str(ten_images))
    config = f'{method}_{space}_c10'
    whole = search_config(config)
    options = {
        **TINY[space],
        'model.backbone.execution': 'fused',
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 5,
        'default_hooks.architect.start_epoch': 0,
        'default_hooks.architect.every': 1,
        'default_hooks.report': None,
    }
    if whole.arch_dataloader is not None:
        options['arch_dataloader.batch_size'] = 2
    if method == 'is_darts':
        options['default_hooks.architect.architect.shrink_epochs'] = [1]
    if method == 'lambda_darts' and space != 'mobilenet_like':
        options['model.backbone.num_cells'] = 4  # two of a type, which it compares
    if 'adaptive_decay' in whole.default_hooks:
        options['default_hooks.adaptive_decay.iterations'] = 2
    cfg = configure_training(whole.filename, options, work_dir=tmp_path)
    cfg.experiment_name = f'{config}_{tmp_path}'
    prepare_work_dir(tmp_path, keep=False)
    runner = build_runner(cfg)
    alphas = find_alpha_owner(runner.model).arch_parameters
    before = {name: alpha.clone() for name, alpha in alphas.items()}
    runner.train()
    assert (tmp_path / 'genotype.json').is_file()
    if method != 'proxylessnas_rl':  # whose samples may all have one reward
        assert all(not torch.equal(alpha, before[name]) for name, alpha in alphas.items())


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_the_layerwise_space(method):
    path = SEARCH / f'{method}_mobilenet_like_c10.py'
    if method in OF_CELLS:
        with pytest.raises(
            UserError, match=f'^{method} does not fit mobilenet_like: it .* of a cell'
        ):
            load_config(path)
        return
    for data in ('c10', 'imagenet'):
        cfg = load_config(SEARCH / f'{method}_mobilenet_like_{data}.py')
        for one in configs_of_run(cfg):
            assert_epochs_follow(one)
            assert_within(one)


def test_what_a_method_logs_beside_alpha(tmp_path):
    run('gdas', tmp_path / 'gdas')
    epochs = [row for row in rows(tmp_path / 'gdas') if row['kind'] == 'epoch']
    assert [row['relaxation']['temperature'] for row in epochs] == [10.0, 0.1]
    assert '; temperature 0.1\n' in log_text(tmp_path / 'gdas')
    run('darts_minus', tmp_path / 'minus')
    epochs = [row for row in rows(tmp_path / 'minus') if row['kind'] == 'epoch']
    assert [row['mixed_op']['beta'] for row in epochs] == [1.0, 0.5]
    options = {'model.backbone.relaxation': dict(_delete_=True, type='rdarts.EdgeWeights')}
    runner = digits_runner(tmp_path / 'pc', {**OPTIONS, **options}, config='pc_darts_nb201_digits')
    runner.train()
    owner = find_alpha_owner(runner.model)
    row = [row for row in rows(tmp_path / 'pc') if row['kind'] == 'epoch'][-1]
    alpha = owner.arch_parameters['cell_edges'].detach().double()
    assert row['alpha']['cell_edges'] == alpha.tolist()
    factors = torch.tensor(row['edge_weights']['cell'])
    torch.testing.assert_close(factors[1:3], alpha[1:3, 0].softmax(0).float(), rtol=1e-5, atol=1e-6)


def test_the_page_on_methods_lists_all_and_what_refuses_a_space():
    page = Path(__file__).parents[1] / 'docs' / 'en' / 'methods.md'
    rows = [
        line.split('|')[1:-1]
        for line in page.read_text('utf-8').splitlines()
        if line.startswith('| `')
    ]
    rows = [row for row in rows if len(row) == 4]  # another table has two columns
    listed = {name: row[3] for row in rows for name in re.findall(r'`(\w+)`', row[0])}
    one_shot = {'single_path', 'fairnas', 'rlnas'}  # in a table of their own
    assert one_shot <= set(asking_methods()) & set(listed)
    listed = {name: row for name, row in listed.items() if name not in one_shot}
    assert set(listed) == {*METHODS, 'darts'}
    in_nb201 = methods_of('nb201')
    for name, refused in listed.items():
        spaces = {'MobileNet-like'} if f'`{name}`: MobileNet-like' in refused else set()
        spaces |= set(refused.strip().split(', '))
        assert ('MobileNet-like' in spaces) == (name in OF_CELLS), name
        assert ('NAS-Bench-201' in spaces) == (name not in in_nb201), name


def test_options_of_a_loader_that_a_single_level_does_not_have():
    with pytest.raises(UserError) as error:
        load_config(SEARCH / 'snas_nb201_c10.py', {'arch_dataloader.batch_size': 8})
    assert str(error.value) == (
        "--cfg-options: 'arch_dataloader.batch_size' changes nothing, as arch_dataloader is None "
        'in this config: leave it out'
    )
