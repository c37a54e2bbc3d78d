"""How a network does on images, as it is now: the score of a selection's trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rdarts.utils.random_state import iterate, preserve_random_state

STATISTICS = ('running_mean', 'running_var')


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Within, batch norms in evaluation normalise by the statistics of their batch.

    Their running statistics are set aside, so that nothing is added to them.
    """
    found = [m for m in model.modules() if m._buffers.get('running_mean') is not None]
    aside = [{name: module._buffers[name] for name in STATISTICS} for module in found]
    for module in found:
        module._buffers.update(dict.fromkeys(STATISTICS))
    try:
        yield
    finally:
        for module, buffers in zip(found, aside, strict=True):
            module._buffers.update(buffers)


def score(
    model: nn.Module,
    loader: DataLoader,
    criterion: str,
    between: Callable[[], Any],
    fp16: bool = False,
) -> float:
    """Accuracy or loss of a network in the mode of evaluation, over the images of all ranks.

    What is counted stays on the device until the end. The generators of the process are left as
    they were, so that each trial draws alike (the noise of S4).

    Args:
        model (Module): A classifier of mmpretrain, without a wrapper.
        loader (DataLoader): The same batches each time. An image that a sampler repeats so that
            ranks have equally many counts as often.
        criterion (str): ``'accuracy'`` in %, or ``'loss'`` in nats: the head's, the mean over
            images.
        between (Callable): Is called before each batch.
        fp16 (bool): Whether it runs in float16, as ``val_cfg.fp16`` says it of a validation.
            Defaults to False.
    """
    found = torch.zeros(2, dtype=torch.float64, device=next(model.parameters()).device)
    with torch.no_grad(), preserve_random_state():
        for batch in iterate(loader):
            between()
            data = model.data_preprocessor(batch, False)
            labels = torch.cat([sample.gt_label for sample in data['data_samples']])
            with autocast(enabled=fp16):
                found[0] += _sum(model, data, labels, criterion)
            found[1] += len(labels)
    all_reduce(found)
    total, count = found.tolist()
    return (100 if criterion == 'accuracy' else 1) * total / count


def _sum(model: nn.Module, data: dict[str, Any], labels: Tensor, criterion: str) -> Tensor:
    """Of a batch, how many images are classified right, or the loss of all of them."""
    if criterion == 'accuracy':
        return (model(**data, mode='tensor').argmax(1) == labels).sum()
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    return loss * len(labels)
