"""What goes on from one phase of a search to the next: masks, weights, optimizers, schedules."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Size, Tensor, nn
from torch.optim import Optimizer

from rdarts.architect.transitions import Beginning, Ended, Transition
from rdarts.errors import UserError
from rdarts.models.alpha import ALIVE, ALPHA, AlphaOwner, find_alpha_owner

Grown = Callable[[str, Tensor, Size], Tensor | None]


def hand_over(
    new: Beginning, last: Ended, transitions: Sequence[Transition], goes_on: Collection[str]
) -> Mapping[str, Any] | None:
    """Let a phase begin with what it takes over from the one before.

    The masks of candidates; ``weights`` and ``alpha``, where they go on and have the same shape;
    what transitions do; and the state of the ``optimizer`` of weights that go on.

    Args:
        new (Beginning): The phase that begins; what was decided is by the places of transitions.
        last (Ended): The phase before.
        transitions (Sequence[Transition]): Of the new phase, in turn.
        goes_on (Collection[str]): See ``continue_from_last``.

    Returns:
        Mapping | None: The entry ``arch`` of the phase before, where the state of alpha's optimizer
        goes on, too.

    Raises:
        UserError: The two phases do not fit each other.
    """
    for transition in transitions:
        missing = [name for name in transition.needs if name not in goes_on]
        if missing:
            raise UserError(
                f"{type(transition).__name__} needs continue_from_last=['{missing[0]}']: without "
                'that, nothing is there that it could change'
            )
    keep_masks(new.owner, last.owner)

    def grown(key: str, value: Tensor, shape: Size) -> Tensor | None:
        given = (one.grown(key, value, shape) for one in transitions)
        found = next((one for one in given if one is not None), None)
        if found is not None and found.shape != shape:
            raise UserError(
                f"a transition makes '{key}' {list(found.shape)}, but the phase that begins has "
                f'{list(shape)}'
            )
        own = 'alpha' if is_alpha(key) else 'weights'
        if found is None and own in goes_on and value.shape == shape:
            found = value
        return found

    _copy_weights(new.model, last.model, grown)
    for index, transition in enumerate(transitions):
        transition(replace(new, decided=new.decided.setdefault(str(index), {})), last)
    if 'optimizer' not in goes_on or new.optim_wrapper is None:
        return None
    if 'weights' in goes_on:
        _carry_optimizer(new, last, grown)
    return last.state.get('arch') if 'alpha' in goes_on else None


def keep_masks(new: AlphaOwner, last: AlphaOwner) -> None:
    """Prune in a network what was pruned in the one of the phase before.

    Raises:
        UserError: They search different spaces.
    """
    if new.space.cells != last.space.cells:
        raise UserError(
            f"it searches '{new.space.name}'{_size(new)}, the phase before "
            f"'{last.space.name}'{_size(last)}: phases keep the space; candidates are dropped by a "
            'transition, such as rdarts.KeepTopOps'
        )
    for cell, edges in last.alive.items():
        for edge, (flags, candidates) in enumerate(
            zip(edges, (e.candidates for e in last.space.cells[cell].edges), strict=True)
        ):
            dead = [name for name, alive in zip(candidates, flags, strict=True) if not alive]
            if not any(flags):
                new.drop_edge(cell, edge)
            elif dead:
                new.prune(cell, edge, dead)


def _size(owner: AlphaOwner) -> str:
    edges = sum(len(topology.edges) for topology in owner.space.cells.values())
    return f' of {edges} edges'


def is_alpha(key: str) -> bool:
    """Whether a key of a state dict is of alpha."""
    return ALPHA in key.split('.')


def _copy_weights(new: nn.Module, last: nn.Module, grown: Grown) -> None:
    own = new.state_dict()  # which shares its memory with the network
    for key, value in last.state_dict().items():
        if key not in own or ALIVE in key.split('.'):
            continue
        found = grown(key, value, own[key].shape)
        if found is not None:
            own[key].copy_(found)


def names_of(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """The names of an optimizer's parameters in the order in which its state counts them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group['params']]


def _carry_optimizer(new: Beginning, last: Ended, grown: Grown) -> None:
    before = build_optim_wrapper(last.model, last.cfg.optim_wrapper)
    for wrapper in (before, new.optim_wrapper):
        if not isinstance(wrapper, OptimWrapper):
            raise UserError("'optimizer' goes on where there is one optimizer of the weights alone")
    saved = last.state['optimizer']['state']
    numbers = {name: i for i, name in enumerate(names_of(before.optimizer, last.model))}
    old, own = (dict(model.named_parameters()) for model in (last.model, new.model))
    optimizer = new.optim_wrapper.optimizer
    state = {}
    for number, name in enumerate(names_of(optimizer, new.model)):
        entries = saved.get(numbers.get(name))
        if entries is None:
            continue
        found = {
            key: grown(name, value, own[name].shape)
            if isinstance(value, Tensor) and value.shape == old[name].shape
            else value
            for key, value in entries.items()
        }
        if all(value is not None for key, value in found.items() if entries[key] is not None):
            state[number] = found
    _load(optimizer, state)


def take_over(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Let an optimizer go on with the state of another one of parameters of the same shapes.

    Its options (rates, betas, decay) stay its own; a parameter whose state has another shape begins
    anew.

    Args:
        optimizer (Optimizer): The new one.
        saved (Mapping): The state dict of the other one.
    """
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    state = {
        number: entries
        for number, entries in saved['state'].items()
        if number < len(parameters)
        and all(
            not isinstance(value, Tensor) or value.dim() == 0 or value.shape == parameter.shape
            for parameter in [parameters[number]]
            for value in entries.values()
        )
    }
    _load(optimizer, state)


def _load(optimizer: Optimizer, state: Mapping[int, Mapping[str, Any]]) -> None:
    groups = optimizer.state_dict()['param_groups']
    optimizer.load_state_dict(dict(state=dict(state), param_groups=groups))


def replay(schedulers: Sequence[Any], epochs: int, iterations: int) -> None:
    """Let schedules of learning rates stand where they would after so many epochs.

    Args:
        schedulers (Sequence): New ones, in the order in which they step.
        epochs, iterations (int): That were done.
    """
    by_iteration = [one for one in schedulers if not one.by_epoch]
    by_epoch = [one for one in schedulers if one.by_epoch]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Detected call of `scheduler.step')
        for epoch in range(max(epochs, 1 if iterations else 0)):
            share = range(
                math.ceil(epoch * iterations / max(epochs, 1)),
                math.ceil((epoch + 1) * iterations / max(epochs, 1)),
            )
            for _ in share if by_iteration else ():
                for scheduler in by_iteration:
                    scheduler.step()
            if epochs:
                for scheduler in by_epoch:
                    scheduler.step()


def network_of(cfg: Any, device: torch.device | str = 'cpu') -> nn.Module:
    """The network of a config, built as a runner does, in a mode of evaluation and frozen.

    Args:
        cfg (Config): Of a phase.
        device (device | str): Where it lies. Defaults to the CPU.
    """
    from mmengine.registry import MODELS, DefaultScope

    model = copy.deepcopy(dict(cfg.model))  # a classifier writes into what it is built of
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        network = MODELS.build(model)
    find_alpha_owner(network)  # a phase of a search has alpha
    return network.to(device).eval().requires_grad_(False)
