"""What the entries of a checkpoint must be for a run to go on from them."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn
from torch.optim import Optimizer

from rdarts.checkpoint.layout import check_layout
from rdarts.checkpoint.schema import (
    LARGEST,
    EntryError,
    Flag,
    Items,
    Maybe,
    Number,
    Plain,
    Spec,
    Table,
    TensorOf,
    Text,
    Whole,
    check_entry,
    joined,
    like,
    shown,
)
from rdarts.checkpoint.weights import first_difference, optional_state
from rdarts.errors import UserError
from rdarts.utils.wording import plural

# Of an optimizer's state, what no step makes negative
NOT_NEGATIVE = ('step', 'exp_avg_sq', 'max_exp_avg_sq', 'square_avg', 'sum', 'exp_inf')


def check_resumable(checkpoint: Mapping[str, Any], model: nn.Module) -> None:
    """A run can only be resumed with the network that it was begun with.

    Raises:
        UserError: The checkpoint has other tensors or shapes than the model, or an entry has
            changed since it was saved; the line names what differs.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict) or not {'epoch', 'iter'} <= meta.keys():
        raise UserError(
            'cannot resume: the checkpoint holds weights, but no state of a run (meta.epoch, '
            'meta.iter); start from its weights with --cfg-options load_from=FILE'
        )
    check_layout(checkpoint)
    saved, own = checkpoint.get('state_dict'), model.state_dict()
    check_state_dict(saved, model)
    key = first_difference(saved, own, optional_state(model))
    if key is None:
        return
    if key in saved and key in own:
        what = 'width or depth'
        if key.startswith('head.') and saved[key].shape[1:] == own[key].shape[1:]:
            what = 'class number'
        problem = (
            f"another {what} ('{key}' is {list(saved[key].shape)} in the checkpoint and "
            f'{list(own[key].shape)} in this config)'
        )
    elif key in own:
        problem = f"the checkpoint lacks '{key}' of this config's network (another depth or space?)"
    else:
        problem = f"this config's network lacks '{key}' of the checkpoint (another depth or space?)"
    raise UserError(f'cannot resume: {problem}; resume with the config that began the run')


def check_meta(meta: Mapping[str, Any], epoch_length: Any, own_length: int) -> None:
    """Where the run stood.

    Args:
        meta (dict): The entry ``meta``.
        epoch_length (Any): The entry ``epoch_length``; None where it is missing.
        own_length (int): Iterations of an epoch of this run.

    Raises:
        EntryError: A number is none, or out of its range.
    """
    texts = ('cfg', 'experiment_name', 'time', 'mmengine_version')
    spec = Table(
        dict(epoch=Whole(), iter=Whole(), seed=Whole()), dict.fromkeys(texts, Text()), Spec()
    )
    check_entry(meta, spec, 'meta')
    check_entry(epoch_length, Maybe(Whole(1)), 'epoch_length')
    if epoch_length not in (None, own_length):
        return  # another run's: said elsewhere
    first = meta['epoch'] * own_length
    if not first <= meta['iter'] <= first + own_length:
        raise EntryError(
            'meta.iter',
            f'is {meta["iter"]}, but {first} to {first + own_length} belong to epoch '
            f'{meta["epoch"]} of {plural(own_length, "iteration")} each',
        )


def check_state_dict(saved: Any, model: nn.Module) -> None:
    """The tensors of a network that has the names and shapes of this one.

    Raises:
        EntryError: One is no tensor, of another dtype, or out of its range.
    """
    if not isinstance(saved, dict):
        raise EntryError('state_dict', f'is {shown(saved)}, but must be a dict of tensors')
    own = model.state_dict()
    for key, value in saved.items():
        path = joined('state_dict', key)
        if not isinstance(value, Tensor):
            raise EntryError(path, f'is {shown(value)}, but must be a tensor')
        if key in own and own[key].shape == value.shape:
            # a squared norm or a count is not negative
            least = 0 if str(key).endswith(('running_var', 'num_batches_tracked')) else None
            check_entry(value, TensorOf(tuple(value.shape), own[key].dtype, least), path)


