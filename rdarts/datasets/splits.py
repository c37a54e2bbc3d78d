"""Two disjoint parts of a labelled set."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    _check_fraction(fraction)
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
        classes = _classes(np.asarray(labels), seed)
        for members, share in zip(classes, _shares(classes, fraction), strict=True):
            first[members[:share]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def sample_indices(
    labels: np.ndarray, subset: float, fraction: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint samples of a labelled set, each with the same share of every class.

    Args:
        labels (np.ndarray): int [length].
        subset (float): Share of every class that both have together, inside (0, 1).
        fraction (float): Share of the first among these, inside (0, 1).
        seed (int): What the samples depend on. Defaults to 0.

    Returns:
        tuple[np.ndarray, np.ndarray]: Both, int64, ascending: round(subset * fraction * length)
        and round(subset * (1 - fraction) * length) indices, by largest remainder over the classes;
        a class of very few images may have none in one of them.

    Raises:
        UserError: The fraction is outside (0, 1).
    """
    _check_fraction(fraction)
    classes = _classes(np.asarray(labels), seed)
    firsts = _shares(classes, subset * fraction)
    seconds = _shares(classes, subset * (1 - fraction))
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for members, first, second in zip(classes, firsts, seconds, strict=True):
        parts[0].append(members[:first])
        parts[1].append(members[first : first + second])  # fewer where both were rounded up
    return np.sort(np.concatenate(parts[0])), np.sort(np.concatenate(parts[1]))


def _check_fraction(fraction: float) -> None:
    is_number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not is_number or not 0 < fraction < 1:
        raise UserError(f'a split fraction lies inside (0, 1), but got {fraction!r}')


def _classes(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """The members of each class, in the order in which they are drawn."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [
        members[hash_permutation(len(members), 'split', seed, int(labels[members[0]]))]
        for members in classes
    ]


def _shares(classes: Sequence[np.ndarray], fraction: float) -> list[int]:
    """How many of each class a part gets, by largest remainder."""
    exact = [fraction * len(members) for members in classes]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(classes)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: round(fraction * sum(map(len, classes))) - sum(shares)]:
        shares[i] += 1
    return shares
