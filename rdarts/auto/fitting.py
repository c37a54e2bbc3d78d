"""How wide and deep the network of a found cell is: as large as limits and time allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rdarts.auto.limits import SizeLimits, Sizes
from rdarts.auto.plan import MOST_EPOCHS
from rdarts.auto.timing import Timing
from rdarts.errors import UserError
from rdarts.genotypes import Genotype


@dataclass(frozen=True)
class Fitted:
    """The network that is trained.

    Args:
        genotype (str): Its cell.
        thinned (bool): Whether operations were made cheaper, as the cell that the search has found
            was within the limits at no size.
        sizes (dict): Its widths and depths.
        epochs (int): Of its training.
        seconds (float): What that is expected to take.
        epoch_seconds (float): What one of these takes.
        macs (int): Multiply-adds of one image.
        parameters (int): Weights.
        limited (dict): What was limited, and is so much.
    """

    genotype: str
    thinned: bool
    sizes: dict[str, int]
    epochs: int
    seconds: float
    epoch_seconds: float
    macs: int
    parameters: int
    limited: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def fit(
    genotype: Genotype,
    limits: SizeLimits,
    measure: Callable[[Genotype, Sizes], Timing],
    left: Callable[[], float],
    enough: int,
) -> Fitted:
    """Choose the largest size that is within the limits and whose training is long enough.

    Args:
        genotype (Genotype): What the search has found.
        limits (SizeLimits): What networks may cost.
        measure (Callable): What the training of a network takes.
        left (Callable): Seconds that there are for the training.
        enough (int): Epochs from which on a training is long enough: where no size has as many, it
            is the smallest.

    Raises:
        UserError: The time is too short for an epoch of the smallest, or see
            :meth:`~rdarts.auto.limits.SizeLimits.thinned`.
    """
    found, known = genotype, limits.within(genotype)
    if not known:
        found = limits.thinned(genotype)
        known = limits.within(found)
    # from both ends: each measurement halves what is left
    low, high, timings = 0, len(known) - 1, {}
    while low < high:
        middle = (low + high + 1) // 2
        timings[middle] = measure(found, known[middle])
        if left() >= enough * timings[middle].epoch:
            low = middle
        else:
            high = middle - 1
    timing = timings[low] if low in timings else measure(found, known[low])
    epochs = min(MOST_EPOCHS, int(left() / timing.epoch))
    if epochs < 1:
        raise UserError(
            f'the time that is left, {left():.0f} s, is too short for one epoch of the network '
            f'found, which takes {timing.epoch:.0f} s: give a longer --time'
        )
    return Fitted(
        genotype=found.to_string(),
        thinned=found is not genotype,
        sizes=dict(known[low]),
        epochs=epochs,
        seconds=epochs * timing.epoch,
        epoch_seconds=timing.epoch,
        macs=timing.macs,
        parameters=timing.parameters,
        limited=limits.costs(found, known[low]),
    )
