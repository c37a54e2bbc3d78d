"""A mixer of scores with uncertain weights (ParZC, https://arxiv.org/abs/2402.02105)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from torch import Tensor, nn

from rdarts.configuration.declarations import (
    AboveZero,
    NotNegative,
    Positive,
    Seed,
    check_arguments,
)
from rdarts.errors import UserError
from rdarts.registry import PREDICTORS
from rdarts.utils.random_state import seeded

RHO = -5.0  # of which softplus is the first deviation of every uncertain weight: .0067


@PREDICTORS.register_module()
class BayesianMixer:
    """A perceptron over patches of a vector, some of whose weights are normal variables.

    A linear layer takes the vector to ``patches`` patches of ``patch`` numbers each. A
    :class:`BayesianLinear` takes each to ``width`` numbers, ``depth`` times two perceptrons with
    one hidden layer follow (of 4 times and of half the width, GELU, with layer norm before and a
    connection around each), then a layer norm and the mean over the patches, a second
    :class:`BayesianLinear` and a linear layer to one number.

    The sizes are those of the published code for NAS-Bench-201, and both perceptrons go over the
    width there, as here: no number of one patch meets that of another before the mean. There, the
    mixer's output is added to the tokens of a graph transformer, which reads the operations and
    edges of the cell and makes the prediction; that is not here, and the linear layer to one number
    stands for it.

    It learns by Adam with a cosine schedule to 0, on batches of shuffled vectors. The weights are
    drawn anew in every forward, in prediction too, as published: a prediction is one draw, which
    follows from ``random_state``. No term holds the weights' distribution to a prior, as published.

    Args:
        random_state (int): The seed. Defaults to 0; a strategy gives another one each time.
        loss (str): ``'product'`` or ``'joint'``, the form of :func:`diff_kendall`, or ``'mse'``.
            Defaults to ``'product'``, ParZC's.
        patches (int): Defaults to 16.
        patch (int): Numbers of a patch. Defaults to 16.
        width (int): Defaults to 512.
        depth (int): Defaults to 4.
        epochs (int): Passes over the data. Defaults to 300.
        batch_size (int): Defaults to 10.
        lr (float): Adam's learning rate at the beginning. Defaults to 1e-4.
        weight_decay (float): Defaults to 1e-3.

    Raises:
        UserError: An argument is none of these.
    """

    def __init__(
        self,
        random_state: Seed = 0,
        loss: Literal['product', 'joint', 'mse'] = 'product',
        patches: Positive = 16,
        patch: Positive = 16,
        width: Positive = 512,
        depth: Positive = 4,
        epochs: Positive = 300,
        batch_size: Positive = 10,
        lr: AboveZero = 1e-4,
        weight_decay: NotNegative = 1e-3,
    ) -> None:
        check_arguments(
            self,
            loss=loss,
            patches=patches,
            patch=patch,
            width=width,
            depth=depth,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
        )
        if loss != 'mse' and batch_size < 2:
            raise UserError(
                f'BayesianMixer: the loss {loss!r} compares pairs: batch_size must be at least 2'
            )
        self.random_state, self.loss = random_state, loss
        self.patches, self.patch, self.width, self.depth = patches, patch, width, depth
        self.epochs, self.batch_size = epochs, batch_size
        self.lr, self.weight_decay = lr, weight_decay

    def fit(self, x: np.ndarray, y: np.ndarray) -> BayesianMixer:
        """Learn from vectors [N, numbers] what they reach, [N]; N is at least 2.

        Raises:
            UserError: There is one vector alone.
        """
        if len(x) < 2:
            raise UserError('BayesianMixer: it learns from two vectors or more')
        self.device = torch.device(get_device())
        inputs, targets = self._tensor(x), self._tensor(y)
        with seeded(self.random_state, self.device):
            self.net = _Mixer(inputs.shape[1], self.patches, self.patch, self.width, self.depth)
            self.net.to(self.device)
            optimizer = torch.optim.Adam(
                self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay
            )
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
            for _ in range(self.epochs):
                for chosen in torch.randperm(len(x)).split(self.batch_size):
                    if len(chosen) < 2 and self.loss != 'mse':
                        continue  # no pair
                    optimizer.zero_grad()
                    self._loss(self.net(inputs[chosen]), targets[chosen]).backward()
                    optimizer.step()
                schedule.step()
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What vectors [N, numbers] reach, [N], by one draw of the weights."""
        with torch.no_grad(), seeded(self.random_state + 1, self.device):
            found = [self.net(part) for part in self._tensor(x).split(1024)]
        return torch.cat(found).double().cpu().numpy()

    def _loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        if self.loss == 'mse':
            return F.mse_loss(predicted, target)
        return diff_kendall(predicted, target, self.loss)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.get_default_dtype(), device=self.device)


