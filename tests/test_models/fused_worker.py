"""One process of the test of fused under DDP, importable by a process of its own."""

from __future__ import annotations

import torch
from mmengine.registry import MODEL_WRAPPERS

from rdarts.cli import OF_CPU_RANKS
from rdarts.models.backbones import NASBench201Supernet
from rdarts.models.kernels import use_backend


def build_net() -> tuple[NASBench201Supernet, torch.Tensor]:
    """A supernet in float64 with alpha open, and the batch of two ranks.

    Its gradients, 3 MB, are more than the first message that DDP sends by default.
    """
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=16, cells_per_stage=1, alpha_std=1.0).double()
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_()
    return net, torch.randn(6, 3, 8, 8, dtype=torch.float64)


def gradients(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Of a loss whose gradient is no constant, for every parameter."""
    net.zero_grad()
    net(x)[0].sin().mean().backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def ddp_worker(backend: str) -> tuple[list[list[float]], int]:
    """The gradients of this rank's half of the batch, after DDP has averaged them.

    Twice, as DDP sorts its messages anew after the first time; and in how many pieces of memory
    they lie.
    """
    net, x = build_net()
    wrapped = MODEL_WRAPPERS.build(dict(OF_CPU_RANKS, module=net))
    with use_backend(backend):
        for _ in range(2):
            found = gradients(wrapped, x.chunk(2)[torch.distributed.get_rank()])
    pieces = {parameter.grad.untyped_storage().data_ptr() for parameter in net.parameters()}
    return [grad.tolist() for grad in found], len(pieces)
