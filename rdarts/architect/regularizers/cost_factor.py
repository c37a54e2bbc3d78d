"""A cost that multiplies the loss: FBNet (https://arxiv.org/abs/1812.03443)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rdarts.architect.regularizers.expected_cost import ExpectedCost
from rdarts.configuration.declarations import AboveZero
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class CostFactor(ExpectedCost):
    r"""L_val times lambda (log LAT)^power, LAT the expected cost (FBNet, Eq. 3).

    .. math:: L^* = L_{val} \cdot \lambda\, (\log \mathrm{LAT})^{p},
        \quad \mathrm{LAT} = u \sum_e \sum_o \beta_{e,o} F_{e,o}

    with lambda .2, p .6, LAT in microseconds (u = 1000 where costs are in ms) and beta of the draw
    that L_val is of. FBNet's own code is not public; a reimplementation that is much used has
    lambda log(LAT^p) = lambda p log LAT: ``power_inside=True``.

    With a ``reference`` it is (log LAT / log(u reference))^p: ``mul#log``, by default in
    ProxylessNAS's published scripts (lambda .2, p .3, 80 ms), where the paper adds the expected
    latency (:class:`ExpectedCost`).

    A LAT below e counts as e, whose logarithm is 1; the power of a negative one is not defined.

    Args:
        lambda_ (float | dict): See :class:`Regularizer`. Defaults to .2.
        signed (bool): Likewise.
        drawn (bool): See :class:`ExpectedCost`. Defaults to True.
        reference (float | str, optional): Likewise.
        power (float): p. Defaults to .6.
        units (float): u, by which costs are multiplied. Defaults to 1.
        power_inside (bool): Whether the power is within the logarithm. Defaults to False.

    Raises:
        UserError: The power or ``units`` is not above 0.
    """

    multiplies = True

    def __init__(
        self,
        lambda_: ScheduleSpec = 0.2,
        signed: bool = False,
        drawn: bool = True,
        reference: AboveZero | Literal['equal'] | None = None,
        power: AboveZero = 0.6,
        units: AboveZero = 1.0,
        power_inside: bool = False,
    ) -> None:
        super().__init__(lambda_, signed, drawn, reference)
        for name, value in dict(power=power, units=units).items():
            if not value > 0:
                raise UserError(f'{name} of CostFactor must be above 0, but is {value!r}')
        self.power, self.units, self.power_inside = power, units, power_inside

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        cost, reference = self.costs(arch_parameters, space)
        found = (self.units * cost).clamp_min(math.e).log()
        if reference is not None:
            least = torch.as_tensor(self.units * reference, dtype=cost.dtype).clamp_min(math.e)
            found = found / least.log()
        return self.power * found if self.power_inside else found**self.power
