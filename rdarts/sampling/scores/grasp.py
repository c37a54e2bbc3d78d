"""GraSP (https://arxiv.org/abs/2002.07376) as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from collections.abc import Sequence

from rdarts.configuration.declarations import AboveZero
from rdarts.errors import UserError
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import gradients, loss_of, total, unchanged


@SCORES.register_module()
class Grasp(Score):
    r"""How much the norm of the gradient changes as weights are taken away.

    .. math:: S = \sum_l \sum_i -w_{l,i} (H g)_{l,i},
        \quad g = \partial L / \partial w, \quad H = \partial^2 L / \partial w^2

    over the weights of convolutions and linear layers, g and H of the same batch, with the logits
    divided by a temperature. H g is the gradient of g with g held fixed times g: one forward pass
    where the published code, which computes the same, takes two.

    Args:
        temperature (float): Above 0. Defaults to 1, that of zero-cost NAS.

    Raises:
        UserError: The temperature is not above 0.
    """

    def __init__(self, temperature: AboveZero = 1.0) -> None:
        if not temperature > 0:
            raise UserError(f'temperature of Grasp must be above 0, but is {temperature!r}')
        self.temperature = temperature

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`unchanged` and :func:`logits_of`.
        """
        with unchanged(candidate.network) as layers:
            weights = [layer.weight for layer in layers]
            loss = loss_of(candidate.network, batches[0], self.temperature)
            first = gradients(loss, weights, create_graph=True)
            products = [(grad.detach() * grad).sum() for grad in first]
            second = gradients(sum(products), weights)
        return total(
            -(weight.detach() * grad).sum() for weight, grad in zip(weights, second, strict=True)
        )
