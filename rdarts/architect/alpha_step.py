"""What a step of alpha is made of, and how it fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import Tensor

from rdarts.errors import RunFailed


class StepFailed(RunFailed):
    """Alpha cannot move.

    Args:
        what (str): What has happened.
        why (str): The rest of the sentence, which may be about a reason or a remedy. Where and
            when it has happened may be said in between.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what + why)
        self.what, self.why = what, why


@dataclass
class Penalty:
    """A regulariser in one step.

    Args:
        lambda_ (float): Its factor.
        value (Tensor): R(alpha), without the factor.
        grads (list[Tensor]): d R / d alpha of each group, without the factor.
        multiplies (bool): Whether L_val is multiplied by lambda R. Defaults to False: it is added.

    Attributes:
        share (float | Tensor): d search loss / d R, the factor of its gradient: lambda, unless it
            multiplies; see :func:`share_of_loss`.
    """

    lambda_: float
    value: Tensor
    grads: list[Tensor]
    multiplies: bool = False

    def __post_init__(self) -> None:
        self.share: float | Tensor = self.lambda_


def share_of_loss(loss: Callable[[], Tensor], penalties: Collection[Penalty]) -> float | Tensor:
    """d search loss / d L_val; the share of each factor of it is set.

    Args:
        loss (Callable): Gives L_val, the mean over ranks; asked where something multiplies.
        penalties (Collection[Penalty]): All regularisers.
    """
    factors = [penalty for penalty in penalties if penalty.multiplies]
    if not factors:
        return 1.0
    product = math.prod(penalty.lambda_ * penalty.value for penalty in factors)
    mean = loss()
    for penalty in factors:
        others = [one.lambda_ * one.value for one in factors if one is not penalty]
        penalty.share = mean * penalty.lambda_ * math.prod(others)
    return product


@dataclass
class AlphaStep:
    """What a step of alpha was made of.

    Args:
        loss (Tensor): L_val of this rank.
        value (float): The same as a number.
        grads (list[Tensor]): d L_val / d alpha of each group, the mean over ranks.
        penalties (dict[str, Penalty]): The regularisers by name.
        total (list[Tensor]): Along which alpha's optimizer steps.
        scale (float): The loss scale of float16, 1 without.
        taken (bool): False where float16 overflowed, so that alpha has not moved.
    """

    loss: Tensor
    value: float
    grads: list[Tensor]
    penalties: dict[str, Penalty]
    total: list[Tensor]
    scale: float
    taken: bool
