"""One process of the test of sampled paths on several ranks, importable by a process of its own."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel
from test_architect.test_path_training import make


def path_worker() -> dict[str, Any]:
    """Steps of a rank on images of its own, and the sum of the paths' gradients by itself."""
    rank = torch.distributed.get_rank()
    model, architect, batch = make('FairPaths')
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
    own = {name: value[rank::2] for name, value in batch.items()}
    relaxation = model.backbone.relaxation
    draws = relaxation.draws(model.backbone.space)
    relaxation.draws = lambda space: draws
    grads = [torch.zeros_like(p) for p in model.parameters()]
    for draw in draws:
        with model.backbone.mixed_by(draw):
            loss = model(**own)['loss']
        for total, grad in zip(
            grads,
            torch.autograd.grad(loss, list(model.parameters()), allow_unused=True),
            strict=True,
        ):
            total += 0 if grad is None else grad
    seen: list[torch.Tensor] = []
    step = architect.optim_wrapper.step
    architect.optim_wrapper.step = lambda: (
        seen.extend(p.grad.clone() for p in model.parameters()),
        step(),
    )
    architect.train_step(wrapped, own)
    return dict(
        own=[grad.tolist() for grad in grads],
        seen=[grad.tolist() for grad in seen],
        weights=[p.tolist() for p in model.parameters()],
    )
