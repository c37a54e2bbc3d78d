"""Candidates are pruned by what they give, without alpha: IS-DARTS
(https://arxiv.org/abs/2312.12648)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from rdarts.architect.architect import Architect
from rdarts.checkpoint.schema import Spec, Table, TensorOf, Whole, check_entry
from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.backbones.base_supernet import BaseSupernet
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.registry import ARCHITECTS
from rdarts.search_spaces import CellTopology
from rdarts.utils.evaluating import evaluating
from rdarts.utils.logging import tell
from rdarts.utils.wording import plural

Per = Literal['edge', 'node']
LARGEST = 80.0  # of the logarithm of a score: e^80 is finite in float32, as a checkpoint must be


def scores_of(output: Tensor) -> Tensor:
    r"""The score of each image of a candidate's output y, of which a small one is good.

    With mean mu and unbiased standard deviation sigma over the channels of each position,

    .. math:: s = \mathrm{mean}\, \frac{3 (y - \mu)^2}{\sigma^6}
                = \mathrm{mean}\, \frac{3 (C - 1)}{C \sigma^4}

    over channels and positions of the first, over positions of the second. It is infinite where
    the C channels of one position are equal, as those of ``none`` are.

    Args:
        output (Tensor): y, [N, C, h, w].

    Returns:
        Tensor: [N], float64.
    """
    channels = output.shape[1]
    output = output if output.dtype == torch.float64 else output.float()
    variance = output.var(1).double()
    score = 3 * (channels - 1) / channels / variance.square()
    return score.nan_to_num(math.inf, math.inf).mean((1, 2))


@ARCHITECTS.register_module()
class ImportanceShrinking(Architect):
    r"""The weights alone learn, on all images; the supernet shrinks by what its candidates give.

    After each of the ``shrink_epochs``, all training images pass the network once more in
    evaluation mode. A candidate's score is the mean of :func:`scores_of` over images and over the
    cells of a type; that of ``none`` is infinite. Then the candidates with the largest scores are
    pruned for good: of the n that are alive on an edge (or on all edges that lead into a node), and
    with T - t shrinks to come, this one included,

    .. math:: \lceil (n - \mathrm{keep}) / (T - t) \rceil,

    so that ``keep`` are left after the last. Of a tie the earlier one goes. An epoch that is named
    twice prunes twice by the same scores. An edge of a node that has none left is dropped.

    There is no L_val and nothing that learns beside the weights; alpha is minus the logarithm of
    the last score of each candidate, within -80 and 80, and goes into no forward: the relaxation is
    :class:`~rdarts.architect.relaxations.equal_weights.EqualWeights`. With it log, report and
    discretisations have the importance of candidates. Regularisers are refused.

    The pass reads the training loader: the images of the epoch, augmented as in it and in its
    order. Where that drops the last, incomplete batch, so does the pass. Batch norms take the
    running statistics where they track any, and otherwise those of the batch. It is computed in the
    precision of the weights, with ``--amp`` as well. Of several ranks, scores are means over the
    images of all.

    The published code
    - passes over the images in the order in which they are stored, batch by batch the same in all
      epochs, as its loader for CIFAR does not shuffle: ours does;
    - augments the images of the pass anew;
    - has a later version whose shrinks lie one or two epochs later and, in the DARTS space, come in
      reverse, so that the first one prunes all: not done here.

    Args:
        shrink_epochs (Sequence[int]): After which epochs, counted from 1, in order.
        per (str): Whether the candidates of each ``'edge'`` compete, or those of all edges into a
            ``'node'``. Defaults to ``'edge'``.
        keep (int): How many candidates are left. Defaults to 1.

    Raises:
        UserError: ``shrink_epochs`` has none, or is not in order, or an argument is out of its
            range.
    """

    single_level = True
    through_network = False
    takes_regularizers = False

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What holds of the arguments of a config together: the key and line of each fault."""
        epochs = list(arguments['shrink_epochs'])
        if epochs != sorted(epochs):
            yield 'shrink_epochs', f'must be in order, but is {epochs}'

    def __init__(
        self, shrink_epochs: Sequence[Positive], per: Per = 'edge', keep: Positive = 1
    ) -> None:
        super().__init__()
        epochs = list(shrink_epochs)
        whole = all(isinstance(one, int) and one >= 1 for one in epochs)
        if not epochs or not whole or epochs != sorted(epochs):
            raise UserError(
                f'shrink_epochs must be epochs, from 1 on and in order, but is {epochs!r}'
            )
        if per not in ('edge', 'node'):
            raise UserError(f"per must be 'edge' or 'node', but is {per!r}")
        if not isinstance(keep, int) or keep < 1:
            raise UserError(f'keep must be a positive integer, but is {keep!r}')
        self.shrink_epochs, self.per, self.keep = epochs, per, keep
        self.shrinks = 0
        self._batches = 0  # of the running pass

    def __str__(self) -> str:
        epochs = ', '.join(map(str, self.shrink_epochs))
        return f'no alpha; candidates of each {self.per} are pruned after the epochs {epochs}'

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: The model is no supernet, not all of its candidates run, or ``keep`` leaves
                nothing to prune.
        """
        super().prepare(*args, **kwargs)
        owner, name = self.owner, type(self).__name__
        if not isinstance(owner, BaseSupernet):
            raise UserError(f'{name} needs a supernet, but the model has {type(owner).__name__}')
        if owner.relaxation.sampled:
            raise UserError(
                f'{name} needs all candidates to run, but {type(owner.relaxation).__name__} draws '
                "some: set model.backbone.relaxation.type='rdarts.EqualWeights'"
            )
        most = max(
            sum(len(topology.edges[edge].candidates) for edge in edges)
            for topology in owner.space.cells.values()
            for edges in self._competing(topology)
        )
        if self.keep >= most:
            raise UserError(
                f'keep is {self.keep}, but no {self.per} has more than '
                f'{plural(most, "candidate")}: nothing would be pruned'
            )
        self._places = _places(owner)
        # a candidate is handed over once a cell
        self._handed = Counter(self._places.values())
        self._count = sum(
            len(edge.candidates) for cell in owner.space.cells.values() for edge in cell.edges
        )
        self._sums = self._zeros()

    def _zeros(self) -> Tensor:
        """Of each candidate the sum of scores, and the number of images."""
        return torch.zeros(self._count + 1, dtype=torch.float64, device=self.alphas[0].device)

    # State

    def own_state(self) -> dict[str, Any]:
        """See :meth:`Architect.own_state`: shrinks that are done, and how far a pass is."""
        return dict(shrinks=self.shrinks, batches=self._batches, sums=self._sums.cpu())

    def own_spec(self) -> Spec:
        """See :meth:`Architect.own_spec`."""
        sums = TensorOf(None, torch.float64, 0, finite=False)
        shrinks = Whole(0, len(self.shrink_epochs))
        return Table(dict(shrinks=shrinks, batches=Whole(), sums=sums))

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Architect.load_own_state`.

        Raises:
            EntryError: It is of another space.
        """
        sums = TensorOf(tuple(self._sums.shape), finite=False)
        check_entry(state['sums'], sums, 'arch.own.sums')
        self.shrinks, self._batches = state['shrinks'], state['batches']
        self._sums = state['sums'].to(self._sums.device)

    # The weights' step

    def rehearse(self, batch: Any) -> None:
        """See :meth:`Architect.rehearse`."""
        self.model.train_step(batch, self.optim_wrapper)

    def restore_last_batch(self) -> str | None:
        """See :meth:`Architect.restore_last_batch`."""
        return f'{type(self).__name__} has no batches of alpha'

    # The pass

    def why_never(self, epochs: int) -> str:
        """See :meth:`Architect.why_never`."""
        first = self.shrink_epochs[0]
        of = plural(epochs, 'epoch')
        return '' if first <= epochs else f'shrink_epochs begins with {first}, of {of}'

    def passes(self, epochs: int) -> int:
        """See :meth:`Architect.passes`."""
        return len({one for one in self.shrink_epochs if one <= epochs})

    @property
    def _due(self) -> int:
        """Shrinks that are to be done by the end of the running epoch."""
        return sum(one <= self.epoch + 1 for one in self.shrink_epochs)

    def pass_from(self) -> int | None:
        """See :meth:`Architect.pass_from`."""
        return self._batches if self.shrinks < self._due else None

    def after_epoch(self, batch: Any, last: bool) -> None:
        """See :meth:`Architect.after_epoch`."""
        sums = self._sums_of(batch)
        all_reduce(sums)  # here, as the checkpoint that a pass is resumed from is one rank's
        self._sums = self._sums + sums
        self._batches += 1
        if last:
            scores = self._scores()
            self._remember(scores)
            while self.shrinks < self._due:
                self.shrink(scores)
            self._batches, self._sums = 0, self._zeros()

    def _sums_of(self, batch: Any) -> Tensor:
        """Of each candidate the sum of its scores over the images and cells, as :meth:`_zeros`."""
        found: dict[int, Tensor] = {}

        def add(path: str, edge: str, name: str, output: Tensor) -> None:
            place = self._places[path, edge, name]
            score = scores_of(output).sum()
            found[place] = found[place] + score if place in found else score

        data = self.model.data_preprocessor(batch, False)
        # in the weights' own precision: in 16 bits two channels may be equal that are not
        with torch.no_grad(), evaluating(self.model), self.owner.observe(add):
            self.model._run_forward(data, mode='tensor')
        device = self._sums.device
        nothing = torch.full((), math.inf, dtype=torch.float64, device=device)
        images = torch.full((), len(data['inputs']), dtype=torch.float64, device=device)
        rows = [found.get(place, nothing) for place in range(self._count)]
        return torch.stack([*rows, images])

    def _scores(self) -> dict[str, list[list[float]]]:
        """The mean scores of the pass: cell type -> for each edge those of its candidates."""
        *sums, images = self._sums.tolist()
        means = (total / images / max(1, self._handed[place]) for place, total in enumerate(sums))
        return {
            cell: [[next(means) for _ in edge.candidates] for edge in topology.edges]
            for cell, topology in self.owner.space.cells.items()
        }

    def _remember(self, scores: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Write alpha: of candidates that were pruned it stays."""
        space, alive = self.owner.space, self.owner.alive
        alphas = {name: alpha.tolist() for name, alpha in zip(self.names, self.alphas, strict=True)}
        for cell in space.cells:
            for edge, (name, row) in enumerate(space.slots(cell)):
                for k, score in enumerate(scores[cell][edge]):
                    if alive[cell][edge][k]:
                        alphas[name][row][k] = -_log(score)
        for name, alpha in zip(self.names, self.alphas, strict=True):
            alpha.data.copy_(torch.tensor(alphas[name], dtype=alpha.dtype))

    def shrink(self, scores: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Prune the candidates with the largest scores, by the next of the shrinks.

        Args:
            scores (dict[str, Sequence[Sequence[float]]]): Cell type -> for each edge those of all
                its candidates; of what was pruned they have no say.
        """
        owner, to_come = self.owner, len(self.shrink_epochs) - self.shrinks
        pruned = 0
        for cell, topology in owner.space.cells.items():
            alive = owner.alive[cell]
            for edges in self._competing(topology):
                left = [(edge, k) for edge in edges for k, flag in enumerate(alive[edge]) if flag]
                count = max(0, math.ceil((len(left) - self.keep) / to_come))
                # in order, of a tie the earlier one
                worst = sorted(left, key=lambda place: -scores[cell][place[0]][place[1]])[:count]
                for edge in edges:
                    self._prune(cell, edge, [k for other, k in worst if other == edge])
                pruned += count
        self.shrinks += 1
        flags = [flag for edges in owner.alive.values() for edge in edges for flag in edge]
        left = f'{sum(flags)} of {len(flags)} are left'
        tell(f'shrink {self.shrinks}: {plural(pruned, "candidate")} pruned, {left}')

    def _competing(self, topology: CellTopology) -> list[list[int]]:
        """The edges whose candidates compete."""
        if self.per == 'edge':
            return [[edge] for edge in range(len(topology.edges))]
        nodes = range(topology.num_inputs, topology.num_nodes)
        return [topology.edges_into(node) for node in nodes]

    def _prune(self, cell: str, edge: int, candidates: Sequence[int]) -> None:
        if not candidates:
            return
        if len(candidates) == sum(self.owner.alive[cell][edge]):
            self.owner.drop_edge(cell, edge)
            return
        names = self.owner.space.cells[cell].edges[edge].candidates
        self.owner.prune(cell, edge, [names[k] for k in candidates])


def _log(score: float) -> float:
    """The logarithm, within bounds."""
    return min(LARGEST, max(-LARGEST, math.log(score) if score > 0 else -math.inf))


def _places(supernet: BaseSupernet) -> dict[tuple[str, str, str], int]:
    """Of what an observer is told, path, edge and operation, the candidate's number.

    Candidates are counted by cell type, edge and place.
    """
    numbers: dict[tuple[str, str, str], int] = {}
    for cell, topology in supernet.space.cells.items():
        for edge in topology.edges:
            for name in edge.candidates:
                numbers[cell, f'{edge.source}_{edge.target}', name] = len(numbers)
    # a mixed operation that is in no cell is of the only type
    within, kind = '', next(iter(supernet.space.cells))
    kinds = iter(supernet.cell_types)
    found = {}
    for path, module in supernet.named_modules():
        if isinstance(module, SearchCell):
            within, kind = f'{path}.', next(kinds)
        if isinstance(module, MixedOp) and path.startswith(within):
            for label, names in zip(module.labels, module.candidates, strict=True):
                found.update({(path, label, n): numbers[kind, label, n] for n in names})
    return found
