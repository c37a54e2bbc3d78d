"""AZ-NAS: what is scored of a network by its features, and the ranking of a set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Component, Seed
from rdarts.errors import UserError
from rdarts.models.multiply_adds import layer_macs
from rdarts.registry import RANKINGS, SCORES, build
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import logits_of
from rdarts.sampling.scores.ranking import Ranking, ranks


class _Features:
    """What the scores of AZ-NAS share: initial weights, what goes in, and features.

    Args:
        noise (bool): Whether images of N(0, 1) stand for those of the batch. Defaults to True, as
            published.
        seed (int): Of these and of random signs. Defaults to 0.
    """

    def __init__(self, noise: bool = True, seed: Seed = 0) -> None:
        self.noise, self.seed = noise, seed

    def initialise(self, network: nn.Module) -> None:
        """See :meth:`Score.initialise`: Kaiming's normal weights by fan-in, biases 0."""
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode='fan_in', nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, network: nn.Module, images: Tensor) -> tuple[list[Tensor], torch.Generator]:
        """The features of a network, [N, C, H, W] each, and what further draws are made from.

        Raises:
            UserError: The network does not say what its features are, or has fewer than two.
        """
        generator = torch.Generator(images.device).manual_seed(self.seed)
        if self.noise:
            like = dict(dtype=images.dtype, device=images.device)
            images = torch.randn(images.shape, generator=generator, **like)
        found: list[Tensor] = []

        def keep(module: nn.Module, args: tuple, output: Tensor) -> None:
            # a cell that no image reaches gives a constant, from which gradients go on all the same
            found.append(output.requires_grad_())

        hooks = [layer.register_forward_hook(keep) for layer in _feature_layers(network)]
        try:
            logits_of(network, images)
        finally:
            for hook in hooks:
                hook.remove()
        return found, generator


def _feature_layers(network: nn.Module) -> Sequence[nn.Module]:
    for module in network.modules():
        if callable(getattr(module, 'feature_layers', None)):
            layers = module.feature_layers()
            break
    else:
        raise UserError(
            f'{type(network).__name__} has no method feature_layers, by which a network says whose '
            'outputs AZ-NAS compares: its stem and its cells'
        )
    if len(layers) < 2:
        raise UserError(
            f'AZ-NAS compares features with the next ones, but {type(module).__name__} has '
            f'{len(layers)}: take a network with a cell or more'
        )
    return layers


@SCORES.register_module()
class AZExpressivity(_Features, Score):
    r"""How evenly features use their channels (https://arxiv.org/abs/2403.19232).

    .. math:: \sum_l E_l,\quad E_l = -\sum_c p_{lc} \log(p_{lc} + 10^{-8})

    over features l, for the eigenvalues p of the covariance of their channels, divided by their
    sum. It is -inf where a feature is constant or not finite. Features are the outputs of stem and
    cells (``feature_layers`` of a derived network); the published code of MobileNets takes every
    third ReLU in place of layers. Published with 64 images of noise, and weights of
    :meth:`initialise`.

    Args:
        noise (bool): Whether images of N(0, 1) stand for those of the batch. Defaults to True, as
            published.
        seed (int): Of these. Defaults to 0.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: The network does not say what its features are, or has fewer than two.
        """
        with torch.no_grad():
            features, _ = self.features(candidate.network, batches[0].images)
            return float(entropies(features).sum())


@SCORES.register_module()
class AZProgressivity(_Features, Score):
    r"""By how much features grow more expressive from one to the next, at the least.

    .. math:: \min_l E_l - E_{l-1}

    for E_l as :class:`AZExpressivity` has it, with its arguments. It is -inf where one of them is.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`AZExpressivity.__call__`."""
        with torch.no_grad():
            features, _ = self.features(candidate.network, batches[0].images)
            return float(progress(entropies(features)))


@SCORES.register_module()
class AZTrainability(_Features, Score):
    r"""How well gradients keep their size from features to those before.

    .. math:: \frac1{L-1} \sum_l -s_l - \frac1{s_l + 10^{-6}} + 2

    for the largest singular value s_l of the mean over images and pixels of g_{l-1} g_l^T, where
    g_l are random signs and g_{l-1} is what they give in the feature before, whose pixels that make
    one of the next become channels. It is -inf where both are equal: where a cell passes on what
    it gets. Where no gradient passes, s_l is 0. Arguments are those of :class:`AZExpressivity`; the
    signs are drawn from ``seed``, too. Published as the mean over the seeds 1 to 5 in
    NAS-Bench-201.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`AZExpressivity.__call__`."""
        with torch.enable_grad():
            features, generator = self.features(candidate.network, batches[0].images)
        return float(trainability(features, generator))