def check_optimizer(saved: Any, optimizer: Optimizer, path: str) -> None:
    """The state of an optimizer of the same kind and the same parameters.

    Options that only some releases of torch write may be missing, where they are None or False.

    Args:
        saved (Any): The entry.
        optimizer (Optimizer): This run's.
        path (str): The entry's name.

    Raises:
        EntryError: It is something else; the line names the entry.
    """
    state = Table(others=Table(others=Spec()))
    check_entry(saved, Table(dict(state=state, param_groups=Items(Spec()))), path)
    own = optimizer.state_dict()['param_groups']
    groups = f'{path}.param_groups'
    if len(saved['param_groups']) != len(own):
        raise EntryError(
            groups, f'has {plural(len(saved["param_groups"]), "group")}, but must have {len(own)}'
        )
    for index, (group, right) in enumerate(zip(saved['param_groups'], own, strict=True)):
        needs = {k: like(v) for k, v in right.items() if not _optional(v)}
        needs['params'] = Items(tuple(Whole(i, i) for i in right['params']))
        may = {key: Spec() for key in right if key not in needs}
        if isinstance(group, dict):
            may |= {key: Spec() for key, value in group.items() if _optional(value)}
        check_entry(group, Table(needs, may), f'{groups}[{index}]')
        for key in may:
            if key in group and not _optional(group[key]):
                raise EntryError(
                    f'{groups}[{index}].{key}', f'is {shown(group[key])}, but must be None or False'
                )
    parameters = {
        number: (param, index)
        for index, (group, live) in enumerate(zip(own, optimizer.param_groups, strict=True))
        for number, param in zip(group['params'], live['params'], strict=True)
    }
    templates = [_state_template(optimizer, group) for group in optimizer.param_groups]
    for number, entries in saved['state'].items():
        where = f'{path}.state[{number!r:.40}]'
        if type(number) is not int or number not in parameters:
            raise EntryError(where, f'is of no parameter: there are {len(parameters)}')
        param, index = parameters[number]
        check_entry(entries, _of_parameter(param, entries, templates[index]), where)


def _optional(value: Any) -> bool:
    return value is None or value is False


def _of_parameter(param: Tensor, entries: Mapping[str, Any], template: Any) -> Spec:
    """What the state of one parameter must be."""
    if template is None:  # an optimizer that cannot be tried: at least nothing of another shape
        shapes = (tuple(param.shape), ())
        needs = {}
        for key, value in entries.items():
            needs[key] = Spec()
            if isinstance(value, Tensor):
                shape = tuple(value.shape) if tuple(value.shape) in shapes else shapes[0]
                needs[key] = TensorOf(shape)
        return Table(needs)
    needs = {}
    for key, value in template.items():
        needs[key] = like(value)
        if isinstance(value, Tensor):
            shape = tuple(param.shape) if value.dim() else ()
            least = 0 if key in NOT_NEGATIVE else None
            most = LARGEST if key == 'step' else None
            needs[key] = TensorOf(shape, value.dtype, least, most)
    return Table(needs)


