"""Measured seconds of a forward pass, as a score of network and machine."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence

import torch

from rdarts.configuration.declarations import Count, Positive
from rdarts.errors import UserError
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.utils.evaluating import evaluating


@SCORES.register_module()
class Latency(Score):
    """Minus the seconds of a forward pass: the median of some, in evaluation mode.

    Negative, so that larger is better, as of every score. It is of this machine, its threads and
    its load, and differs from run to run. Images are random and of the size of the batch's; they
    are drawn from no generator of the search.

    Args:
        batch_size (int): Images of a pass. Defaults to 1.
        device (str, optional): Such as ``'cpu'`` or ``'cuda'``, where a copy of the network runs.
            Defaults to that of the batch.
        repeats (int): Passes that are measured. Defaults to 20.
        warmup (int): Passes before them. Defaults to 3.

    Raises:
        UserError: A number is below 1, or ``warmup`` below 0.
    """

    def __init__(
        self,
        batch_size: Positive = 1,
        device: str | None = None,
        repeats: Positive = 20,
        warmup: Count = 3,
    ) -> None:
        if min(batch_size, repeats) < 1 or warmup < 0:
            raise UserError(
                'Latency needs batch_size and repeats of 1 or more and warmup of 0 or more, but '
                f'got {batch_size}, {repeats} and {warmup}'
            )
        self.batch_size, self.device = batch_size, device
        self.repeats, self.warmup = repeats, warmup

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: There is no such device.
        """
        given = batches[0].images
        network, device = candidate.network, given.device
        if self.device is not None:
            try:
                device = torch.device(self.device)
                network = copy.deepcopy(network).to(device)
            except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
                line = str(error).partition('\n')[0]
                raise UserError(f'device {self.device!r} of Latency: {line}') from None
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch_size, *given.shape[1:], generator=generator)
        images = images.to(device, given.dtype)
        seconds = []
        with torch.no_grad(), evaluating(network):
            for _ in range(self.warmup + self.repeats):
                begin = _now(device)
                network(images)
                seconds.append(_now(device) - begin)
        return -statistics.median(seconds[self.warmup :])


def _now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()
