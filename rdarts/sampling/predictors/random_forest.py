"""Decision trees on samples of what is known."""

from __future__ import annotations

from sklearn.ensemble import RandomForestRegressor

from rdarts.configuration.declarations import Positive, Seed
from rdarts.registry import PREDICTORS


@PREDICTORS.register_module(name='RandomForest')
def random_forest(
    random_state: Seed = 0, trees: Positive = 1000, depth: Positive = 10
) -> RandomForestRegressor:
    """scikit-learn's random forest; the defaults are WeakNAS's.

    Args:
        random_state (int): The seed. Defaults to 0; a strategy gives another one each time.
        trees (int): Their number. Defaults to 1000.
        depth (int): Of a tree, at most. Defaults to 10.
    """
    return RandomForestRegressor(n_estimators=trees, max_depth=depth, random_state=random_state)
