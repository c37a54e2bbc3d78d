"""NASWOT: how differently a network's ReLUs answer the images of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.relus import codes_of, watch_relus


@SCORES.register_module()
class NASWOT(Score):
    r"""The log-determinant of the kernel of activation codes (https://arxiv.org/abs/2006.04647).

    .. math:: \log\left|\det K\right|,\quad K_{ij} = N_A - d_H(c_i, c_j)

    where c_i says which of the N_A ReLUs of the network image i makes active (their inputs are
    above 0), and d_H counts those in which two images differ. Of the batch's images alone: labels
    have no say. It is -inf where two images have the same code. Published with 128 images, which
    are not augmented, and PyTorch's own initial weights.

    Published code also counts layers whose class has "ReLU" in its name, such as the ReLU,
    convolution and batch norm of a NAS-Bench-201 edge: there each ReLU but the last counts twice
    (``twice``).

    Args:
        twice (bool): Whether every ReLU but the last one counts twice. Defaults to False.
    """

    def __init__(self, twice: bool = False) -> None:
        self.twice = twice

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`watch_relus`.
        """
        found: list[tuple[int, Tensor]] = []
        images = batches[0].images
        watch_relus(candidate.network, images, lambda x: found.append(_active(codes_of(x))))
        if self.twice:
            found += found[:-1]
        neurons = sum(count for count, _ in found)
        both = torch.stack([one for _, one in found]).sum(0, dtype=torch.float64)
        active = both.diagonal()
        kernel = neurons - active - active[:, None] + 2 * both
        alike = (kernel == kernel[0, 0]).sum() > len(images)
        # by rounding, the determinant need not be exactly 0 there
        return float(torch.where(alike, -math.inf, torch.linalg.slogdet(kernel).logabsdet))


def _active(codes: Tensor) -> tuple[int, Tensor]:
    """How many neurons there are, and how many of them two images make active, [N, N]."""
    with torch.autocast(codes.device.type, enabled=False):
        return codes.shape[1], codes @ codes.T  # float32 counts to 16.7 million exactly
