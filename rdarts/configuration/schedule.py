"""A number that may change over the epochs of a search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypedDict, get_args

from rdarts.configuration.declarations import NotNegative
from rdarts.errors import UserError

Interpolation = Literal['linear', 'cosine', 'exponential', 'step']


class _Points(TypedDict):
    points: Sequence[tuple[NotNegative, float]]


class Points(_Points, total=False):
    """A number that changes over the epochs, as a config has it."""

    interpolation: Interpolation | Sequence[Interpolation]


# what a config may say of such a number
ScheduleSpec = float | Points


class Schedule:
    """A constant, or values at given epochs and what lies between them.

    Args:
        spec (float | dict): A number, or ``dict(points=[(epoch, value), ...],
            interpolation='linear')`` with ``'linear'``, ``'cosine'``, ``'exponential'`` (by one
            factor an epoch) or ``'step'`` (the last value holds) in between; or a list of these,
            one from each point to the next. Before the first point its value holds, after the last
            likewise.
        name (str): What it is, for messages.
        minimum, maximum (float, optional): The least and the largest allowed value.

    Raises:
        UserError: A value is no finite number or out of its range, the epochs do not increase, the
            interpolation is not known, there are not as many as gaps between points, or one is
            exponential and a value is not above 0.
    """

    def __init__(
        self,
        spec: float | Mapping[str, Any],
        name: str,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> None:
        between: Any = 'linear'
        points: Sequence = [(0, spec)]
        if isinstance(spec, Mapping):
            unknown = set(spec) - {'points', 'interpolation'}
            if unknown or not spec.get('points'):
                raise UserError(
                    f'{name}: a schedule is dict(points=[(epoch, value), ...], '
                    f"interpolation='linear'), but got {dict(spec)}"
                )
            points = spec['points']
            if not isinstance(points, Sequence):
                raise UserError(f'{name}: points must be a list, but is {points!r}')
            between = spec.get('interpolation', 'linear')
        self.interpolations = _interpolations(between, len(points), name)
        self.points: list[tuple[float, float]] = []
        for index, point in enumerate(points):
            if not isinstance(point, Sequence) or len(point) != 2 or not _is_number(point[0]):
                raise UserError(f'{name}: a point is (epoch, value), but got {point!r}')
            epoch, value = point
            if not _is_number(value):
                raise UserError(f'{name} must be a finite number, but is {value!r}')
            if minimum is not None and value < minimum:
                raise UserError(f'{name} must be at least {minimum:g}, but is {value!r}')
            if maximum is not None and value > maximum:
                raise UserError(f'{name} must be at most {maximum:g}, but is {value!r}')
            around = self.interpolations[max(index - 1, 0) : index + 1]
            if 'exponential' in around and value <= 0:
                raise UserError(f'{name} must be above 0 to change exponentially, but is {value!r}')
            if self.points and epoch <= self.points[-1][0]:
                raise UserError(f'{name}: the epochs of a schedule must increase')
            self.points.append((float(epoch), float(value)))

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 in every epoch."""
        return not any(value for _, value in self.points)

    def at(self, epoch: float) -> float:
        """The value in an epoch, counted from 0."""
        points = self.points
        if epoch <= points[0][0]:
            return points[0][1]
        pairs = zip(itertools.pairwise(points), self.interpolations, strict=False)
        for ((left, a), (right, b)), interpolation in pairs:
            if epoch < right:
                share = (epoch - left) / (right - left)
                if interpolation == 'exponential':
                    return a * (b / a) ** share
                if interpolation == 'step':
                    share = 0.0
                elif interpolation == 'cosine':
                    share = (1 - math.cos(math.pi * share)) / 2
                return a + (b - a) * share
        return points[-1][1]


class Scheduled:
    """What has numbers that may change over the epochs: functions of the epoch, and no state.

    Attributes:
        schedules (Mapping[str, Schedule]): The numbers by name, which the log has of every epoch.
    """

    schedules: Mapping[str, Schedule] = MappingProxyType({})
    _numbers: Mapping[str, float] | None = None

    def set_progress(self, epoch: int, max_epochs: int) -> None:
        """Before each epoch.

        Args:
            epoch (int): From 0.
            max_epochs (int): Of the schedule.
        """
        # kept, as torch.compile takes what is computed from an epoch for a constant
        self._numbers = self._at(epoch)

    def numbers(self) -> dict[str, float]:
        """The numbers of this epoch, such as a temperature, by name."""
        return self._at(0) if self._numbers is None else dict(self._numbers)

    def _at(self, epoch: int) -> dict[str, float]:
        return {name: schedule.at(epoch) for name, schedule in self.schedules.items()}


def _interpolations(given: Any, points: int, name: str) -> Sequence[str]:
    """What lies between each point and the next; of a lone point, one that is not used.

    Raises:
        UserError: One is not known, or a list has another length.
    """
    gaps = max(points - 1, 1)
    kinds = given if isinstance(given, (list, tuple)) else [given] * gaps
    known = get_args(Interpolation)
    for kind in kinds:
        if kind not in known:
            raise UserError(
                f"{name}: interpolation must be 'linear', 'cosine', 'exponential' or 'step', "
                f'but is {kind!r}'
            )
    if len(kinds) != gaps:
        raise UserError(
            f'{name}: interpolation must be one for all of the schedule or one from each point to '
            f'the next, {gaps} for {points} points, but {len(kinds)} are listed'
        )
    return kinds


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
