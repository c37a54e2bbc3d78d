"""The hooks that say when a search has settled, or is about to collapse."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import TOOLS, digits_runner, log_text
from mmengine.config import Config
from mmengine.hooks import Hook
from test_architect.test_hessian import full_hessian

from rdarts.architect.hessian import Eigenvalue
from rdarts.configuration.load import set_amp
from rdarts.datasets.loaders import loader_sampler
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype, skips_by_cell
from rdarts.hooks import CollapseHook, ConvergenceHook
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.models import AlphaOwner

NONE, SKIP, ONE, THREE, POOL = range(5)


class SetAlpha(Hook):
    """Before anything is derived, puts the scheduled alpha: strongest candidate and its lead."""

    priority = 'ABOVE_NORMAL'

    def __init__(self, schedule):
        self.schedule = schedule

    def after_train_epoch(self, runner):
        strongest, lead = self.schedule[runner.epoch]
        alpha = runner.model.backbone.arch_parameters['cell']
        with torch.no_grad():
            alpha.zero_()
            alpha[:, strongest] = lead


def run(work_dir: Path, hook: Hook, schedule, **keys) -> list[dict]:
    runner = digits_runner(
        work_dir, {'train_cfg.max_epochs': len(schedule)}, hooks=[SetAlpha(schedule), hook], **keys
    )
    runner.train()
    return epoch_rows(work_dir)


def epoch_rows(work_dir: Path) -> list[dict]:
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if row['kind'] == 'epoch']


# Convergence

FLAT, SHARP = 0.01, 6.0
SCHEDULE = [(ONE, SHARP), (THREE, FLAT), (THREE, SHARP), (THREE, SHARP), (THREE, SHARP)]


@pytest.mark.slow
def test_it_has_settled_with_one_genotype_and_low_entropy(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=3), SCHEDULE)
    found = [row['convergence'] for row in rows]
    assert [f['same_genotype'] for f in found] == [1, 1, 2, 3, 4]
    assert [f['settled'] for f in found] == [False, False, False, True, True]
    assert found[1]['relative_entropy'] > 0.99 and found[2]['relative_entropy'] < 0.1
    assert log_text(tmp_path).count('The search has settled: the same genotype for 3 epochs') == 1


@pytest.mark.slow
def test_equal_weights_have_not_settled(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=2), [(THREE, FLAT)] * 3)
    assert not any(row['convergence']['settled'] for row in rows)


@pytest.mark.slow
def test_it_can_end_the_search(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=3, stop=True), SCHEDULE)
    assert [row['epoch'] for row in rows] == [1, 2, 3, 4]
    assert 'stopped' not in rows[2]
    assert rows[3]['stopped'] == dict(by='convergence', kept_epoch=4)
    assert 'it ends here' in log_text(tmp_path)
    assert load_genotype(tmp_path).ops == ('nor_conv_3x3',) * 6
    hook = ConvergenceHook(patience=3, stop=True)
    runner = digits_runner(
        tmp_path, {'train_cfg.max_epochs': 5}, hooks=[SetAlpha(SCHEDULE), hook],
        resume=True, load_from=str(next(tmp_path.glob('epoch_4_*.pth'))),
    )  # fmt: skip
    runner.train()
    assert runner.epoch == 4  # it goes on being ended


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(patience=0), 'patience must be epochs, 1 or more: 0'),
        (dict(entropy=1.5), 'entropy must be from 0 to 1, but is 1.5'),
        (dict(entropy='half'), "entropy must be from 0 to 1, but is 'half'"),
        (dict(entropy=True), 'entropy must be from 0 to 1, but is True'),
    ],
)
def test_convergence_that_does_not_fit(kwargs, message):
    with pytest.raises(UserError, match=message):
        ConvergenceHook(**kwargs)


# Collapse


def test_skip_connections_are_counted_by_cell_type():
    text = (
        "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), "
        "('sep_conv_3x3', 1), ('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
        "('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0)], reduce_concat=range(2, 6))"
    )
    assert skips_by_cell(load_genotype(text)) == dict(normal=3, reduce=1)


@pytest.mark.slow
def test_it_warns_of_skip_connections(tmp_path):
    rows = run(tmp_path, CollapseHook(max_skips=2), [(THREE, 1.0), (SKIP, 1.0)])
    assert [row['collapse']['skip_connections'] for row in rows] == [{'cell': 0}, {'cell': 6}]
    text = log_text(tmp_path)
    assert text.count('Sign of collapse: 6 skip connections in the cell type') == 1


class Given(CollapseHook):
    """With given eigenvalues; None where an epoch has none."""

    def __init__(self, values, **kwargs):
        super().__init__(eigenvalue=True, **kwargs)
        self.values = values

    def _measure(self, runner, epoch):
        value = self.values[epoch - 1]
        return None if value is None else Eigenvalue(value)


def judge(values, **kwargs) -> tuple[int, int] | None:
    """Epoch of the stop and epoch that is kept, from 1, of a search with these eigenvalues."""
    hook = Given(values, max_skips=9, stop=True, **kwargs)
    runner = SimpleNamespace(
        epoch=0,
        max_epochs=len(values),
        logger=logging.getLogger('judge'),
        model=AlphaOwner('darts'),
        train_loop=SimpleNamespace(stop_training=False),
    )
    Facts.of(runner).derive = lambda: load_genotype('DARTS_V2')
    optimizer = SimpleNamespace(param_groups=[dict(weight_decay=0.0)])
    Facts.of(runner).architect = SimpleNamespace(optimizer=optimizer)
    for runner.epoch in range(len(values)):
        hook.after_train_epoch(runner)
        if runner.train_loop.stop_training:
            return runner.epoch + 1, hook.state['stopped']
    return None


LATE = [1.0] * 20 + [2.0] * 10
JUMP = [1.0] * 14 + [2.0] * 6
EARLY = [1.0] * 4 + [2.0] * 26
STEADY = [1.1**epoch for epoch in range(40)]
THREES = dict(window=3, delta=2, start_epoch=5)
FOURS = dict(window=4, delta=3, start_epoch=1)


@pytest.mark.parametrize(
    ('values', 'kwargs', 'expected'),
    [
        (LATE, {}, (22, 16)),
        (JUMP, {}, (17, 11)),
        (EARLY, {}, None),
        (STEADY, {}, (17, 11)),
        (LATE[:17], {}, None),
        (JUMP[:17], {}, None),  # the last epoch is not judged
        (JUMP[:18], {}, (17, 11)),
        (LATE, THREES, (21, 18)),
        (JUMP, THREES, (15, 12)),
        (EARLY, THREES, None),
        (LATE, FOURS, (22, 17)),
        (EARLY, FOURS, (6, 1)),  # with a first window of three
        (STEADY, FOURS, (7, 2)),
        (JUMP, dict(window=1, delta=1, factor=1.5, start_epoch=3), (15, 14)),
    ],
)
def test_the_rule_is_robust_dartss(values, kwargs, expected):
    """What ``EVLocalAvg`` of its code gives, whose epochs count from 0."""
    assert judge(values, **kwargs) == expected


@pytest.mark.parametrize('window', [1, 2, 3, 5, 6])
@pytest.mark.parametrize('seed', range(5))
def test_the_rule_compares_centred_means(window, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(50, generator=generator).mul(0.4).add(0.85).cumprod(0).double().tolist()
    half, delta, start = window // 2, 3, 4

    def mean(centre):
        inside = values[max(0, centre + half + 1 - window) : centre + half + 1]
        return sum(inside) / len(inside)

    stops = [
        (centre + half + 1, centre - delta + 1)
        for centre in range(delta + start, 49 - half)
        if mean(centre) / mean(centre - delta) > 1.3
    ]
    found = judge(values, window=window, delta=delta, start_epoch=start + 1)
    assert found == (stops[0] if stops else None)


def test_epochs_without_an_eigenvalue():
    """A mean needs more than half of its window; what a search began without is not kept."""
    jump = [None] * 6 + [1.0] * 5 + [3.0] * 10
    assert judge(jump, window=3, delta=2, start_epoch=1) == (12, 9)
    soon = [None] * 6 + [1.0] * 2 + [3.0] * 10
    assert judge(soon, window=3, delta=2, start_epoch=1) == (10, 7)
    assert judge([1.0] + [None] * 8 + [3.0] * 9, window=3, delta=2, start_epoch=1) is None
    lost = [float('nan')] * 5 + [1.0] + [3.0] * 9
    assert judge(lost, window=3, delta=2, start_epoch=1) == (9, 6)


def test_negative_curvature_is_no_growth():
    assert judge([-1.0] * 10 + [-2.0] * 10, start_epoch=1) is None
    assert judge([-1.0] * 10 + [2.0] * 10, start_epoch=1) == (16, 10)  # .2 to 2


VALUES = (1.0, 1.0, 1.0, 1.1, 1.4, 9.0, 9.0, 9.0)
RULE = dict(window=2, delta=2, factor=1.2, start_epoch=2)
STOPPED = [(THREE, 1.0), (ONE, 1.0)] + [(SKIP, 1.0)] * 6


@pytest.mark.slow
def test_it_ends_a_search_and_keeps_an_earlier_genotype(tmp_path):
    rows = run(tmp_path, Given(VALUES, stop=True, **RULE), STOPPED)
    # means of two: 1, 1, 1.05, 1.25: the last is 1.25 times that of two epochs before
    assert [row['epoch'] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]['collapse'] == dict(
        skip_connections=dict(cell=6), eigenvalue=1.4, eigenvalue_converged=True
    )
    assert rows[-1]['stopped'] == dict(by='collapse', kept_epoch=2)
    assert not any('stopped' in row for row in rows[:-1])
    assert load_genotype(tmp_path).ops == ('nor_conv_1x1',) * 6
    text = log_text(tmp_path)
    assert 'has grown 1.25 times in 2 epochs; RobustDARTS keeps the genotype of epoch 2' in text


def resumed(work_dir, hook, name, **options):
    path = next(work_dir.glob(name))
    return digits_runner(
        work_dir, {'train_cfg.max_epochs': len(STOPPED), **options},
        hooks=[SetAlpha(STOPPED), hook], resume=str(path),
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_that_it_ended_stays_ended(tmp_path):
    run(tmp_path, Given(VALUES, stop=True, **RULE), STOPPED)
    names = ('genotype.json', 'search_log.jsonl')
    before = [(tmp_path / name).read_bytes() for name in names]
    (tmp_path / 'genotype.json').unlink()
    runner = resumed(tmp_path, Given(VALUES, stop=True, **RULE), 'epoch_5_*.pth')
    runner.train()
    assert runner.epoch == 5
    assert [(tmp_path / name).read_bytes() for name in names] == before


@pytest.mark.slow
def test_a_search_that_it_ended_goes_on_without_stop(tmp_path):
    run(tmp_path, Given(VALUES, stop=True, **RULE), STOPPED)
    runner = resumed(tmp_path, Given(VALUES, **RULE), 'epoch_5_*.pth')
    runner.train()
    assert runner.epoch == 8
    assert load_genotype(tmp_path).ops == ('skip_connect',) * 6


@pytest.mark.slow
def test_a_search_resumed_before_it_ends_is_ended_alike(tmp_path):
    run(tmp_path, Given(VALUES, stop=True, **RULE), STOPPED)
    before = (tmp_path / 'genotype.json').read_bytes()
    # the genotypes of earlier epochs come from the checkpoint
    for path in (tmp_path / 'genotypes').iterdir():
        path.unlink()
    runner = resumed(tmp_path, Given(VALUES, stop=True, **RULE), 'epoch_4_*.pth')
    runner.train()
    assert runner.epoch == 5
    assert epoch_rows(tmp_path)[-1]['stopped'] == dict(by='collapse', kept_epoch=2)
    assert (tmp_path / 'genotype.json').read_bytes() == before


@pytest.mark.slow
def test_a_rank_that_writes_nothing_keeps_the_same_genotype(tmp_path, monkeypatch):
    monkeypatch.setattr('rdarts.hooks.genotype.is_main_process', lambda: False)
    runner = digits_runner(
        tmp_path, {'train_cfg.max_epochs': 8},
        hooks=[SetAlpha(STOPPED), Given(VALUES, stop=True, **RULE)],
    )  # fmt: skip
    runner.train()
    assert not (tmp_path / 'genotypes').exists() and not (tmp_path / 'genotype.json').exists()
    assert Facts.of(runner).kept.ops == ('nor_conv_1x1',) * 6


@pytest.mark.slow
@pytest.mark.parametrize('first', ['collapse', 'convergence'])
def test_where_both_end_it_the_row_says_whose_genotype_is_kept(tmp_path, first):
    hooks = [Given(VALUES, stop=True, **RULE), ConvergenceHook(patience=3, entropy=1.0, stop=True)]
    if first == 'convergence':
        hooks.reverse()
    runner = digits_runner(tmp_path, {'train_cfg.max_epochs': 8}, hooks=[SetAlpha(STOPPED), *hooks])
    runner.train()
    last = epoch_rows(tmp_path)[-1]
    assert last['convergence']['settled'] and last['epoch'] == 5
    assert last['stopped'] == dict(by='collapse', kept_epoch=2)
    assert load_genotype(tmp_path).ops == ('nor_conv_1x1',) * 6


@pytest.mark.slow
def test_without_stop_it_only_warns(tmp_path):
    rows = run(tmp_path, Given(VALUES, **dict(RULE, start_epoch=3)), [(SKIP, 1.0)] * 8)
    assert len(rows) == 8 and not any('stopped' in row for row in rows)
    warned = log_text(tmp_path).count('has grown')
    assert warned == 2  # epochs 6 and 7; 5 would keep epoch 2, and 8 is the last
    assert load_genotype(tmp_path).ops == ('skip_connect',) * 6


@pytest.mark.slow
def test_the_eigenvalue_of_a_real_search_changes_nothing_else(tmp_path):
    logs = []
    for name, hooks in (('without', []), ('with', [CollapseHook(eigenvalue=True, iterations=8)])):
        runner = digits_runner(tmp_path / name, {'train_cfg.max_epochs': 2}, hooks=hooks)
        runner.train()
        lines = (tmp_path / name / 'search_log.jsonl').read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        found = [row.pop('collapse') for row in rows if 'collapse' in row]
        for row in rows:
            for key in ('time', 'memory', 'data_time'):
                row.pop(key, None)
        logs.append(rows)
    assert logs[0] == logs[1]
    assert len(found) == 2 and all(abs(f['eigenvalue']) > 0 for f in found)
    # 8 products are too few, which the log says
    assert [f['eigenvalue_converged'] for f in found] == [False] * 2
    text = log_text(tmp_path / 'with')
    assert text.count('has not converged in 8 products: residual') == 2


class Noting(CollapseHook):
    """Notes the phase and the precision of what runs for an eigenvalue."""

    def _measure(self, runner, epoch):
        backbone, self.seen = runner.model.backbone, []
        handle = backbone.stem[0].register_forward_hook(
            lambda module, args, output: self.seen.append((backbone.phase, output.dtype))
        )
        value = super()._measure(runner, epoch)
        handle.remove()
        assert backbone.phase == 'weights'
        return value


@pytest.mark.slow
@pytest.mark.parametrize('amp', [False, True])
def test_the_eigenvalues_loss_is_the_architects_in_its_precision(tmp_path, amp):
    runner = digits_runner(tmp_path)
    if amp:
        set_amp(runner.cfg, 'bf16')
    hook = Noting(eigenvalue=True, iterations=4)
    runner = digits_runner(
        tmp_path, {'train_cfg.max_epochs': 1}, hooks=[hook], optim_wrapper=runner.cfg.optim_wrapper
    )
    losses = []
    architect = next(h for h in runner.hooks if isinstance(h, ArchitectHook)).architect
    loss = architect.loss
    architect.loss = lambda batch: losses.append((batch, loss(batch))) or losses[-1][1]
    runner.train()
    assert hook.seen == [('alpha', torch.bfloat16 if amp else torch.float32)]
    # of two steps, and of the eigenvalue on the batch of the second
    assert len(losses) == 3 and losses[1][0] is losses[2][0]
    assert losses[2][1].grad_fn is not None
    (row,) = epoch_rows(tmp_path)
    assert 0 < abs(row['collapse']['eigenvalue']) < 10


@pytest.mark.slow
@pytest.mark.parametrize('iteration', [2, 4])
def test_resumed_at_the_last_iteration_of_an_epoch(tmp_path, iteration):
    """Bit-equal to the run that was not interrupted, eigenvalues and what follows."""
    logs = []
    options = {'train_cfg.max_epochs': 3, 'default_hooks.checkpoint.iter_interval': iteration}
    options['default_hooks.checkpoint.max_keep_ckpts'] = 9
    for resume in (False, str(tmp_path / f'iter_{iteration}.pth')):
        runner = digits_runner(
            tmp_path, options, hooks=[CollapseHook(eigenvalue=True, iterations=4)], resume=resume
        )
        runner.train()
        rows = [json.loads(line) for line in (tmp_path / 'search_log.jsonl').open()]
        for row in rows:
            for key in ('time', 'memory', 'data_time'):
                row.pop(key, None)
        logs.append(rows)
    assert logs[0] == logs[1]
    found = [row['collapse']['eigenvalue'] for row in logs[1] if row['kind'] == 'epoch']
    assert len(found) == 3 and len(set(found)) == 3
    assert 'skipped' not in log_text(tmp_path)


@pytest.mark.slow
def test_an_eigenvalue_that_cannot_be_had_is_told(tmp_path, monkeypatch):
    options = {'train_cfg.max_epochs': 2, 'default_hooks.checkpoint.iter_interval': 2}
    options['default_hooks.architect.start_epoch'] = 1
    runner = digits_runner(tmp_path, options, hooks=[CollapseHook(eigenvalue=True, iterations=2)])
    runner.train()
    assert ['eigenvalue' in row['collapse'] for row in epoch_rows(tmp_path)] == [False, True]
    assert log_text(tmp_path).count('Eigenvalue of epoch 1 skipped: alpha has not moved yet') == 1
    # a sampler that only goes forward
    runner = digits_runner(
        tmp_path, options, hooks=[CollapseHook(eigenvalue=True, iterations=2)],
        resume=str(tmp_path / 'iter_4.pth'),
    )  # fmt: skip
    architect = next(hook for hook in runner.hooks if isinstance(hook, ArchitectHook))
    loader = runner.build_dataloader(runner.cfg.arch_dataloader)
    monkeypatch.delattr(type(loader_sampler(loader)), 'skip')
    architect.arch_dataloader = loader
    runner.train()
    assert ['eigenvalue' in row['collapse'] for row in epoch_rows(tmp_path)] == [False, False]
    text = log_text(tmp_path)
    assert 'Eigenvalue of epoch 2 skipped: the run was resumed after its last batch' in text


# Other spaces

SMALL = dict(type='mobilenet_like', widths=(8, 8), depths=(2, 1), strides=(2, 2))


def model_of(space: str) -> Config:
    name = 'darts_supernet' if space == 's1' else 'mobilenet_like_supernet'
    model = Config.fromfile(TOOLS.parent / 'configs' / '_base_' / 'models' / f'{name}.py').model
    if space == 's1':
        model.backbone.update(space='s1', channels=2, num_cells=3)
        model.head.update(in_channels=32, num_classes=10)
    else:
        model.backbone.update(
            space=SMALL, stem='cifar', stem_channels=4, first_channels=4, last_channels=16
        )
        model.head.update(in_channels=16, num_classes=10)
    model.backbone.update(alpha_std=1.0, execution='fused')
    return model


class FavourSkips(Hook):
    """Makes each skip connection the strongest candidate of its edge."""

    priority = 'ABOVE_NORMAL'

    def after_train_epoch(self, runner):
        supernet = runner.model.backbone
        for group in supernet.space.groups:
            if 'skip_connect' in group.candidates:
                alpha = supernet.arch_parameters[group.name]
                with torch.no_grad():
                    alpha[:, group.candidates.index('skip_connect')] = 4.0


class Whole(CollapseHook):
    """Notes beside each eigenvalue that of the whole Hessian, in alpha that is used."""

    def _measure(self, runner, epoch):
        value = super()._measure(runner, epoch)
        architect = Facts.of(runner).architect
        with architect.training_alpha():
            data = architect.model.data_preprocessor(architect.last_batch, True)
            loss = sum(architect.model._run_forward(data, mode='loss').values())
            hessian = full_hessian(loss, architect.alphas).double()
        self.expected = float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])
        return value


@pytest.mark.slow
@pytest.mark.parametrize(
    ('space', 'max_skips', 'skips'),
    [('s1', 5, dict(normal=8, reduce=5)), ('layerwise', 0, dict(layerwise=1))],
)
def test_spaces_of_unequal_candidates(tmp_path, space, max_skips, skips):
    """S1, and layers of which one may be skipped: several groups a cell type."""
    hook = Whole(max_skips=max_skips, eigenvalue=True)
    options = {'default_hooks.benchmark': None, 'arch_dataloader.batch_size': 2}
    runner = digits_runner(tmp_path, options, model=model_of(space), hooks=[FavourSkips(), hook])
    runner.train()
    supernet = runner.model.backbone
    assert len(supernet.space.groups) > len(supernet.space.cells)
    (row,) = epoch_rows(tmp_path)
    assert skips_by_cell(load_genotype(tmp_path, supernet.space)) == skips
    found = row['collapse']
    assert found['skip_connections'] == skips and found['eigenvalue_converged']
    assert found['eigenvalue'] == pytest.approx(hook.expected, rel=1e-3)
    assert log_text(tmp_path).count('Sign of collapse: ') == 1


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(max_skips=-1), 'max_skips must be an integer, 0 or more, but is -1'),
        (dict(window=0), 'window must be an integer, 1 or more, but is 0'),
        (dict(factor=0), 'factor must be a positive number, but is 0'),
        (dict(factor='x'), "factor must be a positive number, but is 'x'"),
        (dict(factor=float('nan')), 'factor must be a positive number, but is nan'),
        (dict(stop=True), 'stop needs eigenvalue=True, by which it decides'),
    ],
)
def test_collapse_that_does_not_fit(kwargs, message):
    with pytest.raises(UserError, match=message):
        CollapseHook(**kwargs)
