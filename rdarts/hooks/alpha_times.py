"""When alpha moves: in which iterations of a search, or in passes between its epochs."""

from __future__ import annotations

from dataclasses import dataclass

from rdarts.errors import UserError
from rdarts.utils.wording import plural


@dataclass
class AlphaTimes:
    """The iterations of the weights that alpha moves with.

    Args:
        start_epoch (int): Number of epochs before it starts to move. Defaults to 0.
        every (int): It moves in each so-many-th iteration of an epoch: k is its k-th, 2k-th, ...
            Defaults to 1.
        evenly (int, optional): Or so many times an epoch, evenly spread; in each iteration of one
            that has no more. Defaults to none.
        max_steps (int, optional): After how many steps it rests for good; 0 in a phase of a search
            that trains the weights alone. Defaults to none.

    Raises:
        UserError: One of them is out of its range, or ``every`` and ``evenly`` are both given.
    """

    start_epoch: int = 0
    every: int = 1
    evenly: int | None = None
    max_steps: int | None = None

    def __post_init__(self) -> None:
        kinds = dict(
            start_epoch=('an epoch, 0 or later', 0),
            every=('a number of iterations, 1 or more', 1),
            evenly=('a number of steps, 1 or more', 1),
            max_steps=('a number of steps, 0 or more', 0),
        )
        for name, (what, least) in kinds.items():
            value = getattr(self, name)
            optional = name in ('evenly', 'max_steps') and value is None
            if not optional and (not isinstance(value, int) or value < least):
                raise UserError(f'{name} must be {what}, but is {value!r}')
        if self.evenly is not None and self.every != 1:
            raise UserError('every does not go with evenly: set one of them')

    @property
    def each_iteration(self) -> bool:
        """Whether it moves in all iterations from ``start_epoch`` on."""
        return (self.every, self.evenly, self.max_steps) == (1, None, None)

    def why_never(self, epochs: int, length: int) -> str:
        """Why alpha moves in no iteration of a search; empty where it moves in one.

        Args:
            epochs (int): Of the search.
            length (int): Iterations of an epoch.
        """
        if self.start_epoch >= epochs:
            return f'start_epoch is {self.start_epoch} of {plural(epochs, "epoch")}'
        if self.max_steps == 0:
            return 'max_steps is 0'
        if self.every > length:
            return f'every is {self.every}, but an epoch has {plural(length, "iteration")}'
        return ''

    def due(self, epoch: int, index: int, length: int, steps: int) -> bool:
        """Whether alpha moves in an iteration.

        Args:
            epoch (int): From 0.
            index (int): Of the iteration in its epoch, from 0.
            length (int): Iterations of an epoch.
            steps (int): That alpha has taken.
        """
        if epoch < self.start_epoch or (self.max_steps is not None and steps >= self.max_steps):
            return False
        if self.evenly is not None:
            return (index + 1) * self.evenly // length > index * self.evenly // length
        return (index + 1) % self.every == 0

    def left_of_pass(self, epoch: int, length: int, steps: int) -> int:
        """Steps that are left of the pass over alpha's images that follows an epoch.

        The number of steps that were taken says how far a pass is, so that a run may be resumed
        anywhere in it.

        Args:
            epoch (int): From 0.
            length (int): Steps of a pass.
            steps (int): That alpha has taken.

        Raises:
            UserError: Passes of this length would not have taken so many.
        """
        passes = max(0, epoch + 1 - self.start_epoch)
        left = passes * length - steps
        if not 0 <= left <= (length if passes else 0):
            raise UserError(
                f'alpha has taken {plural(steps, "step")} at epoch {epoch + 1}, which passes of '
                f'{plural(length, "batch")} from epoch {self.start_epoch + 1} on do not make: '
                'resume with the start_epoch and arch_dataloader that began the run'
            )
        return left
