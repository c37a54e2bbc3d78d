"""When a search has settled."""

from __future__ import annotations

import math
from typing import Any

import torch

from rdarts.checkpoint.schema import Maybe, Table, Text, Whole
from rdarts.configuration.declarations import Positive, Share
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.hooks.watchers.base import Watcher
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.utils.wording import plural


@HOOKS.register_module()
class ConvergenceHook(Watcher):
    """Says at the end of an epoch that the search has settled, and can stop it there.

    It has settled when the genotype has been the same for ``patience`` epochs, and the entropy of
    the mixing weights is at most ``entropy`` of what it can be: the mean over edges of
    H(beta) / ln(number of candidates), 1 for equal weights and 0 for one-hot ones, where beta are
    the weights that the relaxation expects, divided by their sum on the edge.

    Args:
        patience (int): Epochs with one genotype, the first of them included. Defaults to 3.
        entropy (float): Relative entropy, from 0 to 1. Defaults to .5.
        stop (bool): Whether to end the search. Defaults to False.

    Raises:
        UserError: An argument is out of its range.
    """

    key = 'convergence'
    spec = Table(dict(genotype=Maybe(Text()), epochs=Whole(), settled=Maybe(Whole(1))))

    def __init__(self, patience: Positive = 3, entropy: Share = 0.5, stop: bool = False) -> None:
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise UserError(f'ConvergenceHook: patience must be epochs, 1 or more: {patience!r}')
        number = isinstance(entropy, (int, float)) and not isinstance(entropy, bool)
        if not number or not 0 <= entropy <= 1:
            raise UserError(f'ConvergenceHook: entropy must be from 0 to 1, but is {entropy!r}')
        self.patience, self.entropy, self.stop = patience, entropy, stop
        self.state: dict[str, Any] = dict(genotype=None, epochs=0, settled=None)

    def before_train(self, runner) -> None:
        if self.stop and self.state['settled'] is not None:
            runner.train_loop.stop_training = True  # a search that had ended is resumed

    def after_train_epoch(self, runner) -> None:
        state, epoch = self.state, runner.epoch + 1
        facts = Facts.of(runner)
        text = facts.genotype.to_string()
        state['epochs'] = state['epochs'] + 1 if text == state['genotype'] else 1
        state['genotype'] = text
        entropy = relative_entropy(runner)
        settled = state['epochs'] >= self.patience and entropy <= self.entropy
        if settled and state['settled'] is None:
            runner.logger.info(
                'The search has settled: the same genotype for '
                f'{plural(state["epochs"], "epoch")}, entropy '
                f'{entropy:.1%} of its largest'
                + ('; it ends here' if self.stop else f' (epoch {epoch})')
            )
        state['settled'] = (state['settled'] or epoch) if settled else None
        facts.epoch['convergence'] = dict(
            settled=settled, same_genotype=state['epochs'], relative_entropy=entropy
        )
        if settled and self.stop and not runner.train_loop.stop_training:
            self.end(runner, epoch)


def relative_entropy(runner) -> float:
    """The mean over edges of H(beta) / ln(number of candidates); edges of one have no say.

    beta are the weights that the relaxation expects, divided by their sum on the edge.
    """
    owner = find_alpha_owner(runner.model)
    weights = owner.expected_weights()
    shares: list[float] = []
    for group in owner.space.groups:
        if len(group.candidates) > 1:
            weight = weights[group.name].clamp_min(0)
            beta = weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
            entropy = torch.special.entr(beta).sum(-1)
            shares += (entropy / math.log(len(group.candidates))).tolist()
    return sum(shares) / len(shares) if shares else 0.0
