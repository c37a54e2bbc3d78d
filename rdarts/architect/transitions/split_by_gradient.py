"""Split of a supernet by gradient matching: few-shot NAS (https://arxiv.org/abs/2203.15207)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rdarts.architect.gradients import average, displaced, gradient_of, loss_of, only_training
from rdarts.architect.transitions.base import Beginning, Ended, Transition
from rdarts.configuration.declarations import Positive
from rdarts.datasets.loaders import loader_sampler
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones.search_cell import mixed_operations
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import TRANSITIONS
from rdarts.utils.logging import tell
from rdarts.utils.random_state import iterate, preserve_random_state

Division = Literal['optimum', 'published']
EdgeBy = Literal['between', 'within']
Edge = tuple[str, int]
"""A cell type, and the place of an edge in it."""
Groups = list[list[int]]
"""Candidates of an edge, by their places."""


@TRANSITIONS.register_module()
class SplitByGradientMatching(Transition):
    r"""Divides the candidates of one edge among the branches of the phase that begins.

    With g_i the gradient of the loss of a training batch with respect to the shared weights where
    candidate i alone runs on an edge, two candidates are apart by

    .. math:: D_{ij} = 1 - \frac{g_i \cdot g_j}{|g_i| |g_j|},

    the mean over batches. Shared are all weights but those of the edge's own candidates, in all
    cells that have the edge. What the other edges do is the relaxation's, a draw where it samples:
    one draw a batch, the same for all candidates (the published code draws for each edge anew,
    from batches of its own). The network trains meanwhile as it did last, its running statistics
    are put back, and losses are computed without lower precision.

    The candidates fall into groups of least summed distance within groups, with at least two
    members where there are enough candidates: the minimum cut of the paper where groups are equally
    large. The edge is the one whose cut is the least: the sum of the cosines 1 - D of the pairs
    that are parted, as the paper has it; with ``edge_by='within'``, the published code's, the sum
    of the distances within groups. Edges that lack a candidate already are not split again.

    Into three, the published code does not look for the least sum: it never sets a running sum
    back, so that it always takes the first way of all, the first two candidates, the next two and
    the rest. ``division='published'`` does this.

    Args:
        batches (int): How many. Defaults to 100, as published.
        division (str): ``'optimum'`` or ``'published'``. Defaults to ``'optimum'``.
        edge_by (str): ``'between'`` or ``'within'``. Defaults to ``'between'``.

    Raises:
        UserError: ``division`` or ``edge_by`` is not known, or ``batches`` not a positive integer.
    """

    def __init__(
        self, batches: Positive = 100, division: Division = 'optimum', edge_by: EdgeBy = 'between'
    ) -> None:
        super().__init__()
        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            raise UserError(
                f'batches of SplitByGradientMatching must be a positive integer, but is {batches!r}'
            )
        for name, value, known in (('division', division, Division), ('edge_by', edge_by, EdgeBy)):
            if value not in get_args(known):
                raise UserError(
                    f'{name} of SplitByGradientMatching must be one of {get_args(known)}, but is '
                    f'{value!r}'
                )
        self.batches, self.division, self.edge_by = batches, division, edge_by

    def __call__(self, new: Beginning, last: Ended) -> None:
        """See :meth:`Transition.__call__`: each branch keeps the candidates of one group.

        Raises:
            UserError: The phase has one branch; no edge has all of its candidates, and as many as
                there are branches; the published way is not of so many; the loader's order has no
                seed; or a gradient is not finite.
        """
        if new.branches < 2:
            raise UserError(
                'SplitByGradientMatching divides candidates among the branches of its phase: set '
                f'branches=2 or more in it, not {new.branches}'
            )
        (cell, place), groups = self._split(new, last)
        edge = last.owner.space.cells[cell].edges[place]
        names = edge.candidates
        kept = [names[k] for k in groups[new.branch]]
        new.owner.prune(cell, place, [name for name in names if name not in kept])
        if new.train_dataloader is not None:
            parts = ' | '.join(', '.join(names[k] for k in group) for group in groups)
            where = f"edge {edge.source}-{edge.target} of the cell '{cell}'"
            tell(f'{where} is split: {parts}; here {", ".join(kept)}')

    def _split(self, new: Beginning, last: Ended) -> tuple[Edge, Groups]:
        """The edge and its groups; for a further branch of a phase they are found already.

        Raises:
            UserError: What was found for the first branch is no split of this network.
        """
        sizes = self._edges(last.owner, new.branches)
        if new.train_dataloader is None:
            edge, size = next(iter(sizes.items()))
            return edge, self.divide(torch.ones(size, size), new.branches)
        if not new.decided:
            distances = self.distances(last.model, last.owner, sizes, new)
            (cell, place), groups = self.choose(distances, new.branches)
            new.decided.update(cell=cell, edge=place, groups=groups)
        named = [new.decided.get('cell'), new.decided.get('edge')]
        edge = next((one for one in sizes if [*one] == named), None)
        groups = new.decided.get('groups')
        if edge is None or not _divides(groups, sizes[edge], new.branches):
            raise UserError(
                'SplitByGradientMatching: what the phase decided when it first began, in its '
                'decided.json, is no split of this network: begin it anew, by --from-phase'
            )
        return edge, groups

    def _edges(self, owner: AlphaOwner, branches: int) -> dict[Edge, int]:
        """The edges that can be split, and how many candidates each has."""
        found = {
            (cell, place): len(alive)
            for cell, edges in owner.alive.items()
            for place, alive in enumerate(edges)
            if all(alive) and len(alive) >= branches
        }
        if not found:
            raise UserError(
                f'SplitByGradientMatching: no edge has all of its candidates, and {branches} or '
                f'more of them, to divide among {branches} branches'
            )
        return found

    # Groups

    def choose(self, distances: dict[Edge, Tensor], count: int) -> tuple[Edge, Groups]:
        """The edge that is split, and its groups.

        Args:
            distances (dict[Edge, Tensor]): D of each edge, [candidates, candidates].
            count (int): How many groups.
        """
        groups = {edge: self.divide(one, count) for edge, one in distances.items()}
        edge = min(groups, key=lambda edge: self.cut(distances[edge], groups[edge]))
        return edge, groups[edge]

    def divide(self, distances: Tensor, count: int) -> Groups:
        """The groups of one edge, in the order of their first candidates.

        Args:
            distances (Tensor): D, [candidates, candidates].
            count (int): How many groups.

        Raises:
            UserError: The published way is not of so many.
        """
        size = len(distances)
        if self.division == 'published' and count != 2:
            if count != 3 or size < 5:
                raise UserError(
                    "division='published' of SplitByGradientMatching is of two branches, or of "
                    f'three and five candidates or more, but there are {count} branches and {size} '
                    "candidates: set division='optimum'"
                )
            return [[0, 1], [2, 3], [*range(4, size)]]
        rows = distances.tolist()
        return min(_partitions(size, count), key=lambda groups: _within(rows, groups))

    def cut(self, distances: Tensor, groups: Groups) -> float:
        """By what edges are compared: the less, the sooner an edge is split.

        Args:
            distances (Tensor): D, [candidates, candidates].
            groups (list[list[int]]): Of the candidates.
        """
        rows = distances.tolist()
        if self.edge_by == 'within':
            return _within(rows, groups)
        parted = itertools.combinations(groups, 2)
        return sum(1 - rows[i][j] for one, two in parted for i in one for j in two)

    # Gradients

    def distances(
        self, model: nn.Module, owner: AlphaOwner, sizes: dict[Edge, int], new: Beginning
    ) -> dict[Edge, Tensor]:
        """D of each edge, [candidates, candidates] in float64, equal on all ranks.

        Args:
            model (Module): The network that was trained.
            owner (AlphaOwner): Of its alpha.
            sizes (dict[Edge, int]): Edges, and how many candidates each has.
            new (Beginning): The phase that begins: whence batches and the seed of draws come.

        Raises:
            UserError: A gradient is not finite, or the loader's order has no seed.
        """
        alphas = list(owner.arch_parameters.values())
        others = {id(alpha) for alpha in alphas}
        weights = [p for p in model.parameters() if id(p) not in others]
        own = {edge: _rows_of(owner, weights, edge) for edge in sizes}
        device = alphas[0].device
        sums = {
            edge: torch.zeros(size, size, dtype=torch.float64, device=device)
            for edge, size in sizes.items()
        }
        with (
            preserve_random_state(),
            displaced((), [*model.buffers()]),
            only_training(weights, alphas),
            _training(model),
        ):
            torch.manual_seed(new.seed)
            for batch in self._batches(new.train_dataloader, new.seed):
                drawn = owner.relaxed()
                for edge, total in sums.items():
                    total += self._apart(model, owner, batch, drawn, edge, weights, own[edge])
        for total in sums.values():
            total /= self.batches
            broadcast(total)
            if not torch.isfinite(total).all():
                raise UserError(
                    'SplitByGradientMatching: a gradient of the phase before is not finite: lower '
                    'optim_wrapper.optimizer.lr'
                )
        return {edge: total.cpu() for edge, total in sums.items()}

    def _batches(self, loader: DataLoader, seed: int) -> Iterator[Any]:
        """So many batches of the loader, those of the seed: its own differs between branches."""
        sampler = loader_sampler(loader)
        if not (hasattr(sampler, 'seed') and hasattr(sampler, 'set_epoch')):
            raise UserError(
                f'SplitByGradientMatching: the sampler {type(sampler).__name__} has no seed and '
                'epoch; use rdarts.SeededSampler in train_dataloader'
            )
        before, left = (sampler.seed, sampler.epoch), self.batches
        sampler.seed = seed
        try:
            for epoch in itertools.count():
                sampler.set_epoch(epoch)
                for batch in itertools.islice(iterate(loader), left):
                    yield batch
                    left -= 1
                if not left:
                    return
        finally:
            sampler.seed, sampler.epoch = before

    def _apart(
        self,
        model: nn.Module,
        owner: AlphaOwner,
        batch: Any,
        drawn: dict[str, Relaxed],
        edge: Edge,
        weights: Sequence[Tensor],
        own: Sequence[tuple[int, tuple]],
    ) -> Tensor:
        """D of one edge and batch, [candidates, candidates]."""
        name, row = owner.ways.space.slots(edge[0])[edge[1]]
        flat = []
        for k in range(drawn[name].weights.shape[1]):
            with owner.mixed_by({**drawn, name: _fixed(drawn[name], row, k)}):
                grads = average(gradient_of(loss_of(model, batch), weights))
            for place, index in own:
                grads[place][index] = 0
            flat.append(torch.cat([grad.flatten() for grad in grads]))
        # in double precision: products in float32 may be rounded to fewer digits on a GPU
        unit = F.normalize(torch.stack(flat).double(), dim=1)
        return 1 - unit @ unit.T


def _fixed(drawn: Relaxed, row: int, candidate: int) -> Relaxed:
    """A draw on one edge of which a candidate alone runs, with the weight 1."""
    weights = drawn.weights.clone()
    active = torch.ones_like(weights, dtype=torch.bool)
    if drawn.active is not None:
        active.copy_(drawn.active)
    weights[row], active[row] = 0, False
    weights[row, candidate], active[row, candidate] = 1, True
    return Relaxed(weights, active, drawn.constant)


def _rows_of(
    owner: AlphaOwner, weights: Sequence[Tensor], edge: Edge
) -> list[tuple[int, tuple[int, ...]]]:
    """Where the candidates of an edge have their weights: the places of tensors, and rows."""
    cell, place = edge
    own = owner.space.cells[cell].edges[place]
    label = f'{own.source}_{own.target}'
    places = {id(weight): i for i, weight in enumerate(weights)}
    found = {}
    for kind, mixed in mixed_operations(owner):
        if kind != cell or label not in mixed.labels:
            continue
        at = mixed.labels.index(label)
        parameters = dict(mixed.named_parameters())
        for candidate in range(len(mixed.candidates[at])):
            for _, key, index in mixed.entries(at, candidate):
                if key in parameters:
                    found[places[id(parameters[key])], index[:1]] = None
    return list(found)


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Within, an ended network trains as it did; afterwards it is evaluated again."""
    model.train()
    try:
        yield
    finally:
        model.eval()


