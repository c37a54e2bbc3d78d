"""The time to go that mmengine's log line prints."""

from __future__ import annotations

import pytest
from helpers import digits_runner
from mmengine.hooks import Hook

from rdarts.engine.progress import RunPlan, TimeToGo
from rdarts.hooks import time_to_go


class Etas(Hook):
    """What mmengine's logger, of a lower priority than the time to go, reads."""

    priority = 'BELOW_NORMAL'

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append(runner.message_hub.get_info('eta'))


@pytest.mark.slow
def test_the_time_to_go_knows_of_validations(tmp_path, monkeypatch):
    etas = Etas()
    options = {'train_cfg.max_epochs': 5, 'train_cfg.val_interval': 2}
    options['val_dataloader.batch_size'] = 4
    runner = digits_runner(tmp_path, options, hooks=[etas])
    # a second between two looks at the clock
    ticks, made = iter(range(1000)), []

    def with_ticks(plan, val_images):
        made.append(TimeToGo(plan, val_images, clock=lambda: next(ticks)))
        return made[-1]

    monkeypatch.setattr(time_to_go, 'TimeToGo', with_ticks)
    runner.train()
    assert made[0].plan == RunPlan(
        epochs=5, iterations=2, val_batches=4, val_interval=2, val_begin=1
    )
    # The clock is looked at when an epoch begins, after each iteration, and when a validation
    # begins and ends. A validation is first guessed at 4 batches x 1/5 x 4/8 of an iteration.
    guess = 4 / 5 * 4 / 8
    assert etas.rows[1:] == pytest.approx(
        [
            8 + 3 * guess,
            # the end of an epoch without validation takes a second
            7 + 3 * guess + 4 * 1, 6 + 3 * guess + 4 * 1,
            # with one, two besides the validation's own
            5 + 2 * 1 + 3 * 3 / 2, 4 + 2 * 1 + 3 * 3 / 2,
            3 + 2 * 1 + 2 * 4 / 3, 2 + 2 * 1 + 2 * 4 / 3,
            1 + 1 * 1 + 1 * 6 / 4, 0 + 1 * 1 + 1 * 6 / 4,
        ]
    )  # fmt: skip
