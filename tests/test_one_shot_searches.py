"""Searches over a supernet that was trained along paths, as a user runs them."""

from __future__ import annotations

import uuid

import pytest
import torch
from helpers import configs_of_run, digits_config, search_config, write_cifar
from mmengine.runner import Runner
from same_runs import Killed, rows, same

from rdarts.apis.dry_run import dry_run
from rdarts.apis.runs import configure_training, train
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.sampling.evaluators import Angle, Supernet
from rdarts.search_spaces import build_space

OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'epochs': 2,
    'budget': 8,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.search_log.interval': 1,
}
FEW = {
    'strategy.population': 4,
    'strategy.parents': 2,
    'strategy.mutations': 2,
    'strategy.crossovers': 1,
}
SMALL = dict(
    single_path={**FEW, 'evaluator.recalibrate': 1, 'evaluator.batch_size': 8},
    rlnas=FEW,
    fairnas={'strategy.population': 4},
)


def search(method, folder, resume=False, **options):
    options = {**OPTIONS, **SMALL[method], **options}
    cfg = digits_config(folder, options, config=f'{method}_nb201_digits')
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg, resume)
    return configs_of_run(cfg)


@pytest.mark.parametrize(
    'method', ['single_path', 'rlnas', pytest.param('fairnas', marks=pytest.mark.slow)]
)
def test_a_search_goes_on_wherever_it_is_killed(method, tmp_path, monkeypatch):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    configs = search(method, whole)
    log = rows(whole)
    found = load_genotype(whole / 'genotype.json')
    queries = rows(whole, 'query')
    assert [row['query'] for row in queries] == list(range(1, 9))
    assert found.to_string() == queries[queries[-1]['best_query'] - 1]['genotype']
    assert all(set(row['costs']) == {'params', 'macs'} for row in queries)
    steps = len([row for row in log if row['kind'] == 'iter'])
    assert steps == (8 if method == 'rlnas' else 4)  # on all images
    assert not [row for row in log if row['kind'] == 'val']
    assert (whole / 'report.html').is_file()
    state = read_checkpoint(find_checkpoint(whole / 'phase_0'))
    assert not any('arch_parameters' in key for key in state['state_dict'])

    call_hook = Runner.call_hook
    left = [steps - 1]  # within the second epoch

    def until_killed(runner, name, **kwargs):
        if name == 'after_train_iter' and left:
            left[0] -= 1
            if not left[0]:
                raise Killed
        call_hook(runner, name, **kwargs)

    monkeypatch.setattr(Runner, 'call_hook', until_killed)
    with pytest.raises(Killed):
        search(method, killed)
    assert '"epochs":[1]' in (killed / 'report.html').read_text()
    left.clear()
    kind = Angle if method == 'rlnas' else Supernet
    answer, asked = kind.__call__, []

    def once_killed(evaluator, genotype):
        asked.append(genotype)
        if len(asked) == 6:
            raise Killed
        return answer(evaluator, genotype)

    monkeypatch.setattr(kind, '__call__', once_killed)
    with pytest.raises(Killed):
        search(method, killed, resume=True)
    search(method, killed, resume=True)
    assert rows(killed) == log
    assert (killed / 'genotype.json').read_bytes() == (whole / 'genotype.json').read_bytes()
    other = read_checkpoint(find_checkpoint(killed / 'phase_0'))
    assert same(dict(other['state_dict']), dict(state['state_dict']))
    if method == 'rlnas':
        first = [torch.load(folder / 'phase_0' / 'initial.pth', weights_only=True)
                 for folder in (whole, killed)]  # fmt: skip
        assert same(*(dict(one['state_dict']) for one in first))
        assert configs[0].train_dataloader.dataset.labels == 'random'
        # its supernet stands for that of another search, which draws as this one did
        monkeypatch.setattr(kind, '__call__', answer)
        search(method, tmp_path / 'again', init=str(whole))
        again = rows(tmp_path / 'again', 'query')
        assert [row['value'] for row in again] == [row['value'] for row in queries]


