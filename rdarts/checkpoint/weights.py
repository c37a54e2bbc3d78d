"""Weights from a checkpoint into a network: whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from rdarts.checkpoint.reading import read_named
from rdarts.errors import UserError

HEADS = ('head.', 'bbox_head.', 'roi_head.', 'mask_head.', 'decode_head.')


def first_difference(
    saved: Mapping[str, Tensor], own: Mapping[str, Tensor], optional: Collection[str] = ()
) -> str | None:
    """The first tensor that is in one state dict alone, or has another shape in the other.

    Args:
        saved, own (dict[str, Tensor]): The state dicts.
        optional (Collection[str]): What may be in one alone. Defaults to none.
    """
    for key in [*own, *saved]:
        if key in optional:
            continue
        if key not in saved or key not in own or saved[key].shape != own[key].shape:
            return key
    return None


def optional_state(model: nn.Module) -> set[str]:
    """The keys of a state dict that modules, by an ``optional_state``, say may be missing."""
    return {
        f'{name}.{key}' if name else key
        for name, module in model.named_modules()
        for key in getattr(module, 'optional_state', ())
    }


def load_weights(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    name: str | os.PathLike,
    new_head: bool = False,
    prefix: str = '',
) -> None:
    """Load the weights of a checkpoint, whole or not at all.

    What belongs to an auxiliary head is left out where the model has none.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): What :func:`read_checkpoint` gave: with a ``state_dict``, or one itself.
        name (str | PathLike): The file, for the error.
        new_head (bool): Whether the model's heads keep the weights that they have. Defaults to
            False.
        prefix (str): Of the checkpoint's keys that are the model's, such as ``'backbone.'``;
            others are left out. Defaults to none.

    Raises:
        UserError: A tensor is missing, too many or of another shape; the line names the first.
    """
    state = checkpoint.get('state_dict', checkpoint)
    state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    if prefix:
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not state:
            raise UserError(f"{name}: no weights of a '{prefix.rstrip('.')}' are in it")
    own = model.state_dict()
    state = {
        key: value
        for key, value in state.items()
        if key in own or not re.search(r'(?:^|\.)auxiliary\.', key)
    }
    if new_head:
        state = {key: value for key, value in state.items() if not key.startswith(HEADS)}
        state.update({key: value for key, value in own.items() if key.startswith(HEADS)})
    key = first_difference(state, own, optional_state(model))
    if key is not None:
        if key not in state:
            problem = f"it lacks '{key}'"
        elif key not in own:
            problem = f"its '{key}' is not in this network"
        else:
            problem = (
                f"its '{key}' is {list(state[key].shape)}, but {list(own[key].shape)} is needed"
            )
        hint = 'use the config and genotype that it was made with'
        if key.startswith(HEADS):
            hint = '--new-head loads all but the head, for other classes'
        raise UserError(f'checkpoint {name} does not fit this network: {problem}; {hint}')
    model.load_state_dict(state)


def load_backbone(
    backbone: nn.Module, filename: str | os.PathLike, prefix: str | None = None
) -> None:
    """Load what ``init_cfg=dict(type='Pretrained', checkpoint=...)`` names.

    Args:
        backbone (nn.Module): The network.
        filename (str | PathLike): A file or a URL.
        prefix (str, optional): Of the keys that are the network's. Defaults to ``'backbone'``
            where there are such keys, else to none.

    Raises:
        UserError: It cannot be read, or is of another network.
    """
    if not filename:
        raise UserError("init_cfg: type='Pretrained' needs a checkpoint")
    checkpoint = read_named(filename)
    if prefix is None:
        keys = [
            str(key).removeprefix('module.') for key in checkpoint.get('state_dict', checkpoint)
        ]
        prefix = 'backbone' if any(key.startswith('backbone.') for key in keys) else ''
    load_weights(backbone, checkpoint, filename, prefix=f'{prefix.rstrip(".")}.' if prefix else '')
    print_log(f'Loaded {type(backbone).__name__} from {filename}', logger='current')
