"""Whether a checkpoint is of this run: optimizer, schedulers, and what each rank had for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.runner import Runner
from torch import nn

from rdarts.checkpoint.run_state import (
    check_loss_scaler,
    check_optimizer,
    check_random_state,
    check_schedulers,
)
from rdarts.checkpoint.schema import EntryError, Items, Spec, Table, check_entry, like
from rdarts.engine.facts import Place
from rdarts.errors import UserError
from rdarts.utils.wording import plural


def check_training(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Optimizer, loss scaler and schedulers.

    Args:
        runner (Runner): Its optimizer and schedulers are built.
        checkpoint (dict): Whose entry ``meta`` was checked.

    Raises:
        UserError: They are of another run.
    """
    wrapper, saved, meta = runner.optim_wrapper, checkpoint['optimizer'], checkpoint['meta']
    check_entry(saved, Table(others=Spec()), 'optimizer')
    saved = dict(saved)
    saved.pop('base_param_settings', None)
    scaler = getattr(wrapper, 'loss_scaler', None)
    if (scaler is not None) != ('loss_scaler' in saved):
        began, now = ('with', 'without') if scaler is None else ('without', 'with')
        raise UserError(
            f'cannot resume: the run was begun {began} the loss scaling of --amp fp16, and '
            f'goes on {now} it; resume with what began the run'
        )
    if scaler is not None:
        check_loss_scaler(saved.pop('loss_scaler'), scaler, 'optimizer.loss_scaler')
    if hasattr(wrapper, 'optimizer'):
        check_optimizer(saved, wrapper.optimizer, 'optimizer')
    schedulers = runner.param_schedulers
    if not schedulers:
        return
    if 'param_schedulers' not in checkpoint:
        raise EntryError('param_schedulers', 'is missing')
    saved = checkpoint['param_schedulers']
    done = Place.of(runner).steps_done(meta)
    if not isinstance(schedulers, dict):
        check_schedulers(saved, schedulers, *done, 'param_schedulers')
        return
    check_entry(saved, Table(dict.fromkeys(schedulers, Spec())), 'param_schedulers')
    for name, own in schedulers.items():
        check_schedulers(saved[name], own, *done, f'param_schedulers.{name}')


def check_ranks(ranks: Any, model: nn.Module) -> None:
    """What each process of a distributed run had for itself.

    Args:
        ranks (Any): The entry ``ranks``.
        model (Module): The model.

    Raises:
        UserError: It is of another number of processes, or of another model.
    """
    world_size = get_dist_info()[1]
    entry = Table(dict(random_state=Spec(), buffers=Table(others=Spec())))
    check_entry(ranks, Items(entry), 'ranks')
    count = 0 if world_size == 1 else world_size
    if len(ranks) != count:
        raise UserError(
            f'cannot resume: the run was begun on {plural(max(1, len(ranks)), "process")}, not '
            f'{world_size}; resume with what began the run'
        )
    buffers = Table({key: like(value) for key, value in model.named_buffers()})
    for index, of_rank in enumerate(ranks):
        check_random_state(of_rank['random_state'], f'ranks[{index}].random_state')
        # a wrapper's names begin with `module.`
        own = {key.removeprefix('module.'): v for key, v in of_rank['buffers'].items()}
        check_entry(own, buffers, f'ranks[{index}].buffers')