def _within(distances: Sequence[Sequence[float]], groups: Groups) -> float:
    """The summed distance of the pairs within groups."""
    pairs = itertools.chain.from_iterable(itertools.combinations(one, 2) for one in groups)
    return sum(distances[i][j] for i, j in pairs)


def _divides(groups: Any, size: int, count: int) -> bool:
    """Whether groups, which a file may have, are so many of all candidates of an edge."""
    if not isinstance(groups, list) or not all(isinstance(one, list) and one for one in groups):
        return False
    members = [k for group in groups for k in group]
    whole = all(isinstance(k, int) for k in members) and sorted(members) == [*range(size)]
    return whole and len(groups) == count


def _partitions(size: int, count: int) -> Iterator[Groups]:
    """All ways to divide 0, 1, ... into groups, of at least two where there are enough."""
    least = min(2, size // count)

    def place(member: int, groups: Groups) -> Iterator[Groups]:
        missing = sum(max(0, least - len(group)) for group in groups)
        if missing + least * (count - len(groups)) > size - member:
            return
        if member == size:
            yield groups
            return
        for i, group in enumerate(groups):
            yield from place(member + 1, [*groups[:i], [*group, member], *groups[i + 1 :]])
        if len(groups) < count:
            yield from place(member + 1, [*groups, [member]])

    return place(0, [])
