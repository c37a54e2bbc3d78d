"""The supernet that a search asks about: trained in the phase before, or in another search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.engine.going_on import network_of
from rdarts.errors import UserError
from rdarts.hooks.execution import KEY
from rdarts.models.alpha import find_alpha_owner
from rdarts.models.backbones.base_supernet import SUPERNET_EXECUTIONS
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


def inherited_supernet(
    cfg: Config | None, space: SearchSpace, device: torch.device | str
) -> nn.Module:
    """The model of a config with the weights of the checkpoint that its ``supernet`` names.

    It runs by the execution that the checkpoint's run had chosen, if the config leaves it open.

    Args:
        cfg (Config): Of the search.
        space (SearchSpace): What is searched.
        device (device | str): Where the model lies.

    Returns:
        nn.Module: In evaluation mode, its weights frozen.

    Raises:
        UserError: There is no checkpoint, it is of another network or space, or some of its
            candidates were pruned.
    """
    path = path_of_supernet(cfg)
    network = network_of(cfg, device)
    owner = find_alpha_owner(network)
    if owner.space.cells != space.cells:
        raise UserError(
            f"supernet {path} is of the space '{owner.space.name}', but '{space.name}' is searched"
        )
    state = read_checkpoint(path, map_location=str(device))
    load_weights(network, state, path)
    if owner.ways.pruned:
        raise UserError(
            f'supernet {path}: candidates of it were pruned, so that it has not all networks of '
            f"'{space.name}': take one that has all candidates"
        )
    if getattr(owner, 'execution', None) == 'auto' and state.get(KEY) in SUPERNET_EXECUTIONS:
        owner.execution = state[KEY]
    return network


def path_of_supernet(cfg: Config | None) -> Path:
    """The checkpoint that a config names.

    Raises:
        UserError: It names none, or there is no such file.
    """
    given = (cfg or {}).get('supernet')
    if given is None:
        raise UserError(
            'there is no supernet whose weights could be inherited: search in phases, the first of '
            'which trains one, give init=FOLDER for that, or supernet=FILE, a checkpoint'
        )
    path = Path(given)
    if not path.is_file():
        raise UserError(f'supernet: no checkpoint {path}')
    return path
