"""A trained network on the held-out images: accuracy, confusions, errors; and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from rdarts.deploy.inference import classify
from rdarts.deploy.trained import Trained
from rdarts.errors import RunFailed
from rdarts.models.multiply_adds import count_macs
from rdarts.sampling.scores.base import Batch, Candidate
from rdarts.sampling.scores.latency import Latency

CONFIDENCE = 0.95
REPEATS = 50
"""Passes of one image whose median is the latency."""


@dataclass(frozen=True)
class Evaluation:
    """A network on the held-out images.

    Args:
        right (int): Images that it classifies right.
        count (int): All of them.
        low (float): Lower end of the interval of its accuracy, in %: Wilson's, of 95 %.
        high (float): Its upper end.
        confusion (list[list[int]]): Images of each class (rows) by what they are taken for.
        errors (list[dict]): ``path``, ``truth`` and ``said`` (numbers of classes), ``probability``
            (of what is said) and ``of_truth``, the surest first.
        macs (int): Multiply-adds of one image.
        parameters (int): Weights.
        latency (float): ms of a forward pass of one image on this machine, the median.
    """

    right: int
    count: int
    low: float
    high: float
    confusion: list[list[int]]
    errors: list[dict[str, Any]]
    macs: int
    parameters: int
    latency: float

    @property
    def accuracy(self) -> float:
        """In %."""
        return 100 * self.right / self.count

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a share, both ends in %.

    Args:
        right (int): How many of them.
        count (int): All.
    """
    found = binomtest(right, count).proportion_ci(CONFIDENCE, method='wilson')
    return 100 * found.low, 100 * found.high


def evaluate(trained: Trained, images: Path, most_errors: int) -> Evaluation:
    """Evaluate a network.

    Args:
        trained (Trained): The network.
        images (Path): A folder with a folder of images a class, those of training.
        most_errors (int): How many errors are kept.

    Raises:
        RunFailed: An image can no longer be read.
    """
    folders = sorted(one.name for one in images.iterdir())
    listed = [
        (path, label)
        for label, name in enumerate(folders)
        for path in sorted((images / name).iterdir())
    ]
    confusion = np.zeros((len(folders), len(folders)), dtype=int)
    errors = []
    paths, labels = zip(*listed, strict=True)
    for found, truth in zip(classify(trained.predictor, paths, len(folders)), labels, strict=True):
        if found.error is not None:
            raise RunFailed(f'an image was changed while the run was going on: {found.error}')
        said = found.classes[0]
        confusion[truth, said] += 1
        if said != truth:
            of_truth = found.probabilities[found.classes.index(truth)]
            errors.append(
                dict(
                    path=str(found.path),
                    truth=truth,
                    said=said,
                    probability=found.probabilities[0],
                    of_truth=of_truth,
                )
            )
    errors.sort(key=lambda one: (-one['probability'], one['path']))
    right = int(confusion.trace())
    size = trained.description.input.size
    image = torch.zeros(3, *size)
    latency = Latency(repeats=REPEATS)
    seconds = -latency(Candidate(trained.net), [Batch(image[None], torch.zeros(1))])
    return Evaluation(
        right,
        len(paths),
        *interval(right, len(paths)),
        confusion.tolist(),
        errors[:most_errors],
        count_macs(trained.net, image),
        sum(parameter.numel() for parameter in trained.net.parameters()),
        1000 * seconds,
    )


def verdict(found: Evaluation, others: Sequence[tuple[str, Evaluation]]) -> str:
    """Which network is best, and where the one that was found stands.

    Args:
        found (Evaluation): Its.
        others (Sequence[tuple[str, Evaluation]]): What each baseline is called, and its.
    """
    own = f'{found.accuracy:.1f} % ({found.low:.1f} to {found.high:.1f})'
    if not others:
        return f'The network found classifies {own} of the held-out images right.'
    name, best = max(others, key=lambda one: one[1].right)
    other = f'{best.accuracy:.1f} % ({best.low:.1f} to {best.high:.1f})'
    share = f'{found.macs / best.macs:.2f} of its multiply-adds'
    if found.right >= best.right:
        equal = 'no worse than the best baseline' if found.right == best.right else 'best'
        return f'The network found is {equal}: {own}, {name} {other}, with {share}.'
    where = (
        f'lies within its interval with {own}'
        if found.accuracy >= best.low
        else f'lies below its interval with {own}, {best.accuracy - found.accuracy:.1f} points less'
    )
    return f'{name} is best: {other}. The network found {where}, and has {share}.'
