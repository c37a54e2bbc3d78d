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

    :class:`~rdarts.sampling.evaluators.angle.Angle` reads it.
    """

    priority = 'LOWEST'  # after what a phase begins with was handed to it

    def before_train(self, runner) -> None:
        """See mmengine."""
        if runner._resume or not is_main_process():
            return
        buffer = io.BytesIO()
        torch.save(dict(state_dict=unwrapped(runner.model).state_dict()), buffer)
        folder = Path(checkpoint_hook_of(runner, type(self).__name__).out_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / INITIAL, buffer.getvalue())
