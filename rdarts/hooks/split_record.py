"""Which images a search used for what."""

from __future__ import annotations

import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from rdarts.engine.checkpoint import write_atomically
from rdarts.registry import HOOKS


@HOOKS.register_module()
class SplitRecordHook(Hook):
    """Writes ``split.json``: the indices of the weights' and of alpha's half."""

    def before_train(self, runner) -> None:
        dataset = runner.train_dataloader.dataset
        if is_main_process() and hasattr(dataset, 'split_record'):
            text = json.dumps(dataset.split_record()) + '\n'
            write_atomically(Path(runner.work_dir) / 'split.json', text.encode())
