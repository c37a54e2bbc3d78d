"""What every training-free score is: a number of a network that nobody has trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.genotypes import Genotype


@dataclass(frozen=True)
class Batch:
    """Images and labels.

    Args:
        images (Tensor): [N, C, H, W], normalised.
        labels (Tensor): [N], int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Candidate:
    """A network that is scored.

    Args:
        network (Module): From images to logits [N, classes], as it starts: a score may change its
            gradients and running statistics, and leaves its weights as they were.
        genotype (Genotype, optional): What it derives from. Defaults to none.
        start (Mapping[str, Tensor], optional): In a supernet that was trained, the weights that it
            started from, by their keys. Defaults to none.
    """

    network: nn.Module
    genotype: Genotype | None = None
    start: Mapping[str, Tensor] | None = None


class Score:
    """From a candidate to a number, the larger the better.

    A subclass is registered in ``SCORES``, takes its options in ``__init__`` and overrides
    :meth:`__call__`. What is degenerate (a code that two images share, a layer without a gradient)
    may give NaN or an infinity: searches rank it last and count it.

    Attributes:
        batches (int): How many batches it needs. Defaults to 1.
        additive (bool): Of a sum over layers, whether a layer's term is one over its weights.
            Defaults to True.
    """

    batches: ClassVar[int] = 1
    additive: ClassVar[bool] = True

    def initialise(self, network: nn.Module) -> None:
        """Give a network that was just made the weights that the score is published with.

        The evaluator that makes the network calls it; weights that it has from PyTorch stay here.

        Args:
            network (Module): That of a candidate to be.
        """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """The score.

        Args:
            candidate (Candidate): The network, in training mode unless the score says otherwise.
            batches (Sequence[Batch]): At least :attr:`batches`, on the network's device.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')

    def per_layer(self, candidate: Candidate, batches: Sequence[Batch]) -> list[Tensor]:
        """The terms of a score that is a sum over layers.

        Args:
            candidate (Candidate): As for the score.
            batches (Sequence[Batch]): As for the score.

        Returns:
            list[Tensor]: A scalar for each convolution and linear layer, in the network's order.

        Raises:
            UserError: The score is no such sum.
        """
        raise UserError(f'{type(self).__name__} is no sum of terms of one layer each')
