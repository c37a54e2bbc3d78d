"""Every method that searches in phases as a user runs it: it starts, is killed, and goes on."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from epoch_numbers import scheduled
from helpers import IN_PHASES, configs_of_run, digits_config, methods_of, write_cifar
from mmengine.runner import Runner
from same_runs import Killed, assert_same_run, rows

from rdarts.apis.runs import configure_training, train
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.schedule import Schedule
from rdarts.genotypes import load_genotype, skips_by_cell

SEARCH = configs_folder() / 'search'
OPTIONS = {
    'model.backbone.channels': 8,
    'model.head.in_channels': 32,
    'epochs': 4,
    'optim_wrapper.type': 'rdarts.BFloat16OptimWrapper',  # as --amp bf16
    'default_hooks.architect.lambda_': 0.5,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.search_log.interval': 1,
}
CHANNELS = {'drnas_progressive': 12}  # where candidates see a share of them


def search(method: str, folder: Path, resume: bool = False) -> list:
    """A search on the digits; returns the configs of its phases."""
    cfg = digits_config(folder, OPTIONS, config=f'{method}_nb201_digits')
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg, resume)
    return configs_of_run(cfg)


@pytest.mark.slow
@pytest.mark.parametrize('method', [one for one in methods_of('nb201') if one in IN_PHASES])
def test_a_search_goes_on_wherever_it_is_killed(method, tmp_path, monkeypatch):
    """With BER and in bfloat16."""
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    configs = search(method, whole)
    log = rows(whole)
    check_numbers(configs, log)
    ends = [row['iter'] for row in log if row['kind'] == 'phase']
    assert len(ends) == len(configs)
    call_hook, left = Runner.call_hook, [ends[0], ends[-2] - ends[0] + 2]

    def until_killed(runner, name, **kwargs):
        if name == 'after_train_iter' and left:
            left[0] -= 1
            if not left[0]:  # before what hooks do then: this iteration is done once more
                raise Killed
        call_hook(runner, name, **kwargs)

    monkeypatch.setattr(Runner, 'call_hook', until_killed)
    # in the last iteration of the first phase, and in the first one of the last phase
    for resume in (False, True):
        with pytest.raises(Killed):
            search(method, killed, resume)
        del left[0]
    search(method, killed, resume=True)
    assert_same_run(killed, whole, last_checkpoint(whole))


def last_checkpoint(folder: Path) -> str:
    """Of the run that gave the genotype."""
    end = [row for row in rows(folder) if row['kind'] == 'phase'][-1]
    run = folder / f'phase_{end["phase"]}'
    run = run / f'branch_{end["branch"]}' if 'branch' in end else run
    return str(find_checkpoint(run).relative_to(folder))


def check_numbers(configs: list, log: list) -> None:
    """Every number of the configs that may change is in the rows of the epochs, and BER."""
    for phase, cfg in enumerate(configs):
        epoch = next(row for row in log if row['kind'] == 'epoch' and row['phase'] == phase)
        own = [epoch.get(key) for key in ('relaxation', 'mixed_op', 'architect')]
        numbers = (*own, *epoch['regularizers'].values())
        logged = {item for found in numbers if found for item in found.items()}
        for name, spec in scheduled(cfg.to_dict()):
            assert (name, Schedule(spec, name).at(0)) in logged, (phase, name)
    row = next(row for row in log if row['kind'] == 'iter' and row.get('regularizers'))
    assert row['regularizers']['ber']['lambda_'] == 0.5
    assert row['regularizers']['ber']['value'] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'space'),
    [
        (method, space)
        for space in ('darts', 's1')
        for method in methods_of(space)
        if method in IN_PHASES
    ],
)
def test_a_step_of_each_phase_in_spaces_of_other_kinds(method, space, monkeypatch, tmp_path):
    write_cifar(tmp_path / 'data' / 'cifar10', 'cifar10', 10, 10)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))
    options = {
        'model.backbone.channels': CHANNELS.get(method, 4),
        'model.backbone.num_cells': 3,
        'model.backbone.execution': 'fused',
        'epochs': 3,
        'train_dataloader.batch_size': 5,
        'arch_dataloader.batch_size': 2,
        'default_hooks.architect.start_epoch': 0,
        'default_hooks.report': None,
    }
    config = SEARCH / f'{method}_{space}_c10.py'
    cfg = configure_training(config, options, work_dir=tmp_path / 'run')
    for phase in cfg.phases:
        backbone = phase.get('model', {}).get('backbone', {})
        if 'num_cells' in backbone:
            backbone.num_cells = 3
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg)
    found = load_genotype(tmp_path / 'run' / 'genotype.json', space)
    if method.startswith('pdarts'):
        limits = [
            load_genotype(tmp_path / 'run' / 'genotypes' / f'skips_{limit}.json', space)
            for limit in range(9)
        ]
        assert limits[2] == found
        skips = [skips_by_cell(one)['normal'] for one in limits]
        assert skips == sorted(skips) and all(n <= limit for limit, n in enumerate(skips))
        moved = [row for row in rows(tmp_path / 'run') if row['kind'] == 'epoch']
        alive = [sum(map(sum, row['alive']['normal'])) for row in moved if 'alive' in row]
        assert alive == ([] if space == 's1' else [14 * 5, 14 * 3])
