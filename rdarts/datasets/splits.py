"""Two disjoint parts of a labelled set."""

from __future__ import annotations

import math

import numpy as np

from rdarts.datasets.hashing import hash_permutation
from rdarts.errors import UserError, nearest

MODES = ('stratified', 'random', 'sequential')


def split_indices(
    length: int,
    fraction: float,
    mode: str = 'stratified',
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 .. length - 1 in two.

    Args:
        length (int): How many samples there are.
        fraction (float): Share of the first part, inside (0, 1).
        mode (str): ``stratified`` (the same share of every class), ``random``, or
            ``sequential`` (the first samples are the first part, as in the original DARTS
            code). Defaults to ``stratified``.
        seed (int): What the random modes depend on. Defaults to 0.
        labels (np.ndarray, optional): int [length], needed by ``stratified``.

    Returns:
        tuple[np.ndarray, np.ndarray]: Both parts, int64, ascending; round(fraction * length)
        indices are in the first.

    Raises:
        UserError: The fraction is outside (0, 1) or leaves a part empty, the mode is not
            known, or the labels are missing.
    """
    is_number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not is_number or not 0 < fraction < 1:
        raise UserError(f'a split fraction lies inside (0, 1), but got {fraction!r}')
    if mode not in MODES:
        raise UserError(f"unknown split mode '{mode}': {nearest(str(mode), MODES)}")
    size = round(fraction * length)
    if not 0 < size < length:
        raise UserError(
            f'a split fraction of {fraction} leaves a part of {length} images empty: '
            'take more images or another fraction'
        )
    first = np.zeros(length, dtype=bool)
    if mode == 'sequential':
        first[:size] = True
    elif mode == 'random':
        first[hash_permutation(length, 'split', seed)[:size]] = True
    else:
        if labels is None or len(labels) != length:
            raise UserError('a stratified split needs the label of every image')
        for members, share in _shares(np.asarray(labels), fraction, size):
            order = hash_permutation(len(members), 'split', seed, int(labels[members[0]]))
            first[members[order[:share]]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def _shares(labels: np.ndarray, fraction: float, size: int) -> list[tuple[np.ndarray, int]]:
    """Each class's members and how many go to the first part, by largest remainder."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    exact = [fraction * len(members) for members in classes]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(classes)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: size - sum(shares)]:
        shares[i] += 1
    return list(zip(classes, shares, strict=True))
