"""What every regulariser is: a differentiable function of alpha and the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.configuration.schedule import Schedule, Scheduled, ScheduleSpec
from rdarts.models.alpha import AlphaOwner
from rdarts.search_spaces import SearchSpace


class Regularizer(Scheduled):
    """A term lambda(epoch) x R(alpha) of the search loss.

    A method overrides :meth:`__call__`. One that ``multiplies`` is no term but a factor: of several
    F_i, and terms R_j, the search loss is L_val prod_i lambda_i F_i + sum_j lambda_j R_j.

    Args:
        lambda_ (float | dict): The factor, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to 1.
        signed (bool): Allow a negative lambda, which rewards what is otherwise penalised.
            Defaults to False.

    Attributes:
        relaxation (Relaxation): By which alpha stands for mixing weights, for a term that is one
            of these. A search sets its own; until then it is the softmax.

    Raises:
        UserError: lambda is NaN or infinite, or negative without ``signed``.
    """

    relaxation: Relaxation = Softmax()
    multiplies: ClassVar[bool] = False

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What holds of the arguments of a config together: the key and line of each fault.

        Args:
            arguments (dict): Those of the config, and the defaults of the others.
        """
        spec = arguments['lambda_']
        values = [value for _, value in spec['points']] if isinstance(spec, Mapping) else [spec]
        if not arguments['signed'] and min(values) < 0:
            yield 'lambda_', f'must be at least 0 unless signed=True, but is {spec}'
        epochs = [epoch for epoch, _ in spec['points']] if isinstance(spec, Mapping) else []
        if epochs != sorted(set(epochs)):
            yield 'lambda_.points', f'must have increasing epochs, but is {spec["points"]}'

    def __init__(self, lambda_: ScheduleSpec = 1.0, signed: bool = False) -> None:
        name = f'lambda_ of {type(self).__name__}'
        self.lambda_ = Schedule(lambda_, name=name, minimum=None if signed else 0.0)
        self.schedules = dict(lambda_=self.lambda_)

    def prepare(self, owner: AlphaOwner) -> None:
        """Take what owns the alpha that is searched."""
        self.relaxation = owner.relaxation

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """R(alpha), without lambda.

        Args:
            arch_parameters (Mapping[str, Tensor]): Raw alpha: group -> [edges, candidates].
            space (SearchSpace): Describes the groups, and holds cost tables.

        Returns:
            Tensor: A scalar.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')
