"""A multilayer perceptron."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from rdarts.configuration.declarations import Positive, Seed
from rdarts.registry import PREDICTORS


@PREDICTORS.register_module()
class MLP(MLPRegressor):
    """scikit-learn's perceptron of so many iterations, whether it has converged or not.

    Args:
        random_state (int): The seed. Defaults to 0; a strategy gives another one each time.
        widths (Sequence[int]): Of the hidden layers. Defaults to 4 of 1000, WeakNAS's.
        iterations (int): Passes over the data, at most. Defaults to 100, WeakNAS's.
    """

    def __init__(
        self,
        random_state: Seed = 0,
        widths: Sequence[Positive] = (1000,) * 4,
        iterations: Positive = 100,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=tuple(widths), max_iter=iterations, random_state=random_state
        )
        self.widths, self.iterations = widths, iterations

    def fit(self, x: np.ndarray, y: np.ndarray) -> MLP:
        """See :class:`sklearn.neural_network.MLPRegressor`."""
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            return super().fit(x, y)
