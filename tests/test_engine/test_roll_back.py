"""A run that goes back to a snapshot: all is as it was there, and the log says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import digits_runner, log_text
from mmengine.hooks import Hook
from same_runs import same

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.roll_back import checkpoint_hook_of, roll_back
from rdarts.errors import UserError
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs

OPTIONS = {
    'train_cfg.max_epochs': 4,
    'default_hooks.checkpoint.interval': 4,
    'default_hooks.search_log.interval': 1,
}


class GoBack(Hook):
    """Once goes back from the end of one epoch to that of another."""

    def __init__(self, to: int, left: int, change=lambda: None) -> None:
        self.to, self.left, self.change = to, left, change

    def between_epochs(self, runner) -> None:
        path = Path(runner.work_dir, 'snapshots', 'one.pth')
        if runner.epoch == self.to and not path.exists():
            hook = checkpoint_hook_of(runner, 'GoBack')
            hook.write(runner, path, runner.epoch, runner.iter)
        elif runner.epoch == self.left:
            self.left = 0
            roll_back(runner, path, 'GoBack', self.change, by='test')


def run(work_dir: Path, config: str, hooks=(), **options):
    runner = digits_runner(
        work_dir, {**OPTIONS, **options}, config=f'{config}_nb201_digits', hooks=hooks
    )
    runner.train()
    return runner


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ('time', 'memory')} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize('config', ['gdas', 'darts_2nd'])
def test_what_was_gone_back_on_leaves_no_trace_but_in_the_log(config, tmp_path):
    """Draws, momenta, schedulers, batch norms, the order of images: gone over again, bit by bit."""
    plain = run(tmp_path / 'plain', config)
    back = run(tmp_path / 'back', config, [GoBack(1, 3)])
    last = 'epoch_4_iter_8.pth'
    left, right = (read_checkpoint(tmp_path / name / last) for name in ('plain', 'back'))
    for key in ('state_dict', 'optimizer', 'param_schedulers', 'arch', 'random_state'):
        assert same(left[key], right[key]), key
    assert plain.iter == back.iter == 8
    written = without_times(read_search_log(tmp_path / 'plain'))
    whole = without_times(read_search_log(tmp_path / 'back', left=True))
    kinds = [(row['kind'], row['epoch']) for row in whole]
    kinds = [one for one in kinds if one[0] in ('epoch', 'roll_back')]
    before, after = ([('epoch', epoch) for epoch in epochs] for epochs in ((1, 2, 3), (2, 3, 4)))
    assert kinds == [*before, ('roll_back', 1), *after]
    (mark,) = [row for row in whole if row['kind'] == 'roll_back']
    assert mark == dict(schema=1, kind='roll_back', epoch=1, iter=2, left_epoch=3, by='test')
    read = without_times(read_search_log(tmp_path / 'back'))
    assert [row for row in read if row['kind'] != 'roll_back'] == written
    assert read_search_log(tmp_path / 'back', 'roll_back') == [mark]
    (seen,) = find_runs([tmp_path / 'back'])
    assert [row['epoch'] for row in seen.epochs] == [1, 2, 3, 4] == list(seen.validation())
    assert list(seen.means('arch_loss')) == [1, 2, 3, 4]
    names = {path.name for path in (tmp_path / 'back' / 'genotypes').iterdir()}
    assert names == {path.name for path in (tmp_path / 'plain' / 'genotypes').iterdir()}
    assert 'GoBack rolls the run back: it goes on after epoch 1, not 3' in log_text(
        tmp_path / 'back'
    )


@pytest.mark.slow
def test_what_is_changed_on_the_way(tmp_path):
    groups = []

    class More(GoBack):
        def between_epochs(self, runner) -> None:
            def change() -> None:
                for group in runner.optim_wrapper.optimizer.param_groups:
                    group['weight_decay'] *= 10

            self.change = change
            super().between_epochs(runner)
            groups.append(runner.optim_wrapper.optimizer.param_groups[0]['weight_decay'])

    options = {
        'train_cfg.max_epochs': 3,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'default_hooks.checkpoint.iter_interval': 3,
    }
    run(tmp_path, 'darts', [More(1, 2)], **options)
    assert groups == pytest.approx([3e-4, 3e-4, 3e-3, 3e-3])
    # what it went back on would be taken for the newest
    names = sorted(path.name for path in (tmp_path / 'previous_1').iterdir())
    assert names == ['epoch_2_iter_4.pth', 'iter_3.pth']
    found = read_checkpoint(tmp_path / 'epoch_1_iter_2.pth')
    assert found['validated'] and found['meta']['epoch'] == 1
    assert found['optimizer']['param_groups'][0]['weight_decay'] == pytest.approx(3e-3)


def test_what_a_roll_back_needs(tmp_path):
    runner = digits_runner(tmp_path)
    with pytest.raises(UserError, match='Mine needs train_cfg.type=rdarts.SearchTrainLoop'):
        checkpoint_hook_of(type('Runner', (), dict(hooks=runner.hooks, train_loop=None)), 'Mine')
    with pytest.raises(UserError, match='needs default_hooks.checkpoint.type=rdarts.Atomic'):
        checkpoint_hook_of(type('Runner', (), dict(hooks=[], train_loop=None)), 'Mine')