def _state_template(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the optimizer keeps of a parameter, found by a step of a small one.

    Returns:
        dict | None: None for an optimizer that does not take such a step.
    """
    device, dtype = group['params'][0].device, group['params'][0].dtype
    small = torch.zeros(1, 1, 1, 1, device=device, dtype=dtype, requires_grad=True)
    small.grad = torch.zeros_like(small)
    try:
        trial = copy.copy(optimizer)
        trial.state = defaultdict(dict)
        trial.param_groups = [dict(group, params=[small])]
        type(optimizer).step(trial)
    except Exception:  # an optimizer of whatever kind: then shapes alone are compared
        return None
    return dict(trial.state[small])


def check_schedulers(
    saved: Any, schedulers: Sequence[Any], epoch: int, iteration: int, path: str
) -> None:
    """The states of schedulers of the same kinds.

    Args:
        saved (Any): The entry.
        schedulers (Sequence): This run's.
        epoch (int): Epochs done.
        iteration (int): Iterations done.
        path (str): The entry's name.

    Raises:
        EntryError: They are something else; the line names the entry.
    """
    specs = []
    for scheduler in schedulers:
        own = scheduler.state_dict()
        needs = {key: like(value) for key, value in own.items()}
        done = epoch if own.get('by_epoch', True) else iteration
        if 'last_step' in own:
            needs['last_step'] = Whole(0, done)
        if '_global_step' in own:
            needs['_global_step'] = Whole(0, done + 1)
        specs.append(Table(needs))
    check_entry(saved, Items(tuple(specs)), path)


def check_loss_scaler(saved: Any, scaler: Any, path: str) -> None:
    """The state of a scaler of float16 losses.

    Raises:
        EntryError: It is something else; the line names the entry.
    """
    spec: Spec = Table(others=Spec())
    if scaler is not None and scaler.state_dict():
        spec = Table({key: like(value) for key, value in scaler.state_dict().items()})
    check_entry(saved, spec, path)


class _Buffer(Spec):
    what = 'the history of a logged value'

    def accepts(self, value: Any) -> bool:
        if (
            not isinstance(value, HistoryBuffer)
            or vars(value).keys() != vars(HistoryBuffer()).keys()
        ):
            return False
        arrays = (value._log_history, value._count_history)
        if not all(
            isinstance(a, np.ndarray) and a.ndim == 1 and a.dtype.kind in 'iuf' for a in arrays
        ):
            return False
        whole = type(value.max_length) is int and value.max_length > 0
        return whole and len(arrays[0]) == len(arrays[1])


def check_message_hub(saved: Any) -> None:
    """mmengine's message hub, as this package packs it or as mmengine does.

    Raises:
        EntryError: It is something else; the line names the entry.
    """
    info = dict(
        epoch=Whole(),
        iter=Whole(),
        max_epochs=Whole(1),
        max_iters=Whole(1),
        eta=Number(0),
        best_score=Maybe(Number(infinite=True)),
        best_ckpt=Maybe(Text()),
        last_ckpt=Maybe(Text()),
        loop_stage=Text(),
        seed=Whole(),
        cfg=Text(),
        experiment_name=Text(),
        mmengine_version=Text(),
    )
    packed = isinstance(saved, dict) and 'histories' in saved
    history: Spec = _Buffer()
    if packed:
        values = TensorOf(dtype=torch.float64, finite=False)
        counts = TensorOf(dtype=torch.float64, least=0)
        history = Items((values, counts, Whole(1)))
    needs = {
        'histories' if packed else 'log_scalars': Table(others=history),
        'runtime_info': Table(may=info, others=Plain() if packed else Spec()),
        'resumed_keys': Table(others=Flag()),
    }
    check_entry(saved, Table(needs), 'message_hub')
    if not packed:
        return
    for key, (values, counts, _) in saved['histories'].items():
        if values.dim() != 1 or values.shape != counts.shape:
            raise EntryError(
                joined('message_hub.histories', key),
                f'holds {list(values.shape)} values and {list(counts.shape)} counts',
            )
    for name in ('histories', 'runtime_info', 'resumed_keys'):
        for key in saved[name]:
            if not isinstance(key, str):
                raise EntryError(joined(f'message_hub.{name}', key), 'must be named by a text')


def check_random_state(state: Any, path: str) -> None:
    """Whether a state is one that :func:`set_random_state` takes.

    Args:
        state (Any): An entry of a checkpoint.
        path (str): Its name, for the error.

    Raises:
        EntryError: It is something else; the line names the entry.
    """
    word = Whole(0, 2**32 - 1)
    words = Items((word,) * 624 + (Whole(0, 624),))
    key = TensorOf((624,), torch.int64, 0, 2**32 - 1)
    cuda = TensorOf(dtype=torch.uint8)
    if torch.cuda.is_available():
        cuda = TensorOf(tuple(torch.cuda.get_rng_state().shape), torch.uint8)
    spec = Table(
        dict(
            python=Items((Whole(3, 3), words, Maybe(Number()))),
            numpy=Items((Text(('MT19937',)), key, Whole(0, 624), Whole(0, 1), Number())),
            torch=TensorOf(tuple(torch.get_rng_state().shape), torch.uint8),
            cuda=Items(cuda),
        )
    )
    check_entry(state, spec, path)
    try:
        torch.Generator().set_state(state['torch'].cpu())
    except RuntimeError:
        raise EntryError(f'{path}.torch', 'is no state of a generator') from None
