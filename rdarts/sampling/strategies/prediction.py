"""What strategies with a predictor have in common: it learns what was told, and ranks the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rdarts.registry import PREDICTORS, build
from rdarts.sampling.strategies.state import Evaluated, standardised


def predicted_order(
    predictor: str | Mapping[str, Any],
    seed: int,
    evaluated: Sequence[Evaluated],
    known: np.ndarray,
    others: np.ndarray,
) -> np.ndarray:
    """The order of vectors in which a predictor expects most first, of equal ones the first.

    Args:
        predictor (str | Mapping): One of ``PREDICTORS``.
        seed (int): Its ``random_state``.
        evaluated (Sequence[Evaluated]): What it learns, standardised.
        known (np.ndarray): Their vectors, [evaluated, numbers].
        others (np.ndarray): The vectors that are ranked, [others, numbers].

    Returns:
        np.ndarray: Places in ``others``.
    """
    made = build(predictor, PREDICTORS, random_state=seed)
    made.fit(known, standardised(np.array([one.rank for one in evaluated])))
    return np.argsort(-made.predict(others), kind='stable')