@RANKINGS.register_module()
class AZNAS(_Features, Ranking):
    r"""The ranking of a set of candidates by four scores (https://arxiv.org/abs/2403.19232).

    .. math:: \sum_s \log \frac{rank_s}{n}

    over :class:`AZExpressivity`, :class:`AZProgressivity`, :class:`AZTrainability` and complexity,
    with the rank n for the best of n candidates and 1 for the worst; equal ones share the mean of
    theirs, and what is not finite comes last. It takes one forward pass for the first three.

    Args:
        noise (bool): See :class:`AZExpressivity`. Defaults to True.
        seed (int): Likewise. Defaults to 0.
        complexity (str | dict | Score, optional): The fourth. Defaults to multiply-adds, as
            published: those of layers, counted as the others are measured.
    """

    def __init__(
        self,
        noise: bool = True,
        seed: Seed = 0,
        complexity: Annotated[str | dict | Score, Component('SCORES')] | None = None,
    ) -> None:
        super().__init__(noise, seed)
        self.complexity = None if complexity is None else build(complexity, SCORES)

    def measure(self, candidate: Candidate, batches: Sequence[Batch]) -> Mapping[str, float]:
        """See :meth:`Ranking.measure`.

        Raises:
            UserError: See :meth:`AZExpressivity.__call__`.
        """
        images = batches[0].images
        with torch.enable_grad(), layer_macs(candidate.network) as macs:
            features, generator = self.features(candidate.network, images)
        entropy = entropies(features)
        parts = [entropy.sum(), progress(entropy), trainability(features, generator)]
        expressivity, progressivity, trainable = torch.stack(parts).tolist()
        complexity = sum(macs) / len(images)
        if self.complexity is not None:
            complexity = self.complexity(candidate, batches)
        return dict(
            expressivity=expressivity,
            progressivity=progressivity,
            trainability=trainable,
            complexity=complexity,
        )

    def __call__(self, measured: Sequence[Mapping[str, float]]) -> list[float]:
        """See :meth:`Ranking.__call__`."""
        names = ('expressivity', 'progressivity', 'trainability', 'complexity')
        places = [np.log(ranks([scores[name] for scores in measured])) for name in names]
        return np.sum(places, axis=0).tolist()


def entropies(features: Sequence[Tensor]) -> Tensor:
    """E_l of each feature, in float64: see :class:`AZExpressivity`."""
    return torch.stack([_entropy(feature.detach()) for feature in features])


def _entropy(feature: Tensor) -> Tensor:
    rows = _rows(feature)
    rows = rows - rows.mean(0)
    with torch.autocast(rows.device.type, enabled=False):
        covariance = rows.T @ rows / len(rows)
    finite = covariance.isfinite().all()
    # where it is not, any matrix does: eigenvalues of NaN are an error
    covariance = torch.where(finite, covariance, 0).double()
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)  # rounding makes some negative
    total = values.sum()
    shares = values / total
    entropy = -(shares * torch.log(shares + 1e-8)).sum()
    return torch.where(finite & (total > 0), entropy, -math.inf)


def progress(entropy: Tensor) -> Tensor:
    """The least difference of successive entropies; -inf where one is."""
    return torch.where(entropy.isfinite().all(), entropy.diff().min(), -math.inf)


def trainability(features: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """See :class:`AZTrainability`: from features with their graph, which is used up.

    Args:
        features (Sequence[Tensor]): [N, C, H, W] each.
        generator (torch.Generator): Of random signs, which are drawn from the last on.
    """
    terms = [
        _pair(before, after, random_signs(after, generator))
        for before, after in reversed(list(pairwise(features)))
    ]
    return torch.stack(terms).mean()


def random_signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """-1 or 1, of the shape of another tensor, as that lies in memory."""
    kind = dict(dtype=like.dtype, device=like.device)
    bits = torch.randint(0, 2, like.shape, generator=generator, **kind)
    return torch.empty_like(like).copy_(bits.mul_(2).sub_(1))


def _pair(before: Tensor, after: Tensor, signs: Tensor) -> Tensor:
    """The term of two successive features."""
    (back,) = torch.autograd.grad(after, before, signs, materialize_grads=True)
    same = torch.tensor(False, device=back.device)
    if back.shape == signs.shape:
        same = (back == signs).all()
    ratio = [math.ceil(a / b) for a, b in zip(before.shape[2:], after.shape[2:], strict=True)]
    if ratio != [1, 1]:
        (height, width), (high, wide) = after.shape[2:], before.shape[2:]
        # of an odd side, the last pixel of the next has fewer before it
        pad = [0, ratio[1] * width - wide, 0, ratio[0] * height - high]
        back = nn.functional.pad(back, pad)
        back = back.unflatten(3, (width, ratio[1])).unflatten(2, (height, ratio[0]))
        back = back.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    left, right = _rows(back), _rows(signs)
    with torch.autocast(left.device.type, enabled=False):
        matrix = left.T @ right / len(right)
    finite = matrix.isfinite().all()
    largest = torch.linalg.matrix_norm(torch.where(finite, matrix, 0).double(), 2)
    term = 2 - largest - 1 / (largest + 1e-6)
    return torch.where(finite & ~same, term, -math.inf)


def _rows(feature: Tensor) -> Tensor:
    """[N, C, H, W] to [N H W, C], in float32 at least."""
    rows = feature.movedim(1, -1).flatten(0, -2)
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
