"""Steps of the weights of a sampled network, in which the other candidates stand still."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.held_rows import RestingCandidates


class SampledWeights(Architect):
    """In the weights' step, the weights of candidates that do not run stand still.

    Their momentum does likewise, and they do not decay. How alpha moves is said by a class beside
    this one.
    """

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`."""
        super().prepare(*args, **kwargs)
        self._resting = RestingCandidates(self.owner, self.optim_wrapper.optimizer)

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`."""
        with self._resting.noting():
            return super().train_step(model, batch)

    def before_clip(self, loss: Tensor) -> None:
        """See :meth:`Architect.before_clip`."""
        self._resting.hold()

    def after_weights_step(self) -> None:
        """See :meth:`Architect.after_weights_step`."""
        self._resting.release()