def test_another_search_stands_for_the_first_phase(tmp_path):
    """Of the same network; its alpha is left out."""
    options = {key: value for key, value in OPTIONS.items() if key != 'budget'}
    first = digits_config(tmp_path / 'darts', options, config='darts_nb201_digits')
    first.experiment_name = uuid.uuid4().hex
    train(first)
    same_norms = {'model.backbone.track_running_stats': True}
    search('single_path', tmp_path / 'asks', init=str(tmp_path / 'darts'), **same_norms)
    log = rows(tmp_path / 'asks')
    assert {row['kind'] for row in log} == {'start', 'query', 'phase'}
    wide = {'model.backbone.channels': 16, 'model.head.in_channels': 64}
    with pytest.raises(UserError, match='init: the network of .* is another one than that of phas'):
        search('single_path', tmp_path / 'wide', init=str(tmp_path / 'darts'), **same_norms, **wide)
    with pytest.raises(UserError, match='the initial weights of the supernet are not there'):
        search('rlnas', tmp_path / 'angle', init=str(tmp_path / 'darts'), **same_norms)


def test_a_dry_run_times_queries_of_a_supernet_that_was_not_trained(tmp_path):
    """The angle asks for the weights that it began with, too."""
    options = {**OPTIONS, 'train_dataloader.batch_size': 32}
    cfg = digits_config(tmp_path / 'run', options, config='rlnas_nb201_digits')
    training, asking = dry_run(cfg)['phases']
    assert training['seconds_per_iteration'] > 0
    assert asking['expected_seconds'] == 8 * asking['seconds_per_query'] > 0
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
@pytest.mark.parametrize('space', ['darts', 's1', 'mobilenet_like'])
@pytest.mark.parametrize('method', SMALL)
def test_in_spaces_of_other_kinds(method, space, monkeypatch, tmp_path):
    write_cifar(tmp_path / 'data' / 'cifar10', 'cifar10', 20, 10)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))
    sizes = {'channels': 4, 'num_cells': 3}
    if space == 'mobilenet_like':
        layers = dict(type=space, widths=[8, 16], depths=[2, 2], strides=[1, 2])
        sizes = dict(space=layers, last_channels=16)
    options = {
        **{f'model.backbone.{key}': value for key, value in sizes.items()},
        **SMALL[method],
        'epochs': 1,
        'budget': 6,
        'train_dataloader.batch_size': 5,
        'image_size': 16,
    }
    if method != 'rlnas':
        options['evaluator.recalibrate'] = 1
        options['evaluator.batch_size'] = 4
    cfg = configure_training(
        configs_folder() / 'search' / f'{method}_{space}_c10.py', options, work_dir=tmp_path / 'run'
    )
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg)
    found = load_genotype(tmp_path / 'run' / 'genotype.json', build_space(cfg.model.backbone.space))
    values = [row['value'] for row in rows(tmp_path / 'run', 'query')]
    assert len(values) == 6 and all(0 <= value <= 100 for value in values)
    assert found.to_string()


# (name of a config, its train_cfg.max_epochs, batch, rate, weight decay, budget, MACs at most)
PUBLISHED = [
    ('single_path_mobilenet_like_imagenet', 120, 1024, 0.5, 4e-5, 1000, 330e6),
    ('fairnas_mobilenet_like_imagenet', 150, 256, 0.045, 4e-5, 6000, None),
    ('rlnas_mobilenet_like_imagenet', 120, 512, 0.25, 4e-5, 1000, 475e6),
    ('rlnas_darts_imagenet', 50, 512, 0.25, 4e-5, 1000, 600e6),
    ('single_path_nb201_c10', 250, 256, 0.05, 2.5e-4, 1000, None),
    ('fairnas_nb201_c10', 250, 256, 0.05, 2.5e-4, 1000, None),
    ('rlnas_nb201_c10', 250, 64, 0.025, 5e-4, 2000, None),
    ('single_path_mobilenet_like_c10', 50, 64, 0.025, 3e-4, 200, 110e6),  # ours, a small one
    ('fairnas_mobilenet_like_c10', 50, 64, 0.025, 3e-4, 200, None),
    ('rlnas_mobilenet_like_c10', 50, 64, 0.025, 3e-4, 200, 110e6),
]


@pytest.mark.parametrize(('name', 'epochs', 'batch', 'rate', 'decay', 'budget', 'macs'), PUBLISHED)
def test_numbers(name, epochs, batch, rate, decay, budget, macs):
    cfg = search_config(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (epochs, batch)
    assert (optimizer.lr, optimizer.weight_decay) == (rate, decay)
    assert cfg.budget == budget and (cfg.get('limits') or {}).get('macs') == macs
