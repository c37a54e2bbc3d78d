"""The step of the weights, in which an architect may take part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from rdarts.architect.architect import Architect


class WeightsStep:
    """The optimizer wrapper of the weights within :meth:`Architect.train_step`.

    It does what the wrapper itself does, and tells the architect how far it is.

    Args:
        architect (Architect): Whose ``optim_wrapper`` it stands for.
    """

    def __init__(self, architect: Architect) -> None:
        self._architect, self._wrapper = architect, architect.optim_wrapper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapper, name)

    def update_params(self, loss: Tensor) -> None:
        """See mmengine's ``OptimWrapper.update_params``."""
        wrapper = self._wrapper
        wrapper.backward(wrapper.scale_loss(loss))
        if not wrapper.should_update():
            return
        with self._unscaled():
            self._architect.before_clip(loss.detach())
        wrapper.step()
        self._architect.after_weights_step()
        wrapper.zero_grad()

    @contextmanager
    def _unscaled(self) -> Iterator[None]:
        """Within, gradients are without the loss scale, which the wrapper's step takes off."""
        if getattr(self._wrapper, 'loss_scaler', None) is None:
            yield
            return
        scale = self._architect.weights_loss_scale

        def grads() -> list[Tensor]:
            own = (*self._architect.weights, *self._architect.alphas)
            return [p.grad for p in own if p.grad is not None]

        for grad in grads():
            grad.div_(scale)
        yield
        for grad in grads():
            grad.mul_(scale)
