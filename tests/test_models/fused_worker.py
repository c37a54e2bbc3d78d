"""One process of the test of fused under DDP, importable by a process of its own."""

from __future__ import annotations

import torch
from torch.nn.parallel import DistributedDataParallel

from rdarts.models.backbones import NASBench201Supernet
from rdarts.models.kernels import use_backend


def build_net() -> tuple[NASBench201Supernet, torch.Tensor]:
    """A supernet in float64 with alpha open, and the batch of two ranks."""
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=8, cells_per_stage=1, alpha_std=1.0).double()
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_()
    return net, torch.randn(6, 3, 8, 8, dtype=torch.float64)


def gradients(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Of a loss whose gradient is no constant, for every parameter."""
    net.zero_grad()
    net(x)[0].sin().mean().backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def ddp_worker(backend: str) -> list[list[float]]:
    """The gradients of this rank's half of the batch, after DDP has averaged them."""
    net, x = build_net()
    wrapped = DistributedDataParallel(net)
    with use_backend(backend):
        found = gradients(wrapped, x.chunk(2)[torch.distributed.get_rank()])
    return [grad.tolist() for grad in found]
