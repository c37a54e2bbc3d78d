"""Drop-path that grows over the epochs."""

from __future__ import annotations

from mmengine.hooks import Hook

from rdarts.configuration.declarations import BelowOne
from rdarts.errors import UserError
from rdarts.registry import HOOKS
from rdarts.utils.wrapped import unwrapped


@HOOKS.register_module()
class DropPathHook(Hook):
    """Before epoch e of E, the backbone drops paths with probability ``prob`` * e / E.

    A function of the epoch alone, so that a resumed run goes on as it would have.

    Args:
        prob (float): What the probability grows to. Defaults to .2, as published.

    Raises:
        UserError: The probability is not from 0 to below 1, or the backbone has no ``drop_path``.
    """

    priority = 'NORMAL'

    def __init__(self, prob: BelowOne = 0.2) -> None:
        if not 0 <= prob < 1:
            raise UserError(f'DropPathHook: prob must be from 0 to below 1, but is {prob!r}')
        self.prob = prob

    def before_train_epoch(self, runner) -> None:
        model = unwrapped(runner.model)
        backbone = getattr(model, 'backbone', model)
        if not hasattr(backbone, 'drop_path'):
            raise UserError(f'DropPathHook: {type(backbone).__name__} has no drop-path')
        backbone.drop_path = self.prob * runner.epoch / runner.max_epochs
