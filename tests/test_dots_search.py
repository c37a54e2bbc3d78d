"""A search by DOTS, all four phases: what it keeps, what it logs, and that it goes on anywhere."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers import log_text, write_cifar
from same_runs import Killed, assert_same_run, rows

from rdarts.apis.runs import configure_training, train
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.engine.loops import SearchTrainLoop
from rdarts.results.search_run import SearchRun
from rdarts.search_spaces import build_space

OPTIONS = {
    'model.backbone.channels': 4,
    'model.backbone.num_cells': 3,
    'model.backbone.execution': 'fused',
    'epochs': 7,  # 2, 1, 2 and 2
    'train_dataloader.batch_size': 2,  # two iterations an epoch, five of all images
    'arch_dataloader.batch_size': 2,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
    'default_hooks.architect.lambda_': 0.5,
}
LENGTHS = (2, 1, 2, 2)


def search(folder: Path, name: str, resume: bool = False) -> None:
    path = configs_folder() / 'search' / 'dots_darts_c10.py'
    cfg = configure_training(path, OPTIONS, work_dir=folder, seed=0)
    cfg.experiment_name = name  # by which mmengine keeps what a run has logged
    train(cfg, resume=resume)


@pytest.fixture
def ten_images(monkeypatch, tmp_path):
    write_cifar(tmp_path / 'data' / 'cifar10', 'cifar10', 10, 10)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))


def end_of(folder: Path, phase: int) -> dict:
    return read_checkpoint(find_checkpoint(folder / f'phase_{phase}'))


def alphas_of(state: dict) -> dict[str, torch.Tensor]:
    start = 'backbone.arch_parameters.'
    found = state['state_dict'].items()
    return {key.removeprefix(start): value for key, value in found if key.startswith(start)}


@pytest.mark.slow
def test_a_search_and_the_same_killed_three_times(ten_images, monkeypatch, tmp_path):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    search(whole, 'whole')
    check_log(whole)
    check_what_goes_on(whole)

    run_iter, seen = SearchTrainLoop.run_iter, []
    # in the second iteration of the search for operations, after the transition before any
    # iteration, and within an epoch of the search for pairs
    ends = [6, 7, 14]

    def until_killed(loop, *args, **kwargs):
        seen.append(None)
        if ends and len(seen) == ends[0]:
            raise Killed
        return run_iter(loop, *args, **kwargs)

    monkeypatch.setattr(SearchTrainLoop, 'run_iter', until_killed)
    for start in range(3):
        with pytest.raises(Killed):
            search(killed, f'killed_{start}', resume=start > 0)
        del seen[-1], ends[0]
    search(killed, 'killed_3', resume=True)
    assert len(seen) == 4 + 2 + 4 + 10
    last = find_checkpoint(whole / 'phase_3').relative_to(whole)
    assert_same_run(killed, whole, str(last))


def check_log(folder: Path) -> None:
    log = rows(folder)
    epochs = [row for row in log if row['kind'] == 'epoch']
    places = [phase for phase, length in enumerate(LENGTHS) for _ in range(length)]
    assert [row['phase'] for row in epochs] == places
    assert [row['epoch'] for row in epochs] == [*range(1, 8)]
    # one cosine of the rate over all
    rates = {row['epoch'] - 1: row['lr'] for row in log if row['kind'] == 'iter'}
    for epoch, rate in rates.items():
        cosine = (1 + math.cos(math.pi * epoch / 7)) / 2
        assert rate == pytest.approx(1e-3 + (0.025 - 1e-3) * cosine, rel=1e-9)
    # alpha moves where operations, and where pairs are searched, BER with it
    moves = {row['phase'] for row in log if row['kind'] == 'iter' and 'arch_loss' in row}
    assert moves == {1, 3}
    assert {
        row['phase'] for row in log if row['kind'] == 'iter' and row.get('regularizers')
    } == moves
    space = build_space('darts')
    for row in epochs:
        pairs = row['phase'] > 1
        for cell in space.cells:
            weights = torch.tensor(row['weights'][cell])
            assert weights.shape == (14, 8)
            total = torch.full((14,), 1.0 if pairs else 2.0)
            torch.testing.assert_close(weights.sum(-1), total)
            if pairs:
                alive = torch.tensor(row['alive'][cell])
                assert (alive.sum(-1) == 2).all() and not weights[~alive].any()
                factors = torch.tensor(row['edge_weights'][cell]).split([2, 3, 4, 5])
                sums = torch.stack([part.sum() for part in factors])
                torch.testing.assert_close(sums, torch.full((4,), 2.0))
        assert pairs == ('edge_weights' in row) == ('alive' in row)
    assert [row['relaxation']['temperature'] for row in epochs[3:]] == [1, 1, 10, 0.02]
    run = SearchRun(folder, 'dots')  # which checks the rows
    assert len(run.epochs) == 7
    assert (folder / 'report.html').is_file()
    assert 'alpha moves in no iteration' not in log_text(folder / 'phase_0')


def check_what_goes_on(folder: Path) -> None:
    states = [end_of(folder, phase) for phase in range(4)]
    first, second, third, last = map(alphas_of, states)
    assert not any(alpha.any() for alpha in (*first.values(), *third.values()))
    assert all(alpha.any() for alpha in (*second.values(), *last.values()))
    assert last.keys() - second.keys() == {'normal_pairs', 'reduce_pairs'}
    # an edge keeps the strongest candidate of each kind
    for cell in ('normal', 'reduce'):
        kept = [*second[cell][:, :4].argmax(-1), *(4 + second[cell][:, 4:].argmax(-1))]
        alive = states[3]['state_dict'][f'backbone.alive.{cell}'].view(14, 8)
        assert alive[[*range(14)] * 2, kept].all() and alive.sum() == 28
        assert not last[cell][~alive].any()
    assert [state['arch']['steps'] for state in states] == [0, 2, 0, 10]
    betas = [state['arch']['optimizer']['param_groups'][0]['betas'] for state in states]
    assert [tuple(pair) for pair in betas] == [(0.5, 0.999)] * 2 + [(0.9, 0.999)] * 2
