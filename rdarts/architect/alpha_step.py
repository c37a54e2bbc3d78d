"""What a step of alpha is made of, and how it fails."""

from __future__ import annotations

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
    """

    lambda_: float
    value: Tensor
    grads: list[Tensor]


@dataclass
class AlphaStep:
    """What a step of alpha was made of.

    Args:
        loss (Tensor): L_val of this rank.
        grads (list[Tensor]): d L_val / d alpha of each group, the mean over ranks.
        penalties (dict[str, Penalty]): The regularisers by name.
        total (list[Tensor]): Along which alpha's optimizer steps.
        scale (float): The loss scale of float16, 1 without.
        taken (bool): False where float16 overflowed, so that alpha has not moved.
    """

    loss: Tensor
    grads: list[Tensor]
    penalties: dict[str, Penalty]
    total: list[Tensor]
    scale: float
    taken: bool
