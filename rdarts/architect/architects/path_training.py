"""Supernets whose weights learn along sampled paths, without alpha: SPOS
(https://arxiv.org/abs/1904.00420), FairNAS (https://arxiv.org/abs/1907.01845)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal

from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.architects.sampled_weights import SampledWeights
from rdarts.architect.held_rows import RestingCandidates
from rdarts.architect.weights_step import WeightsStep
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS
from rdarts.utils import host

BATCHES = ('same', 'different')


@ARCHITECTS.register_module()
class PathTraining(SampledWeights):
    """A step of the weights is of the paths that the relaxation draws; nothing moves alpha.

    It goes with relaxations that have no alpha,
    :class:`~rdarts.architect.relaxations.single_path.SinglePath`, of one path a step, and
    :class:`~rdarts.architect.relaxations.fair_paths.FairPaths`, of one for each candidate. Each
    path is one forward and one backward pass; the gradients add up, are clipped together, and the
    optimizer steps once. Weights of candidates that no path of a step has stand still in it, as
    do their momentum and decay. The logged loss is the mean of the paths.

    FairNAS has all paths of a step on one batch. The code of uninas has a batch for each:
    ``batches='different'`` divides the batch of the loader, which is then as many times as large as
    that of a path, in its order.

    Args:
        batches (str): ``'same'`` or ``'different'``. Defaults to ``'same'``.

    Raises:
        UserError: ``batches`` is neither.
    """

    single_level = True
    through_network = False
    takes_regularizers = False

    def __init__(self, batches: Literal['same', 'different'] = 'same') -> None:
        super().__init__()
        if batches not in BATCHES:
            raise UserError(f'batches of PathTraining must be one of {BATCHES}, not {batches!r}')
        self.batches = batches

    def __str__(self) -> str:
        return 'sampled paths'

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: The relaxation draws no paths, or gradients of several batches are
                accumulated where a step has several paths.
        """
        super().prepare(*args, **kwargs)
        relaxation = self.owner.relaxation
        if not hasattr(relaxation, 'draws'):
            raise UserError(
                'PathTraining needs a relaxation that draws paths, such as SinglePath or '
                f'FairPaths, but {type(relaxation).__name__} draws none'
            )
        passes = relaxation.passes(self.owner.view()[1])
        if passes > 1 and getattr(self.optim_wrapper, '_accumulative_counts', 1) != 1:
            raise UserError(
                f'PathTraining adds up the gradients of {passes} paths in each step: set '
                'optim_wrapper.accumulative_counts=1'
            )

    def of_copy(self, model: nn.Module, optim_wrapper: OptimWrapper) -> Architect:
        """See :meth:`Architect.of_copy`."""
        found = super().of_copy(model, optim_wrapper)
        found._resting = RestingCandidates(found.owner, optim_wrapper.optimizer)
        return found

    def rehearse(self, batch: Any) -> None:
        """See :meth:`Architect.rehearse`: all paths of a step."""
        self._step(self.model, batch, self._draw())

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`.

        Raises:
            StepFailed: The ranks drew other candidates.
            UserError: A batch has fewer images than there are paths, each of which is to have some.
        """
        draws = self._draw()
        self.owner.drawn = [relaxed.active for draw in draws for relaxed in draw.values()]
        self._check_draws(host.read(self._ranks_differ()))
        return self._step(model, batch, draws)

    def _draw(self) -> list[dict[str, Any]]:
        return self.owner.relaxation.draws(self.owner.view()[1])

    def _step(self, model: nn.Module, batch: Any, draws: list[dict[str, Any]]) -> dict[str, Tensor]:
        count = len(draws)
        parts = [batch] * count if self.batches == 'same' else divided(batch, count)
        found: list[dict[str, Tensor]] = []
        with self._resting.noting():
            for draw, part in zip(draws, parts, strict=True):
                last = len(found) + 1 == count
                alone = nullcontext() if last or not hasattr(model, 'no_sync') else model.no_sync()
                step = WeightsStep(self) if last else _Pass(self)
                with self.owner.mixed_by(draw), alone:
                    found.append(model.train_step(part, optim_wrapper=step))
        return {key: sum(one[key] for one in found) / count for key in found[0]}


class _Pass(WeightsStep):
    """Of a path after which others of the same step follow: gradients are added up."""

    def update_params(self, loss: Tensor) -> None:
        """See :meth:`WeightsStep.update_params`."""
        self._wrapper.backward(self._wrapper.scale_loss(loss))


def divided(batch: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Parts of a batch, in its order, which have equally many images or one more.

    Args:
        batch (Mapping): What a data loader gives: by name tensors, or lists, of one entry an image.
        count (int): How many parts.

    Raises:
        UserError: There are fewer images.
    """
    images = len(next(iter(batch.values())))
    if images < count:
        raise UserError(
            f"PathTraining: batches='different' gives each of {count} paths images of its own, "
            f'but a batch has {images}: set train_dataloader.batch_size to {count} times that of a '
            'path'
        )
    bounds = [images * k // count for k in range(count + 1)]
    return [
        {name: values[start:stop] for name, values in batch.items()}
        for start, stop in itertools.pairwise(bounds)
    ]
