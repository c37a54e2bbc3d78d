"""The ReLUs of a network, whatever they are written as."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.sampling.scores.gradients import logits_of

# Layers call one of these too. A ReLU6 is active where a ReLU is
FUNCTIONS = {F.relu, F.relu6, F.hardtanh, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}


def _is_relu(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether one of the functions is called as a ReLU."""
    if func is F.hardtanh:  # what the layer of ReLU6 calls
        return (args[1] if len(args) > 1 else kwargs.get('min_val', -1)) == 0
    return True


class _Watch(TorchFunctionMode):
    """Hands on what goes into each ReLU."""

    def __init__(self, take: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.take, self.seen = take, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # asked of all that a forward calls, hundreds of times a cell
        if func in FUNCTIONS and _is_relu(func, args, kwargs):
            self.seen += 1
            self.take(args[0] if args else kwargs['input'])
        return func(*args, **kwargs)


def watch_relus(network: nn.Module, images: Tensor, take: Callable[[Tensor], None]) -> None:
    """Hand on the input of each ReLU of one forward pass, in the order in which they run.

    ReLUs that are functions count as those that are layers do, each time that they run. What a
    compiled or fused network computes in one piece is not seen: networks are scored as they are
    derived.

    Args:
        network (Module): Any that takes the images.
        images (Tensor): [N, C, H, W].
        take (Callable): Given what goes into a ReLU, [N, ...], before it runs.

    Raises:
        UserError: No ReLU ran, or the network is a supernet; or see :func:`logits_of`.
    """
    if any(isinstance(module, AlphaOwner) for module in network.modules()):
        raise UserError(
            f'{type(network).__name__} is a supernet, which need not compute its ReLUs one by one: '
            'a score that counts them needs a derived network'
        )
    with torch.no_grad(), _Watch(take) as watch:
        logits_of(network, images)
    if not watch.seen:
        raise UserError(
            f'{type(network).__name__} has no ReLU, but its score counts which of them are active: '
            'take a score of gradients, such as ZiCo'
        )


def codes_of(x: Tensor) -> Tensor:
    """1 where a ReLU is active, else 0, of what goes into it.

    Args:
        x (Tensor): [N, ...].

    Returns:
        Tensor: [N, neurons] in float32, the neurons in the order in which they lie in memory.
    """
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)  # then flat without a copy
    x = x.flatten(1)
    return torch.gt(x, 0, out=torch.empty(x.shape, dtype=torch.float32, device=x.device))
