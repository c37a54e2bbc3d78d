"""SWAP: how many different answers a network's ReLUs give to the images of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import AboveZero
from rdarts.errors import UserError
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.relus import codes_of, watch_relus

WORD = 24  # images whose answers a float32 counts exactly
TABLE = 20  # images whose patterns are few enough for a table of all of them


@SCORES.register_module()
class SWAP(Score):
    r"""Sample-wise activation patterns (https://arxiv.org/abs/2403.04161).

    .. math:: \Psi = \left|\{(1[a_{1v} > 0], \dots, 1[a_{Nv} > 0]) : v\}\right|

    the number of different patterns that the neurons v of all ReLUs over feature maps have over
    the N images of a batch; labels have no say. It is at most 2^N: with 8 images it is 256 for
    almost any network, and 16 or more tell networks apart. Regularised, it is

    .. math:: \Psi \exp(-(P - \mu)^2 / \sigma)

    for P thousand parameters, those of an auxiliary head left out. The paper's mu and sigma differ
    from space to space.

    Published with weights of N(0, 1) (:meth:`initialise`), 16 images, and as the mean over 32 such
    starts.

    Args:
        mu (float, optional): Thousands of parameters that are preferred. Defaults to none: it is
            not regularised.
        sigma (float, optional): How much others lose, in squared thousands; with ``mu``, or
            without it neither. Defaults to none.

    Raises:
        UserError: One of both is missing, or sigma is not above 0.
    """

    def __init__(self, mu: float | None = None, sigma: AboveZero | None = None) -> None:
        if (mu is None) != (sigma is None):
            raise UserError(f'SWAP takes mu and sigma together, but got mu={mu}, sigma={sigma}')
        if sigma is not None and not sigma > 0:
            raise UserError(f'sigma of SWAP must be above 0, but is {sigma!r}')
        self.mu, self.sigma = mu, sigma

    def initialise(self, network: nn.Module) -> None:
        """See :meth:`Score.initialise`: weights of N(0, 1), biases 0, batch norms 1 and 0."""
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.ones_(module.weight)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`watch_relus`.
        """
        words: list[Tensor] = []

        def take(x: Tensor) -> None:
            if x.dim() == 4:
                words.append(_words(codes_of(x)))

        watch_relus(candidate.network, batches[0].images, take)
        count = len(batches[0].images)
        score = float(_count_distinct(torch.cat(words, 1), count)) if words else 0.0
        if self.mu is None:
            return score
        named = candidate.network.named_parameters()
        size = sum(weight.numel() for name, weight in named if 'auxiliary' not in name)
        return score * math.exp(-((size / 1000 - self.mu) ** 2) / self.sigma)


def _words(codes: Tensor) -> Tensor:
    """Patterns [N, neurons] of bits in words [ceil(N / 24), neurons]."""
    words = []
    with torch.autocast(codes.device.type, enabled=False):
        for rows in codes.split(WORD):
            places = 2.0 ** torch.arange(len(rows), device=codes.device)
            words.append((places.to(codes.dtype) @ rows).long())
    return torch.stack(words)


def _count_distinct(words: Tensor, images: int) -> int:
    """How many columns differ, of patterns over so many images."""
    if images <= TABLE:
        seen = torch.zeros(2**images, dtype=torch.bool, device=words.device)
        return int(seen.index_fill_(0, words[0], True).sum())
    # the number of each pattern among those of the words so far
    numbers = words[0]
    for word in words[1:]:
        _, before = numbers.unique(return_inverse=True)
        found, here = word.unique(return_inverse=True)
        numbers = before * len(found) + here
    return len(numbers.unique())
