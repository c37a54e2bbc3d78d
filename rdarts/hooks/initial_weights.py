"""The weights that a supernet began with, kept for what compares them with those that it has."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from rdarts.engine.roll_back import checkpoint_hook_of
from rdarts.registry import HOOKS
from rdarts.utils.files import write_atomically
from rdarts.utils.wrapped import unwrapped

INITIAL = 'initial.pth'


@HOOKS.register_module()
class InitialWeightsHook(Hook):
    """Writes the state dict of the model before its first step, ``initial.pth`` beside checkpoints.

    :class:`~rdarts.sampling.evaluators.angle.Angle` reads it. A run that goes on has it from where
    it began, and says so where there is none.
    """

    priority = 'LOWEST'  # after what a phase begins with was handed to it

    def before_train(self, runner) -> None:
        """See mmengine."""
        if not is_main_process():
            return
        path = Path(checkpoint_hook_of(runner, type(self).__name__).out_dir) / INITIAL
        if not runner._resume:
            buffer = io.BytesIO()
            torch.save(dict(state_dict=unwrapped(runner.model).state_dict()), buffer)
            _write(path, buffer.getvalue())
        elif not path.is_file():
            before = Path(runner._load_from or path).with_name(INITIAL)
            if before.is_file():
                _write(path, before.read_bytes())
                return
            runner.logger.warning(
                f'no {before}: what needs the weights that the network began with, such as an '
                'angle, cannot follow this run'
            )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
