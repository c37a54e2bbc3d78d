"""The weight optimizer: what it may touch, how it steps and clips, bfloat16 without a scaler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn
from torch.optim import Optimizer

from rdarts.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from rdarts.utils.wrapped import unwrapped


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SearchOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor for the weights alone: alpha is not among its parameters.

    So no weight decay, gradient clip or learning rate of the weights ever reaches alpha.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of a model's weights."""
        model = unwrapped(model)
        optimizer_cfg = copy.deepcopy(self.optimizer_cfg)
        if self.paramwise_cfg:
            params: list[dict] = []
            self.add_params(params, model)
            optimizer_cfg['params'] = params
        else:
            alpha = {id(p) for m in model.modules() for p in _alpha_of(m)}
            optimizer_cfg['params'] = [p for p in model.parameters() if id(p) not in alpha]
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        wrapper_cfg = copy.deepcopy(self.optim_wrapper_cfg)
        wrapper_cfg.setdefault('type', 'OptimWrapper')
        return MMENGINE_OPTIM_WRAPPERS.build(wrapper_cfg, default_args=dict(optimizer=optimizer))

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs):
        """See mmengine; the parameters of alpha are passed over."""
        if prefix.rpartition('.')[2] == 'arch_parameters':
            return
        super().add_params(params, module, prefix, **kwargs)


def _alpha_of(module: nn.Module) -> Iterator[nn.Parameter]:
    alpha = getattr(module, 'arch_parameters', None)
    return iter(alpha.values()) if isinstance(alpha, nn.ParameterDict) else iter(())


def step_together(optimizer: Optimizer) -> None:
    """Have an optimizer step its parameters by a few calls of PyTorch, not by some for each.

    PyTorch does so by itself on a GPU alone. The numbers of its optimizers are the same, bit by
    bit, and so is the state dict. One that knows no such way (``foreach``), or whose config says
    how it steps, stays as it is.

    Args:
        optimizer (Optimizer): Of the weights.
    """
    for group in optimizer.param_groups:
        if group.get('foreach', False) is not None:
            return
        if group.get('fused') or group.get('differentiable'):
            return
    _set_together(optimizer)
    optimizer.register_state_dict_post_hook(_leave_out)
    optimizer.register_load_state_dict_post_hook(_set_together)


def _set_together(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        group['foreach'] = True


def _leave_out(optimizer: Optimizer, state: dict[str, Any]) -> None:
    for group in state['param_groups']:
        group['foreach'] = None


class NotedClip:
    """Clips gradients and keeps their norm where it is, on the device.

    mmengine logs what the wrapper's ``clip_func`` gives as a number, for which each step would wait
    between its backward pass and the optimizer.

    Args:
        clip (Callable): What clips, such as ``torch.nn.utils.clip_grad_norm_``.

    Attributes:
        norm (Tensor | None): What it gave since it was last taken.
    """

    def __init__(self, clip: Callable[..., Tensor | None]) -> None:
        self.clip = clip
        self.norm: Tensor | None = None

    def __call__(self, parameters: Sequence[nn.Parameter], **kwargs: Any) -> None:
        """Clip; mmengine logs nothing for None."""
        self.norm = self.clip(parameters, **kwargs)


def wrappers_of(wrapper: OptimWrapper | OptimWrapperDict) -> list[OptimWrapper]:
    """The wrappers of a model's weights: one, or those of a dict of them."""
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def note_norms(wrapper: OptimWrapper | OptimWrapperDict) -> None:
    """Have a wrapper keep the norms of gradients for :func:`take_norms`.

    Args:
        wrapper (OptimWrapper | OptimWrapperDict): Of the weights; one that does not clip, or clips
            in a way of its own, stays as it is, and so does one that keeps them already.
    """
    for one in wrappers_of(wrapper):
        own = getattr(type(one), '_clip_grad', None)
        clips = own is OptimWrapper._clip_grad and one.clip_grad_kwargs
        if clips and not isinstance(one.clip_func, NotedClip):
            one.clip_func = NotedClip(one.clip_func)


def take_norms(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Tensor]:
    """The norm of the gradients of the last step by its name in the log; empty without one.

    Args:
        wrapper (OptimWrapper | OptimWrapperDict): Of the weights. Where two of a dict have one name
            in the log, it is the last one's norm, as mmengine's log has it.
    """
    found: dict[str, Tensor] = {}
    for one in wrappers_of(wrapper):
        clip = getattr(one, 'clip_func', None)
        if isinstance(clip, NotedClip) and clip.norm is not None:
            found[f'train/{one.grad_name}'], clip.norm = clip.norm, None
    return found


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 on any device, without loss scaling.

    mmengine's ``AmpOptimWrapper`` insists on a GPU. Weights and alpha stay in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, besides what the base class does."""
        device = get_device()
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
