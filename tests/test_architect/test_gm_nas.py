"""Few-shot NAS by gradient matching as its config runs it: splits, branches, kills and ranks."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import torch
from helpers import IN_PHASES, write_cifar
from ranks import on_ranks
from same_runs import Killed, assert_same_run, rows
from test_architect.split_worker import split_worker
from test_methods_in_phases import last_checkpoint, search

from rdarts.apis.runs import configure_training, train
from rdarts.architect.transitions import SplitByGradientMatching
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.errors import UserError
from rdarts.registry import TRANSITIONS, build

SEARCH = configs_folder() / 'search'


@pytest.mark.parametrize(
    ('name', 'epochs', 'rests', 'schedule'),
    [
        ('nb201_c10', [50, 25, 25], [25, 0, 0], 100),
        ('mobilenet_like_c10', [26, 12, 12], [13, 0, 0], 50),
        ('mobilenet_like_imagenet', [80, 40, 40], [41, 0, 0], 160),
    ],
)
def test_the_epochs_are_in_proportion_to_the_published_ones(name, epochs, rests, schedule):
    phases = phases_of(load_config(SEARCH / f'gm_nas_{name}.py'))
    assert [phase.epochs for phase in phases] == epochs
    assert [phase.branches for phase in phases] == [1, 2, 3]
    assert [phase.cfg.default_hooks.architect.start_epoch for phase in phases] == rests
    assert {phase.cfg.param_scheduler.T_max for phase in phases} == {schedule}
    for phase in phases[1:]:
        assert phase.goes_on == {'weights', 'alpha', 'optimizer', 'schedule', 'epoch'}
        (transition,) = (build(one, TRANSITIONS) for one in phase.start)
        assert isinstance(transition, SplitByGradientMatching)
        own = (transition.batches, transition.division, transition.edge_by)
        assert own == (100, 'optimum', 'between')


def test_it_does_not_split_other_spaces():
    for space in ('darts', 's2'):
        with pytest.raises(UserError, match=f'^gm_nas does not fit {space}: it splits Proxyless'):
            load_config(SEARCH / f'gm_nas_{space}_c10.py')
    assert 'gm_nas' in IN_PHASES


def masks(folder: Path) -> torch.Tensor:
    """What is alive at the end of a run, [edges, candidates]."""
    (path,) = folder.glob('epoch_1_*.pth')
    return read_checkpoint(path)['state_dict']['backbone.alive.cell'].view(6, 5)


@pytest.mark.slow
def test_killed_within_a_split_and_between_branches(tmp_path, monkeypatch):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    search('gm_nas', whole)
    found = [[masks(whole / f'phase_{k}' / f'branch_{j}') for j in range(k + 1)] for k in (1, 2)]
    chosen = [row.get('branch') for row in rows(whole) if row['kind'] == 'phase'][1:]
    before = torch.ones(6, 5, dtype=torch.bool)
    places = []
    for branches, best in zip(found, chosen, strict=True):
        (place,) = {int(place) for one in branches for place in (one != before).any(1).nonzero()}
        assert torch.equal(torch.stack(branches)[:, place].sum(0), torch.ones(5).long())
        places.append(place)
        before = branches[best]
    assert places[0] != places[1]  # which has all its candidates
    apart, calls = SplitByGradientMatching._apart, []

    def until_killed(*args):
        calls.append(args)
        # of two batches, of six edges and of five
        if len(calls) in (8, 8 + 12 + 4):
            raise Killed
        return apart(*args)

    # before a further branch, whose split is known
    begins, left = SplitByGradientMatching.__call__, [True]

    def until_a_branch(self, new, last):
        if left and (new.branch, new.branches) == (1, 3) and new.train_dataloader is not None:
            left.clear()
            raise Killed
        begins(self, new, last)

    monkeypatch.setattr(SplitByGradientMatching, '_apart', until_killed)
    monkeypatch.setattr(SplitByGradientMatching, '__call__', until_a_branch)
    for resume in (False, True, True):
        with pytest.raises(Killed):
            search('gm_nas', killed, resume)
    search('gm_nas', killed, resume=True)
    assert len(calls) == 8 + 12 + 4 + 10
    assert_same_run(killed, whole, last_checkpoint(whole))


@pytest.mark.slow
def test_layers_are_split(tmp_path, monkeypatch):
    write_cifar(tmp_path / 'data' / 'cifar10', 'cifar10', 20, 10)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))
    options = {
        'model.backbone.space': dict(
            type='mobilenet_like', widths=(8, 16, 16), depths=(1, 2, 1), strides=(2, 1, 2)
        ),
        'model.backbone.stem_channels': 8,
        'model.backbone.first_channels': 8,
        'model.backbone.last_channels': 8,
        'model.backbone.execution': 'fused',
        'epochs': 4,
        'train_dataloader.batch_size': 5,
        'arch_dataloader.batch_size': 5,
        'default_hooks.architect.every': 1,
        'default_hooks.report': None,
    }
    path = SEARCH / 'gm_nas_mobilenet_like_c10.py'
    cfg = configure_training(path, options, work_dir=tmp_path / 'run')
    for phase in cfg.phases[1:]:
        phase.start.batches = 1
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg)
    ends = [row for row in rows(tmp_path / 'run') if row['kind'] == 'phase']
    assert [row.get('branch') is None for row in ends] == [True, False, False]
    state = read_checkpoint(tmp_path / 'run' / last_checkpoint(tmp_path / 'run'))['state_dict']
    alive = state['backbone.alive.layerwise']
    # layers of six, seven, seven and six candidates, of which one keeps a half, one a third
    assert 26 - 5 - 5 <= alive.sum() <= 26 - 2 - 4


@pytest.mark.slow
def test_ranks_split_alike():
    found = on_ranks(split_worker)
    assert found[0]['images'] != found[1]['images']
    for key in ('distances', 'alive'):
        assert found[0][key] == found[1][key]
    assert sum(map(sum, found[0]['alive'])) in (30 - 2, 30 - 3)
