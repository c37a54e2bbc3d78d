"""Entropies and weights of alpha over the epochs (Fig. 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.engine.facts import Facts
from rdarts.models.alpha import AlphaOwner, find_alpha_owner
from rdarts.models.alpha_ways import AlphaWays
from rdarts.registry import HOOKS
from rdarts.search_spaces import SearchSpace


def alpha_statistics(
    arch_parameters: Mapping[str, Tensor],
    space: SearchSpace,
    relaxation: Relaxation | None = None,
    ways: AlphaWays | None = None,
) -> dict[str, Any]:
    """Statistics of the mixing weights, and of BER's beta = softmax(alpha).

    Args:
        arch_parameters (Mapping[str, Tensor]): Raw alpha: group -> [edges, candidates].
        space (SearchSpace): Describes the groups and which candidates are parameter-free.
        relaxation (Relaxation, optional): By which alpha stands for mixing weights. Defaults to
            the softmax.
        ways (AlphaWays, optional): Says which candidates are alive; a dead one has the weight 0
            and no say in any number, and an edge without any none in a mean. Defaults to all.

    Returns:
        dict: ``alpha`` and ``weights`` (raw alpha, and the weights that the relaxation expects,
        of every edge, by group), ``entropy`` (of beta, in nats, of every edge, by group),
        ``mean_entropy`` (over all edges: r of Eq. 17), and ``kinds``: for ``parameter_free`` and
        ``parameterised`` the mean ``weight`` over all candidates of that kind on all edges, and
        ``entropy``, the sum of -beta log beta within the kind, averaged over the edges that have
        candidates of it (nats; the paper defines no entropy of a kind).

    Raises:
        UserError: The relaxation gives no weight for an edge or a candidate.
    """
    ways, relaxation = ways or AlphaWays(space), relaxation or Softmax()
    view = ways.view(arch_parameters)
    expected = ways.to_whole(relaxation.expected_weights(view, ways.space))
    ones = {g.name: torch.ones(len(g.edges), len(g.candidates)) for g in ways.space.groups}
    alive = ways.to_whole(ones)
    alphas, weights, entropies = {}, {}, {}
    sums = {kind: [0.0, 0, 0.0, 0] for kind in ('parameter_free', 'parameterised')}
    for group in space.groups:
        alpha = arch_parameters[group.name].detach().double().cpu()
        lives = alive[group.name] > 0
        log_beta = torch.log_softmax(alpha.masked_fill(~lives, -torch.inf), dim=-1)
        terms = torch.where(lives, -log_beta.exp() * log_beta, 0.0)
        alphas[group.name] = alpha.tolist()
        weight = expected[group.name]
        weights[group.name] = weight.tolist()
        entropies[group.name] = terms.sum(-1).tolist()
        free = torch.tensor([name in space.parameter_free for name in group.candidates])
        for kind, mask in (('parameter_free', free), ('parameterised', ~free)):
            if (lives & mask).any():
                entry = sums[kind]
                entry[0] += float(weight[:, mask].sum())
                entry[1] += int((lives & mask).sum())
                entry[2] += float(terms[:, mask].sum())
                entry[3] += int((lives & mask).any(-1).sum())
    flat = [
        value
        for name, edges in entropies.items()
        for value, flag in zip(edges, (alive[name] > 0).any(-1).tolist(), strict=True)
        if flag  # not of a dropped edge
    ]
    kinds = {
        kind: dict(weight=weight / count, entropy=entropy / edges)
        for kind, (weight, count, entropy, edges) in sums.items()
        if count
    }
    own = [name for name in arch_parameters if name not in alphas]
    alphas.update({name: arch_parameters[name].detach().double().cpu().tolist() for name in own})
    return dict(
        alpha=alphas,
        weights=weights,
        entropy=entropies,
        mean_entropy=sum(flat) / len(flat),
        kinds=kinds,
    )


def _beside_alpha(owner: AlphaOwner) -> dict[str, Any]:
    """What a method logs beside alpha: numbers of the epoch, weights of edges, masks."""
    found: dict[str, Any] = dict(owner.numbers())
    alphas, space = owner.view({n: a.detach() for n, a in owner.arch_parameters.items()})
    factors = owner.relaxation.edge_factors(alphas, space, 'eval')
    if factors:
        found['edge_weights'] = {cell: factor.double().tolist() for cell, factor in factors.items()}
    if owner.ways.pruned:
        found['alive'] = owner.alive
    return found


@HOOKS.register_module()
class AlphaStatisticsHook(Hook):
    """Logs :func:`alpha_statistics` at the end of every epoch, and which execution runs.

    Of a supernet without alpha, ``alpha`` is empty.
    """

    priority = 'NORMAL'

    def after_train_epoch(self, runner) -> None:
        owner = find_alpha_owner(runner.model)
        values: dict[str, Any] = dict(alpha={})
        if owner.groups:
            parts = (owner.arch_parameters, owner.space, owner.relaxation, owner.ways)
            values = {**alpha_statistics(*parts), **_beside_alpha(owner)}
        Facts.of(runner).epoch.update(values)
        execution = getattr(owner, 'execution', None)
        if execution is not None:  # a supernet's
            Facts.of(runner).epoch['execution'] = execution
        if not owner.groups:
            return
        kinds = ', '.join(
            f'{kind.replace("_", "-")} weight {value["weight"]:.4f} entropy {value["entropy"]:.4f}'
            for kind, value in values['kinds'].items()
        )
        numbers = (item for found in owner.numbers().values() for item in found.items())
        runner.logger.info(
            f'Mean entropy {values["mean_entropy"]:.4f} of {owner.ways.space.largest_entropy:.4f} '
            f'nats; {kinds}' + ''.join(f'; {name} {value:.4g}' for name, value in numbers)
        )
