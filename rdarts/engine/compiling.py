"""``torch.compile`` in a run: of the backbone, which every step and validation goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.utils.logging import tell_once
from rdarts.utils.wrapped import unwrapped

if TYPE_CHECKING:
    from rdarts.architect.architect import Architect

GRAPHS = 'reduce-overhead'  # the mode that records CUDA graphs, and does nothing else
_MODES = (GRAPHS, 'max-autotune')  # all that do
_OPTION, _BACKEND = 'triton.cudagraphs', 'cudagraphs'


def graphs_of(given: bool | Mapping[str, Any] | None) -> str | None:
    """What of a config's ``compile`` asks for CUDA graphs, in words; None where nothing does."""
    if not isinstance(given, Mapping):
        return None
    if given.get('mode') in _MODES:
        option = ' (--cuda-graph)' if given['mode'] == GRAPHS else ''
        return f"compile.mode='{given['mode']}'{option}"
    if (given.get('options') or {}).get(_OPTION):
        return f"compile.options['{_OPTION}']"
    return f"compile.backend='{_BACKEND}'" if given.get('backend') == _BACKEND else None


def check_architect(given: bool | Mapping[str, Any] | None, architect: Architect) -> None:
    """An architect must go with what a config says of ``compile``.

    Raises:
        UserError: It asks for CUDA graphs, which write over what the architect needs.
    """
    graphs = graphs_of(given)
    if graphs and architect.keeps_passes:
        raise UserError(
            f'{graphs}: {type(architect).__name__} may need what a pass through the network gave '
            "after the next one's graph has written over it: leave it out"
        )


def check_compile(given: bool | Mapping[str, Any] | None, accumulated: int = 1) -> None:
    """What a config says of ``compile`` must be possible on this machine.

    Args:
        given (bool | dict, optional): Whether to, or the arguments of ``torch.compile``.
        accumulated (int): Batches whose gradients the optimizer wrapper adds up. Defaults to 1.

    Raises:
        UserError: It asks for CUDA graphs, and there is no GPU or gradients are added up.
    """
    graphs = graphs_of(given)
    if not graphs:
        return
    if not torch.cuda.is_available():
        raise UserError(f'{graphs} records CUDA graphs, which needs a GPU: leave it out')
    if accumulated > 1:
        # https://github.com/pytorch/pytorch/issues/169545
        raise UserError(
            f"{graphs}: the next batch's graph writes over the gradients that "
            f'optim_wrapper.accumulative_counts={accumulated} adds up: leave out one of the two'
        )


def compile_backbone(model: nn.Module, given: bool | Mapping[str, Any] | None) -> None:
    """Compile the backbone of a model at its next call; its state dict stays as it is.

    Args:
        model (Module): The model, wrapped or not.
        given (bool | dict, optional): Whether to, or the arguments of ``torch.compile``.

    Raises:
        UserError: There is no backbone, its relaxation draws which candidates run, or its cells are
            computed anew in the backward pass.
    """
    if not given:
        return
    backbone = getattr(unwrapped(model), 'backbone', None)
    if not isinstance(backbone, nn.Module):
        raise UserError('compile: the model has no backbone, which is what is compiled')
    if isinstance(backbone, AlphaOwner) and backbone.relaxation.sampled:
        raise UserError(
            f'compile: {type(backbone.relaxation).__name__} draws which candidates run, and each '
            'draw would be compiled anew: leave it out'
        )
    if getattr(backbone, 'checkpoint', False):
        raise UserError(
            'compile: model.backbone.checkpoint=True computes cells anew in the backward pass, '
            'which is not compiled: leave out one of the two'
        )
    if isinstance(backbone, DerivedNet) and backbone.execution != 'plain':
        tell_once(
            f'execution {backbone.execution}: {type(backbone).__name__} runs plain where it is '
            'compiled'
        )
    backbone.compile(**(dict(given) if isinstance(given, Mapping) else {}))