def diff_kendall(
    x: Tensor,
    y: Tensor,
    form: Literal['product', 'joint'] = 'product',
    sharpness: float | None = None,
) -> Tensor:
    r"""Minus a smooth rank correlation, to be made small.

    .. math::

        \text{product:} \quad -\frac{2}{N (N - 1)} \sum_{i \ne j}
            \tanh\Big(\frac{a}{2} (x_i - x_j)\Big) \tanh\Big(\frac{a}{2} (y_i - y_j)\Big)

        \text{joint:} \quad -\frac{1}{N (N - 1)} \sum_{i \ne j}
            \tanh\Big(\frac{b}{2} (x_i - x_j) (y_i - y_j)\Big)

    The first is of ParZC's code, with a = .5; it counts both orders of a pair, so that it lies in
    (-2, 2). The second is that of DiffKendall (https://arxiv.org/abs/2307.15317), with b = 1, in
    (-1, 1): Kendall's tau where b is large.

    Args:
        x (Tensor): [N], N at least 2.
        y (Tensor): [N].
        form (str): ``'product'`` or ``'joint'``. Defaults to ``'product'``.
        sharpness (float, optional): a or b. Defaults to .5 or 1.

    Returns:
        Tensor: A scalar.
    """
    count = len(x)
    dx, dy = x[:, None] - x, y[:, None] - y  # a pair of one with itself adds 0
    if form == 'product':
        half = (0.5 if sharpness is None else sharpness) / 2
        return -2 * ((half * dx).tanh() * (half * dy).tanh()).sum() / (count * (count - 1))
    half = (1.0 if sharpness is None else sharpness) / 2
    return -(half * dx * dy).tanh().sum() / (count * (count - 1))


class BayesianLinear(nn.Module):
    """A linear map without bias whose every weight is drawn anew in each forward.

    w = mu + softplus(rho) e with e of N(0, 1), in training and evaluation alike; mu starts as a
    ``Linear`` layer's weight does.

    Args:
        inputs, outputs (int): Numbers before and after.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(nn.Linear(inputs, outputs, bias=False).weight.detach())
        self.rho = nn.Parameter(torch.full_like(self.mu, RHO))

    def forward(self, x: Tensor) -> Tensor:
        """From [..., inputs] to [..., outputs]."""
        noise = torch.randn_like(self.mu)
        return F.linear(x, self.mu + F.softplus(self.rho) * noise)


class _Residual(nn.Module):
    """x + perceptron(layer norm(x)), over the last dimension."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Mixer(nn.Module):
    """See :class:`BayesianMixer`."""

    def __init__(self, numbers: int, patches: int, patch: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            nn.Linear(numbers, patches * patch), nn.Unflatten(1, (patches, patch))
        )
        self.embed = BayesianLinear(patch, width)
        hidden = [4 * width, max(width // 2, 1)]
        self.blocks = nn.Sequential(*(_Residual(width, size) for size in hidden * depth))
        self.norm = nn.LayerNorm(width)
        self.leave = BayesianLinear(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From [N, numbers] to [N]."""
        mixed = self.norm(self.blocks(self.embed(self.enter(x)))).mean(1)
        return self.head(self.leave(mixed))[:, 0]
