"""Searches in phases: what goes on and what begins anew, kills, resumes, and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import TOOLS, digits_config
from mmengine.optim import CosineAnnealingLR, LinearLR
from same_runs import assert_same_state, rows
from torch import nn

from rdarts.apis.runs import train
from rdarts.architect.architect import Architect
from rdarts.architect.transitions import Transition
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.as_data import as_data
from rdarts.configuration.check import check_config
from rdarts.configuration.load import load_config, phases_of
from rdarts.configuration.phases import share_out
from rdarts.engine import phase_checks
from rdarts.engine import phases as engine
from rdarts.engine.going_on import keep_masks, replay, take_over
from rdarts.engine.phase_record import PhaseRecord
from rdarts.engine.phase_runs import PhaseRuns
from rdarts.engine.progress import RunPlan, TimeToGo
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.models import DARTSSupernet
from rdarts.registry import TRANSITIONS
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import to_data

SMALL = {
    'model.backbone.channels': 8,
    'model.backbone.cells_per_stage': 1,
    'model.head.in_channels': 32,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
}
COSINE = dict(T_max=4, end=4)
TWO = [
    dict(epochs=2, param_scheduler=COSINE),
    dict(
        epochs=2,
        param_scheduler=COSINE,
        start=dict(type='rdarts.KeepTopOps', keep=3),
        continue_from_last=['weights', 'alpha', 'optimizer', 'schedule'],
    ),
]


def config(work_dir: Path, phases=TWO, options=None, **keys):
    """A small search in phases: two iterations an epoch."""
    cfg = digits_config(work_dir, {**SMALL, **(options or {})}, config='rdarts_nb201_digits')
    cfg.phases = copy.deepcopy(phases)
    for key, value in keys.items():
        cfg[key] = value
    cfg.experiment_name = uuid.uuid4().hex
    return cfg


def search(work_dir: Path, phases=TWO, resume=False, from_phase=None, options=None, **keys):
    cfg = config(work_dir, phases, options, **keys)
    train(cfg, resume, from_phase)
    return cfg


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('phases') / 'whole'
    search(folder)
    return folder


def state(path: Path, name: str) -> dict:
    return read_checkpoint(next(path.glob(name)))


def assert_same_search(folder: Path, reference: Path) -> None:
    assert rows(folder) == rows(reference)
    found, wanted = map(PhaseRecord.read, (folder, reference))
    sizes = dict(bytes=0)  # of the log, which has times
    assert [replace(run, **sizes) for run in found.runs] == [
        replace(run, **sizes) for run in wanted.runs
    ]
    assert [(one.phase, one.branch) for one in found.ended] == [
        (one.phase, one.branch) for one in wanted.ended
    ]
    names = sorted(path.name for path in (reference / 'genotypes').iterdir())
    assert names == sorted(path.name for path in (folder / 'genotypes').iterdir())
    for name in ('genotype.json', *(f'genotypes/{name}' for name in names)):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    for phase in sorted(reference.glob('phase_*')):
        last = Path((phase / 'last_checkpoint').read_text()).name
        assert_same_state(folder / phase.name / last, phase / last)


# What goes on


def test_one_log_one_genotype_and_folders_for_the_phases(whole):
    log = rows(whole)
    kinds = [(row['kind'], row['phase'], row['epoch'], row['iter']) for row in log]
    assert [one for one in kinds if one[0] == 'epoch'] == [
        ('epoch', 0, 1, 2), ('epoch', 0, 2, 4), ('epoch', 1, 3, 6), ('epoch', 1, 4, 8)
    ]  # fmt: skip
    ends = [row for row in log if row['kind'] == 'phase']
    assert [(row['phase'], row['epoch'], row['epochs']) for row in ends] == [(0, 2, 2), (1, 4, 2)]
    assert [one[1:] for one in kinds if one[0] == 'start'] == [(0, 0, 0), (1, 2, 4)]
    found = load_genotype(whole / 'genotype.json')
    assert found == load_genotype(whole / 'genotypes' / 'epoch_4.json')
    assert found == load_genotype(whole / 'phase_1' / 'genotype.json')
    assert 'phases' in json.loads((whole / 'config.json').read_text())
    assert (whole / 'report.html').is_file()


def test_weights_alpha_and_optimizers_go_on(whole):
    last, first = state(whole / 'phase_0', 'epoch_2_*'), state(whole / 'phase_1', 'iter_1.pth')
    masks = first['state_dict']['backbone.alive.cell'].view(6, 5)
    assert (masks.sum(1) == 3).all()
    alpha = last['state_dict']['backbone.arch_parameters.cell']
    kept = torch.zeros_like(masks).scatter(1, alpha.topk(3, 1).indices, True)
    assert torch.equal(masks, kept)
    moved = first['state_dict']['backbone.arch_parameters.cell'] - alpha
    assert 0 < moved.abs().max() < 1e-2  # one step of Adam
    assert first['arch']['optimizer']['state'][0]['step'] == last['arch']['optimizer']['state'][0][
        'step'] + 1  # fmt: skip
    for key in ('head.fc.weight', 'backbone.stem.0.weight'):
        if key in last['state_dict']:
            change = first['state_dict'][key] - last['state_dict'][key]
            assert change.abs().max() < 0.1 * last['state_dict'][key].abs().max()
    momenta = [one['optimizer']['state'] for one in (last, first)]
    assert momenta[0].keys() == momenta[1].keys()


def test_the_schedule_goes_on(whole):
    rates = [row['lr'] for row in rows(whole) if row['kind'] == 'iter']
    one = CosineAnnealingLR(torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.025), T_max=4,
                            eta_min=1e-3)  # fmt: skip
    wanted = []
    for _ in range(4):
        wanted += [one.optimizer.param_groups[0]['lr']] * 2
        one.optimizer.step()
        one.step()
    assert rates == pytest.approx(wanted, rel=1e-12)


def test_what_does_not_go_on_begins_anew(tmp_path):
    phases = [dict(epochs=1), dict(epochs=1, model=dict(backbone=dict(cells_per_stage=2)))]
    search(tmp_path / 'run', phases)
    first, second = (state(tmp_path / 'run' / f'phase_{k}', 'iter_1.pth') for k in (0, 1))
    assert second['arch']['optimizer']['state'][0]['step'] == 1
    assert first['meta']['seed'] == 0 and second['meta']['seed'] > 0
    assert len(second['state_dict']) > len(first['state_dict'])
    assert [row['lr'] for row in rows(tmp_path / 'run') if row['kind'] == 'iter'] == [0.025] * 4
    assert not any('alive' in key for key in second['state_dict'])


def test_the_epochs_go_on(tmp_path, monkeypatch):
    told = []
    before = Architect.set_progress
    monkeypatch.setattr(
        Architect,
        'set_progress',
        lambda self, epoch, last: (told.append((epoch, last)), before(self, epoch, last)),
    )
    phases = [dict(epochs=2), dict(epochs=1, continue_from_last=['epoch']), dict(epochs=1)]
    search(tmp_path / 'run', phases)
    assert [one[0] for one in told] == [0, 1, 2, 0]
    assert [one[1] for one in told[:3]] == [3, 3, 3]


@pytest.mark.parametrize('first', [0, 1])
def test_branches_run_side_by_side_and_the_best_goes_on(first, tmp_path):
    phases = [*[dict(epochs=1)] * first, dict(epochs=1, branches=2), dict(epochs=1)]
    search(tmp_path / 'run', phases)
    log = rows(tmp_path / 'run')
    scores = {row['branch']: row['accuracy/top1'] for row in log if row['kind'] == 'val'
              and row['phase'] == first}  # fmt: skip
    ends = [row for row in log if row['kind'] == 'phase']
    best = max((0, 1), key=lambda branch: scores[branch])
    assert [row.get('branch') for row in ends] == [*[None] * first, best, None]
    epochs = [row['epoch'] for row in log if row['kind'] == 'epoch']
    assert epochs == list(range(1, first + 4))
    seeds = [
        state(tmp_path / 'run' / f'phase_{first}' / f'branch_{b}', 'iter_1.pth')['meta']['seed']
        for b in (0, 1)
    ]
    assert seeds[0] != seeds[1]


def test_schedules_stand_where_steps_would_have_led():
    def made():
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.5)
        return [
            LinearLR(optimizer, start_factor=0.1, end=6, by_epoch=False),
            CosineAnnealingLR(optimizer, T_max=5, by_epoch=True),
        ]

    stepped, replayed = made(), made()
    for _ in range(3):
        for _ in range(4):
            stepped[0].optimizer.step()
            stepped[0].step()
        stepped[1].step()
    replay(replayed, 3, 12)
    rates = [one[0].optimizer.param_groups[0]['lr'] for one in (stepped, replayed)]
    assert rates[0] == rates[1]
    for left, right in zip(stepped, replayed, strict=True):
        assert left.state_dict() == right.state_dict()


def test_an_optimizer_takes_over_a_state_of_the_same_shapes_and_keeps_its_rates():
    old, new = (
        torch.optim.Adam([nn.Parameter(torch.ones(n)), nn.Parameter(torch.ones(2))], lr=lr)
        for n, lr in ((3, 0.1), (4, 0.2))
    )
    for group in old.param_groups:
        for parameter in group['params']:
            parameter.grad = torch.ones_like(parameter)
    old.step()
    take_over(new, old.state_dict())
    kept = new.state_dict()
    assert list(kept['state']) == [1] and kept['state'][1]['step'] == 1
    assert kept['param_groups'][0]['lr'] == 0.2


# Lengths


@pytest.mark.parametrize(
    ('epochs', 'lengths', 'wanted'),
    [
        (75, (25, 25, 25), [25, 25, 25]),
        (10, (10, 20), [3, 7]),
        (3, (100, 25), [2, 1]),
        (1, (50, 50), [1, 1]),
        (7, (5, 0, 5), [4, 0, 3]),
    ],
)
def test_epochs_are_shared_out_in_proportion(epochs, lengths, wanted):
    found = share_out(epochs, lengths)
    assert found == wanted
    assert sum(found) == max(epochs, sum(map(bool, lengths)))


def test_epochs_of_the_whole_and_of_a_phase(tmp_path):
    cfg = config(tmp_path, TWO)
    assert [phase.epochs for phase in phases_of(cfg)] == [2, 2]
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(cfg)] == [4, 4]
    cfg.epochs = 4
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(cfg)] == [4, 4]
    cfg.epochs = 10
    assert [phase.epochs for phase in phases_of(cfg)] == [5, 5]
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(cfg)] == [10, 10]
    goes_on = dict(continue_from_last=['schedule'])
    over = config(tmp_path, [dict(epochs=2), dict(goes_on, epochs=4)])  # base: 1 of 100 epochs
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(over)] == [600, 600]
    over.epochs = 3
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(over)] == [300, 300]
    plain = config(tmp_path, [dict(), goes_on])
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(plain)] == [100, 100]
    plain.epochs = 4
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(plain)] == [200, 200]
    alone = config(tmp_path, [dict(epochs=2), dict(epochs=4)])
    assert [phase.cfg.param_scheduler.T_max for phase in phases_of(alone)] == [200, 400]
    written = config(tmp_path, [dict(epochs=2, param_scheduler=dict(T_max=7)), dict(epochs=4)])
    assert phases_of(written)[0].cfg.param_scheduler.T_max == 7


# Killed and resumed


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize('phase', [0, 1])
@pytest.mark.parametrize('name', ['iter_1.pth', 'epoch_1_iter_2.pth', 'iter_3.pth', None])
def test_resumed_within_a_phase_it_ends_the_same(phase, name, whole, tmp_path):
    """As a kill leaves it: what came later is not there, or only without a checkpoint."""
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    record = PhaseRecord.read(folder)
    record.forget_from(phase)
    record.write(folder)
    (folder / 'genotype.json').unlink()
    if phase == 0:
        shutil.rmtree(folder / 'phase_1')
    done = 0 if name is None else int(name.split('_')[-1].split('.')[0])
    for path in (folder / f'phase_{phase}').glob('*.pth'):
        if int(path.stem.split('_')[-1]) > done or (
            (name or '').startswith('iter')
            and (path.name.startswith('epoch') and int(path.stem.split('_')[-1]) == done)
        ):
            path.unlink()
    search(folder, resume=True)
    assert_same_search(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize('phase', [0, 1])
@pytest.mark.parametrize('where', ['before the record', 'before the row', 'in the row', 'finish'])
def test_killed_between_phases_it_ends_the_same(phase, where, whole, tmp_path, monkeypatch):
    folder = tmp_path / 'run'
    written = PhaseRecord.write
    name = 'runs' if where == 'before the record' else 'ended'

    def write(self, folder):
        if len(getattr(self, name)) == phase + 1 and where.startswith(('before the rec', 'in')):
            raise Killed
        written(self, folder)

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PhaseRecord, 'write', write)
        if where == 'before the row':
            calls = iter(range(10))
            add = engine.add_row
            patch.setattr(
                engine,
                'add_row',
                lambda *a, **k: killed() if next(calls) == phase else add(*a, **k),
            )
        if where == 'finish':
            patch.setattr(engine, 'write_retraining', killed)
        with pytest.raises(Killed):
            search(folder)
    search(folder, resume=True)
    assert_same_search(folder, whole)


@TRANSITIONS.register_module(force=True)
class _FailsOnce(Transition):
    """Prunes at random, by the seed that it is given, and is killed where a test says so."""

    kills = False

    def __call__(self, new, last) -> None:
        names = new.owner.space.cells['cell'].edges[0].candidates
        generator = torch.Generator().manual_seed(new.seed)
        place = int(torch.randint(len(names), (), generator=generator))
        new.owner.prune('cell', 0, [names[new.decided.setdefault('place', place)]])
        if last.state and _FailsOnce.kills:
            raise Killed


@pytest.mark.slow
def test_killed_within_a_transition_it_ends_the_same(tmp_path, monkeypatch):
    phases = [dict(epochs=1), dict(epochs=1, start='_FailsOnce')]
    search(tmp_path / 'whole', phases)
    monkeypatch.setattr(_FailsOnce, 'kills', True)
    with pytest.raises(Killed):
        search(tmp_path / 'run', phases)
    monkeypatch.setattr(_FailsOnce, 'kills', False)
    search(tmp_path / 'run', phases, resume=True)
    assert_same_search(tmp_path / 'run', tmp_path / 'whole')
    masks = state(tmp_path / 'run' / 'phase_1', 'epoch_1_*')['state_dict']['backbone.alive.cell']
    assert masks.sum() == 29
    # what was decided is taken from the file, and that is read as data
    place = masks[:5].tolist().index(False)
    path = tmp_path / 'run' / 'phase_1' / 'decided.json'
    assert json.loads(path.read_text()) == {'0': {'place': place}}
    again = tmp_path / 'again'
    shutil.copytree(tmp_path / 'run', again)
    shutil.rmtree(again / 'phase_1')
    (again / 'phase_1').mkdir()
    record = PhaseRecord.read(again)
    record.forget_from(1)
    record.write(again)
    (again / 'phase_1' / 'decided.json').write_text('{"0": 3}')
    with pytest.raises(UserError, match='decided.json: not what transitions have decided: delete'):
        search(again, phases, resume=True)
    (again / 'phase_1' / 'decided.json').write_text(json.dumps({'0': {'place': (place + 1) % 5}}))
    search(again, phases, resume=True)
    masks = state(again / 'phase_1', 'epoch_1_*')['state_dict']['backbone.alive.cell']
    assert masks[:5].tolist().index(False) == (place + 1) % 5


@pytest.mark.slow
def test_a_phase_begins_anew_and_what_is_before_it_stays(whole, tmp_path, capsys):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    search(folder, from_phase=1)
    assert 'phases from 1 on moved to' in capsys.readouterr().out
    assert (folder / 'previous_1' / 'phase_1' / 'last_checkpoint').is_file()
    assert not (folder / 'previous_1' / 'phase_0').exists()
    assert rows(folder / 'previous_1') == rows(whole)
    names = sorted(path.name for path in (folder / 'previous_1' / 'genotypes').iterdir())
    assert names == ['epoch_3.json', 'epoch_4.json']
    assert_same_search(folder, whole)


def test_a_search_that_has_ended_is_resumed_without_a_step(whole, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')}
    search(folder, resume=True)
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')}
    assert_same_search(folder, whole)


def test_a_search_that_has_ended_stands_for_the_first_phase(whole, tmp_path):
    search(tmp_path / 'run', init=str(whole))
    folder = tmp_path / 'run'
    assert not (folder / 'phase_0').exists()
    log = rows(folder)
    assert [(row['phase'], row['epoch']) for row in log if row['kind'] == 'epoch'] == [
        (1, 1), (1, 2)
    ]  # fmt: skip
    first, last = state(folder / 'phase_1', 'iter_1.pth'), state(whole / 'phase_1', 'epoch_2_*')
    keys = [key for key in first['state_dict'] if 'alive' in key]
    assert keys
    for key in keys:  # three of an edge were left, which stay
        assert torch.equal(first['state_dict'][key], last['state_dict'][key])
    # the schedule goes on as after a first phase
    rates = [[row['lr'] for row in log if row['kind'] == 'iter'] for log in (log, rows(whole))]
    assert rates[0] == rates[1][4:]


# What is refused


@pytest.mark.parametrize(
    ('phases', 'line'),
    [
        ([dict(start='rdarts.KeepTopOps')], 'phases.0.start: there is no phase before the first'),
        (
            [dict(continue_from_last=['alpha'])],
            'phases.0.continue_from_last: there is no phase before the first',
        ),
        ([{}, dict(epochs=0)], 'phases.1.epochs must be a whole number of at least 1'),
        ([{}, dict(phases=[])], 'phases.1.phases: that is of the whole search: set it at the top'),
        (
            [{}, dict(model=dict(backbone=dict(depth=3)))],
            "phases.1: model.backbone.depth: rdarts.NASBench201Supernet takes no 'depth'",
        ),
        (
            [{}, dict(continue_from_last=['weight'])],
            "phases.1.continue_from_last must be a list: one of 'weights', 'alpha'",
        ),
        ([{}, dict(strat=[])], "phases.1 has no key 'strat': did you mean 'start'?"),
        ([{}, dict(model='x')], 'phases.1: model must be '),
        ([{}, {3: 4}], 'phases.1 must be a dict whose keys are names, but is {3: 4}'),
        ([{}, dict(work_dir='x')], 'phases.1.work_dir: that is of the whole search'),
        ([{}, dict(randomness=dict(seed=3))], 'phases.1.randomness.seed: the seed of a phase'),
        (
            [{}, dict(epochs=3, train_cfg=dict(max_epochs=4))],
            'phases.1: epochs is 3, but the same entry writes train_cfg.max_epochs=4: leave one',
        ),
        ([], 'phases must be a list of dicts, one for each phase'),
        ({}, 'phases must be a list of dicts, one for each phase'),
        ([3], 'phases must be a list of dicts, one for each phase'),
    ],
)
def test_phases_that_say_what_cannot_be(phases, line, tmp_path):
    cfg = config(tmp_path, phases)
    with pytest.raises(UserError) as error:
        check_config(cfg.to_dict())
        phases_of(cfg)
    assert str(error.value).startswith(line)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('phases', 'line'),
    [
        (
            [{}, dict(start=dict(type='rdarts.KeepTopOps', keep=6))],
            'phases.1: KeepTopOps: keep=6, but 5 candidates of',
        ),
        (
            [{}, *[dict(start=dict(type='rdarts.KeepTopOps', keep=k)) for k in (2, 3)]],
            'phases.2: KeepTopOps: keep=3, but 2 candidates of',
        ),
        ([{}, dict(start='rdarts.Widen')], "phases.1: Widen needs continue_from_last=['weights']"),
        ([{}, dict(start='rdarts.KeepTopOps')], "phases.1.start: transition 'rdarts.KeepTopOps' "),
        (
            [{}, dict(continue_from_last=['optimizer'])],
            "phases.1: 'optimizer' goes on with what it moves: add 'weights', or 'alpha' for",
        ),
        (
            [{}, dict(model=dict(backbone=dict(space='s2', _delete_=True, type='rdarts.'
                                               'DARTSSupernet', channels=8, num_cells=3)))],
            "phases.1: it searches 's2' of 28 edges, the phase before 'nas_bench_201' of 6 edges",
        ),
        (
            [{}, dict(branches=2, val_dataloader=None, val_cfg=None, val_evaluator=None)],
            'phases.1: of 2 branches the one of the highest accuracy/top1 on validation images '
            'goes on: set val_dataloader',
        ),
        (
            [{}, dict(branches=2, train_cfg=dict(val_begin=2))],
            'phases.1: of 2 branches the one of the highest accuracy/top1 on validation images '
            'goes on, after its last epoch: set train_cfg.val_begin, 2, to at most 1',
        ),
        (
            [{}, dict(branches=2, val_evaluator=dict(topk=5))],
            'phases.1: of 2 branches the one of the highest accuracy/top1 on validation images '
            "goes on: set val_evaluator=dict(type='Accuracy', topk=(1,))",
        ),
        (
            [{}, dict(branches=2, default_hooks=dict(search_log=None))],
            'phases.1: of 2 branches the one of the highest accuracy/top1 on validation images '
            'goes on, which is read in the log: set default_hooks.search_log',
        ),
        ([{}, dict(runner_type='nope')], "phases.1: unknown runner_type 'nope': "),
        (
            [{}, dict(default_hooks=dict(genotype=dict(discretizer='rdarts.LimitedSkips')))],
            'phases.1: LimitedSkips: ',
        ),
        ([{}, dict(load_from='/none.pth')], 'phases.1: load_from: checkpoint not found: /none.pth'),
        (
            [{}, dict(default_hooks=dict(genotype=None))],
            'phases.1: default_hooks.genotype is None: the last phase says what the search has',
        ),
        (
            [{}, dict(continue_from_last=['weights', 'optimizer'], optim_wrapper=dict(
                optimizer=dict(_delete_=True, type='Adam', lr=1e-3)))],
            "phases.1: 'optimizer' goes on, but optim_wrapper.optimizer is Adam in this phase and "
            'SGD in that before',
        ),
    ],
)  # fmt: skip
def test_phases_that_do_not_fit_each_other_are_refused_before_any_training(phases, line, tmp_path):
    with pytest.raises(UserError) as error:
        search(tmp_path / 'run', phases)
    assert str(error.value).startswith(line), str(error.value)
    assert '\n' not in str(error.value)
    assert not list((tmp_path / 'run').rglob('*.pth'))


def test_an_architect_that_graphs_write_over_is_refused_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(phase_checks, 'check_device', lambda cfg: None)  # as where there is a GPU
    phases = [{}, dict(default_hooks=dict(architect=dict(order=2)))]
    with pytest.raises(UserError, match=r"^phases\.1: compile\.mode='max-autotune': Unrolled may"):
        search(tmp_path / 'run', phases, compile=dict(mode='max-autotune'))
    assert not list((tmp_path / 'run').rglob('*.pth'))


@pytest.mark.parametrize(
    ('change', 'line'),
    [
        (
            dict(phases=[dict(epochs=3), TWO[1]]),
            'phase 0 of {} was made by another config (train_cfg.max_epochs 2 -> 3)',
        ),
        (
            dict(phases=[TWO[0], dict(TWO[1], start=dict(type='rdarts.KeepTopOps', keep=2))]),
            'phase 1 of {} was made by another config (start ',
        ),
        (dict(phases=TWO[:1]), '{} has ended phase 1, counted from 0, but this config has only 1'),
        (dict(init='elsewhere'), '{}: the search was begun with init=None, this config has'),
        (dict(randomness=dict(seed=4)), 'cannot resume: the search was begun with seed 0, not 4'),
    ],
)
def test_a_work_directory_of_another_config(change, line, whole, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    with pytest.raises(UserError) as error:
        search(folder, resume=True, **change)
    assert str(error.value).startswith(line.format(folder)), str(error.value)
    assert rows(folder) == rows(whole)


def test_killed_before_anything_has_ended_it_goes_on(whole, tmp_path, monkeypatch):
    def killed(*args):
        raise Killed

    monkeypatch.setattr(PhaseRecord, 'write', killed)
    with pytest.raises(Killed):
        search(tmp_path / 'run')
    monkeypatch.undo()
    assert (tmp_path / 'run' / 'config.json').is_file()
    search(tmp_path / 'run', resume=True)
    assert_same_search(tmp_path / 'run', whole)


def test_a_record_that_is_lost(whole, tmp_path):
    shutil.copytree(whole, tmp_path / 'run')
    (tmp_path / 'run' / 'phases.json').unlink()
    for how in (dict(resume=True), dict(from_phase=1)):
        with pytest.raises(UserError, match='phases.json is missing, which says what of it has'):
            search(tmp_path / 'run', **how)


def test_checkpoints_elsewhere_are_those_of_phases_and_of_one_begun_anew(whole, tmp_path):
    out = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'out')}
    search(tmp_path / 'run', options=out)
    names = {path.name for path in (tmp_path / 'out' / 'phase_1').glob('*.pth')}
    assert names == {path.name for path in (whole / 'phase_1').glob('*.pth')}
    assert rows(tmp_path / 'run') == rows(whole)
    search(tmp_path / 'run', from_phase=1, options=out)
    assert rows(tmp_path / 'run') == rows(whole)
    assert list((tmp_path / 'out' / 'phase_1' / 'previous_1').glob('*.pth'))


def test_a_length_that_is_not_of_phases(tmp_path):
    path = tmp_path / 'mine.py'
    base = TOOLS.parent / 'configs' / 'search' / 'rdarts_nb201_digits.py'
    path.write_text(f'_base_ = [{str(base)!r}]\nphases = [dict(), dict(epochs=4)]\n')
    with pytest.raises(UserError) as error:
        load_config(path, {'train_cfg.max_epochs': 3})
    assert str(error.value) == (
        '--cfg-options: train_cfg.max_epochs is not the length of phases.1, which has its own, 4: '
        'set epochs, that of all phases together, or phases.1.epochs'
    )
    with pytest.raises(
        UserError, match=r'^--cfg-options: epochs is of all phases together, and ph'
    ):
        load_config(path, {'epochs': 6, 'phases.1.epochs': 3})


RUN = dict(phase=0, branch=None, epochs=2, iterations=4, bytes=9)
ENDED = [dict(phase=0, branch=b, bytes=9) for b in (7, None)]


@pytest.mark.parametrize(
    'text',
    [
        *('{', '[]', '{"schema": 1}', '{"schema": 2}', 'null'),
        *(
            json.dumps(dict(schema=1, seed=0, init=None, runs=runs, ended=ended))
            for runs, ended in (
                ([RUN], ENDED[:1]),
                ([], ENDED[1:]),
                ([dict(RUN, phase=1), RUN], []),
            )
        ),
    ],
)
def test_a_record_that_is_none(text, whole, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    (folder / 'phases.json').write_text(text)
    with pytest.raises(UserError, match='phases.json: no (JSON|record of a search in phases)'):
        search(folder, resume=True)


def test_how_a_search_in_phases_is_resumed(whole, tmp_path):
    cases = [
        (dict(resume='x.pth'), '--resume x.pth: a search in phases goes on by --resume without'),
        (dict(from_phase=2), '--from-phase must be 0 to 1, a phase of this config, but is 2'),
    ]
    for given, line in cases:
        with pytest.raises(UserError) as error:
            search(whole, **given)
        assert str(error.value).startswith(line)
    with pytest.raises(UserError, match='--from-phase 1: .* holds no search in phases'):
        search(tmp_path / 'none', from_phase=1)
    record = PhaseRecord.read(whole)
    record.forget_from(0)
    (tmp_path / 'begun').mkdir()
    record.write(tmp_path / 'begun')
    with pytest.raises(UserError, match='phase 0 of .* has not ended: --resume goes on with it'):
        search(tmp_path / 'begun', from_phase=1)


def test_a_search_in_phases_and_one_without_are_not_resumed_as_each_other(whole, tmp_path):
    plain = config(whole)
    plain.pop('phases')
    with pytest.raises(UserError, match='holds a search in phases, and this config has none'):
        train(plain, True)
    with pytest.raises(UserError, match='--from-phase: the config has no phases'):
        train(plain, None, 1)
    plain.init = str(whole)
    with pytest.raises(UserError, match='init stands for the first of several phases'):
        phases_of(plain)
    shutil.copytree(whole / 'phase_0', tmp_path / 'plain')
    with pytest.raises(UserError, match='holds a search without phases, and this config has 2'):
        search(tmp_path / 'plain', resume=True)


def test_phases_go_on_in_the_space_of_the_initial_search(tmp_path):
    space = as_data(to_data(build_space('darts')))
    row = dict(schema=1, kind='start', epoch=0, iter=0, seed=0, space=space)
    (tmp_path / 'search_log.jsonl').write_text(json.dumps(row) + '\n')
    path = TOOLS.parent / 'configs' / 'search' / 'darts_pt_darts_c10.py'
    given = dict(init=str(tmp_path), work_dir=str(tmp_path / 'run'))
    for init, none in ((False, False), (True, True)):
        cfg = load_config(path, given if init else dict(work_dir=str(tmp_path / 'run')))
        runs = PhaseRuns(cfg)
        for phase in runs.phases:
            found = build_space(phase.cfg.model.backbone.space)
            names = found.cells['normal'].edges[0].candidates
            assert ('none' in names) == none
        assert runs.space.cells == found.cells


@pytest.mark.parametrize(
    ('make', 'line'),
    [
        (lambda folder: None, 'init: no folder {}'),
        (lambda folder: folder.mkdir(), 'init: {} holds no search that has ended (no genotype'),
        (
            lambda folder: (folder.mkdir(), (folder / 'genotype.json').write_text('{}')),
            'init: no checkpoint in {}',
        ),
        (
            lambda folder: search(
                folder, [dict(epochs=1)], options={'model.backbone.cells_per_stage': 2}
            ),
            'init: the network of {}/phase_0 is another one than that of phases.0',
        ),
    ],
)
def test_an_initial_search_that_is_missing_or_does_not_fit(make, line, tmp_path):
    folder = tmp_path / 'supernet'
    make(folder)
    with pytest.raises(UserError) as error:
        search(tmp_path / 'run', init=str(folder))
    assert str(error.value).startswith(line.format(folder)), str(error.value)
    assert '\n' not in str(error.value)
    assert not list((tmp_path / 'run').rglob('*.pth'))


@pytest.mark.parametrize(
    'change',
    [
        dict(start=dict(type='rdarts.KeepTopOps', keep=2)),
        dict(continue_from_last=['weights']),
        dict(branches=2),
    ],
)
def test_a_phase_that_has_begun_is_not_resumed_as_if_it_began_otherwise(change, whole, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    record = PhaseRecord.read(folder)
    record.forget_from(1)
    record.write(folder)
    (key,) = change
    line = f'phase 1 of {folder} was made by another config \\({key} '
    with pytest.raises(UserError, match=line):
        search(folder, [TWO[0], {**TWO[1], **change}], resume=True)


def test_what_does_not_fit_moves_nothing_away(whole, tmp_path, capsys):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    for phases, keys in (
        ([TWO[0], dict(TWO[1], start=dict(type='rdarts.KeepTopOps', keep=9))], {}),
        (TWO, dict(init=str(folder))),
        (TWO, dict(init=str(tmp_path / 'none'))),
    ):
        with pytest.raises(UserError):
            search(folder, phases, **keys)
    assert not (folder / 'previous_1').exists()
    assert rows(folder) == rows(whole)


def test_a_new_search_moves_an_earlier_one_away(whole, tmp_path, capsys):
    folder = tmp_path / 'run'
    shutil.copytree(whole, folder)
    search(folder, [dict(epochs=1)])
    assert 'held an earlier run: moved to' in capsys.readouterr().out
    assert (folder / 'previous_1' / 'phase_1').is_dir()
    assert not (folder / 'phase_1').exists()


def test_the_progress_counts_to_the_end_of_the_last_phase(tmp_path):
    now = SimpleNamespace(seconds=0.0)
    to_go = TimeToGo(RunPlan(epochs=2, iterations=3), clock=lambda: now.seconds)
    to_go.epoch_begins()
    for _ in range(2):
        now.seconds += 1.0
        to_go.iteration_ends()
    assert to_go.seconds(2) == 4.0
    assert to_go.seconds(2, later=4) == 4.0 + 12.0


def test_masks_go_on_and_edges_that_are_dropped_whole():
    last, new = (DARTSSupernet(channels=4, num_cells=3, space='darts') for _ in range(2))
    last.prune('normal', 0, ['none', 'skip_connect'])
    last.drop_edge('reduce', 3)
    keep_masks(new, last)
    assert new.alive == last.alive
    assert new.alive['reduce'][3] == [False] * 8
    assert sum(new.alive['normal'][0]) == 6
