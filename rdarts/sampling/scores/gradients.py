"""What scores by gradients share: a network that stays as it is, and the gradients of its weights.

The weights are those of convolutions and linear layers (``Conv2d``, ``Linear``): neither biases nor
batch norms count, as in zero-cost NAS (https://arxiv.org/abs/2101.08134).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from rdarts.errors import UserError
from rdarts.models import AlphaOwner
from rdarts.sampling.scores.base import Batch, Candidate, Score


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The convolutions and linear layers, in the network's order."""
    return [one for one in network.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]


@contextmanager
def unchanged(network: nn.Module, training: bool = True) -> Iterator[list[nn.Module]]:
    """Within, only the weights of convolutions and linear layers are trainable.

    After it modes, buffers and what is trainable are as they were. Within, gradients are to be
    taken by :func:`gradients`, which accumulates none.

    Args:
        network (Module): The network.
        training (bool): Its mode within. Defaults to True.

    Yields:
        list[Module]: The convolutions and linear layers.

    Raises:
        UserError: There are none, or the network is a supernet.
    """
    if any(isinstance(module, AlphaOwner) for module in network.modules()):
        raise UserError(
            f'{type(network).__name__} is a supernet, whose candidates share tensors of weights: a '
            'score by gradients needs a derived network'
        )
    layers = layers_of(network)
    if not layers:
        raise UserError(
            f'{type(network).__name__} has neither a convolution nor a linear layer: a score by '
            'gradients needs a network with weights'
        )
    modes = [(module, module.training) for module in network.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        network.train(training)
        network.requires_grad_(False)
        for layer in layers:
            layer.weight.requires_grad_(True)
        with torch.enable_grad():
            yield layers
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, mode in trainable:
            parameter.requires_grad_(mode)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def logits_of(
    network: nn.Module, images: Tensor, tensors: Mapping[str, Tensor] | None = None
) -> Tensor:
    """[N, classes] of images.

    Args:
        network (Module): The network.
        images (Tensor): [N, C, H, W].
        tensors (Mapping[str, Tensor], optional): What stands for its parameters and buffers, by
            name. Defaults to none: they do.

    Raises:
        UserError: The network gives something else, or a batch norm has one value a channel.
    """
    try:
        logits = functional_call(network, tensors, images) if tensors else network(images)
    except UserError:
        raise
    except ValueError as error:  # of batch norms in training
        raise UserError(
            f'a score of {type(network).__name__} on images {list(images.shape)}: {error}; give '
            'more or larger images'
        ) from None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise UserError(
            f'{type(network).__name__} gives no logits [N, classes]: a score needs a network with '
            'its classifier'
        )
    return logits


def loss_of(network: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
    """The mean cross-entropy of a batch, in nats.

    Args:
        network (Module): The network.
        batch (Batch): Images and labels.
        temperature (float): Logits are divided by it. Defaults to 1.

    Raises:
        UserError: See :func:`logits_of`.
    """
    return F.cross_entropy(logits_of(network, batch.images) / temperature, batch.labels)


def gradients(output: Tensor, inputs: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """The gradients of a number; zeros where nothing leads to it.

    Args:
        output (Tensor): A scalar.
        inputs (Sequence[Tensor]): What it depends on, or not.
        create_graph (bool): Whether the gradients have gradients. Defaults to False.
    """
    if not output.requires_grad:
        return [torch.zeros_like(one) for one in inputs]
    found = torch.autograd.grad(output, inputs, create_graph=create_graph, materialize_grads=True)
    return list(found)


def total(terms: Iterable[Tensor]) -> float:
    """The sum of scalars, read from the device once."""
    return float(sum(terms))


class GradientScore(Score):
    """A sum over layers of a term of weight and gradient.

    The loss is the mean cross-entropy of one batch, in training mode. A weight that does not reach
    it has the gradient 0. A subclass overrides :meth:`term`.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`unchanged` and :func:`logits_of`.
        """
        return total(self.per_layer(candidate, batches))

    def per_layer(self, candidate: Candidate, batches: Sequence[Batch]) -> list[Tensor]:
        """See :meth:`Score.per_layer`."""
        with unchanged(candidate.network) as layers:
            weights = [layer.weight for layer in layers]
            found = gradients(loss_of(candidate.network, batches[0]), weights)
        return [
            self.term(weight.detach(), grad) for weight, grad in zip(weights, found, strict=True)
        ]

    def term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """A scalar.

        Args:
            weight (Tensor): Of a layer: [O, I / groups, k, k], or [O, I].
            gradient (Tensor): Of the loss by it.
        """
        raise TypeError(f'{type(self).__name__} does not override term')
