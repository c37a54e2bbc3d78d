"""Operations that stop learning one by one, where they overfit: OLES
(https://openreview.net/forum?id=yAOwkf4FyL)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.gradients import average, gradient_of, only_training
from rdarts.architect.held_rows import HeldRows
from rdarts.checkpoint.schema import Maybe, Spec, Table, TensorOf, Whole, check_entry
from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.mixed_ops.mixed_op import MixedOp, Place
from rdarts.registry import ARCHITECTS
from rdarts.utils import host

Cosine = Literal['operation', 'output_channels']
Freezes = Literal['weights', 'gradients']


@ARCHITECTS.register_module()
class OperationEarlyStopping(FirstOrder):
    r"""An operation of an edge of a cell is frozen for good where its gradients disagree.

    Of each operation o, the gradient matching score of a step is

    cos(d L_train / d w_o, d L_val / d w_o),

    of the last step of the weights and of alpha's batch. Where the mean of ``num_scores`` scores is
    below the threshold, the weights of o have begun to overfit and move no more: their gradient
    (which is in no clip either), momentum and weight decay stop alike. Operations that count as
    parameter-free are not looked at, as published, though a skip connection of stride 2 has
    weights. Statistics of frozen batch norms move on. The gradient of L_val is taken in alpha's
    own step, which then costs as much as one of the weights. Of several ranks, gradients are
    averaged.

    The published code differs in four ways:
    - It takes the cosine of each tensor along its output channels alone, and averages that over all
      else and over the tensors: ``cosine='output_channels'``.
    - Alpha's step adds to gradients of the weights that nobody set to zero, so the score is that
      of d L_train (clipped) and d L_train + d L_val, which is larger: ``adds_up=True``. Its
      threshold is of such scores.
    - With PyTorch below 2, frozen weights go on moving by momentum and weight decay:
      ``freezes='gradients'``.
    - It adds up 21 scores and divides them by 20: ``num_scores=21`` with 20 / 21 of the threshold.

    Args:
        threshold (float): Of the mean score. Defaults to .4.
        num_scores (int): How many scores are averaged, one of each step of alpha. Defaults to 20.
        cosine (str): ``'operation'``, of all gradients of an operation as one vector, or
            ``'output_channels'``. Defaults to ``'operation'``.
        adds_up (bool): Whether the gradient of L_val is added to the other. Defaults to False.
        freezes (str): ``'weights'``, or ``'gradients'`` alone. Defaults to ``'weights'``.

    Attributes:
        num_frozen (int): Operations that are frozen.

    Raises:
        UserError: The threshold is not between -1 and 1, ``num_scores`` is no positive integer, or
            a name is not known.
    """

    def __init__(
        self,
        threshold: float = 0.4,
        num_scores: Positive = 20,
        cosine: Cosine = 'operation',
        adds_up: bool = False,
        freezes: Freezes = 'weights',
    ) -> None:
        super().__init__()
        if not -1 < threshold < 1:
            raise UserError(f'threshold must be between -1 and 1, but is {threshold!r}')
        if not isinstance(num_scores, int) or num_scores < 1:
            raise UserError(f'num_scores must be a positive integer, but is {num_scores!r}')
        for name, value, known in (('cosine', cosine, Cosine), ('freezes', freezes, Freezes)):
            if value not in get_args(known):
                raise UserError(f'{name} must be one of {get_args(known)}, but is {value!r}')
        self.threshold, self.num_scores = threshold, num_scores
        self.cosine, self.adds_up, self.freezes = cosine, adds_up, freezes
        self.num_frozen = 0

    def __str__(self) -> str:
        return (
            f'first order, operations stop at a mean gradient cosine below {self.threshold:g} '
            f'over {self.num_scores} steps'
        )

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: No operation has weights, or operations share some.
        """
        super().prepare(*args, **kwargs)
        own = {id(weight) for weight in self.weights}
        places = {id(p): i for i, p in enumerate(self._parameters) if id(p) in own}
        self.rows = OperationRows(self.owner, self.model, places)
        device, count = self.alphas[0].device, len(self.rows.operations)
        known = {*self.rows.places}
        self._others = [i for i in places.values() if i not in known]
        self._train: Tensor | None = None  # as OperationRows.flat gives it, of the last step
        self._val: Tensor | None = None
        self._sums = torch.zeros(count, device=device, dtype=self.alphas[0].dtype)
        self._counts = torch.zeros_like(self._sums)
        self._scores = 0
        self.frozen = torch.zeros(count, dtype=torch.bool, device=device)
        optimizer, alone = self.optim_wrapper.optimizer, self.freezes == 'gradients'
        self._held = HeldRows(optimizer, gradients_alone=alone)
        self._freeze()

    # State

    def own_state(self) -> dict[str, Any]:
        """See :meth:`Architect.own_state`."""
        return dict(
            train=self._train,
            sums=self._sums,
            counts=self._counts,
            scores=self._scores,
            frozen=self.frozen,
        )

    def own_spec(self) -> Spec:
        """See :meth:`Architect.own_spec`."""
        return _spec(None, None)

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Architect.load_own_state`.

        Raises:
            EntryError: It is of another network.
        """
        check_entry(state, _spec(len(self.frozen), self.rows.size), 'arch.own')
        device = self.frozen.device
        train = state['train']
        self._train = None if train is None else train.to(device)
        self._sums, self._counts = state['sums'].to(device), state['counts'].to(device)
        self._scores, self.frozen = state['scores'], state['frozen'].to(device)
        self._freeze()

    def numbers(self) -> dict[str, float]:
        """How many operations are frozen, of how many."""
        return dict(frozen=self.num_frozen, operations=len(self.rows.operations))

    # Alpha's step

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`; that of the operations' weights comes with it."""
        own = [self._parameters[i] for i in self.rows.places]
        others = [self._parameters[i] for i in self._others]
        with only_training((*self.alphas, *own), others):
            loss, scale = self.loss(val_batch), self.loss_scale
            grads = gradient_of(scale * loss, (*self.alphas, *own))
        self._val = self.rows.flat(grads[len(self.alphas) :]) / scale
        return grads[: len(self.alphas)], loss.detach()

    def move(self) -> None:
        """See :meth:`Architect.move`: operations are scored as well, and frozen."""
        super().move()
        if self._train is None or self._val is None:
            return
        (val,) = average([self._val])
        scores = self.scores(self._train, self._train + val if self.adds_up else val)
        counts = torch.isfinite(scores)  # not of what did not run
        self._sums = self._sums + torch.where(counts, scores, 0)
        self._counts = self._counts + counts
        self._scores += 1
        if self._scores % self.num_scores == 0:
            low = self._sums < self.threshold * self._counts
            self.frozen = self.frozen | low
            self._sums, self._counts = torch.zeros_like(self._sums), torch.zeros_like(self._counts)
            self._freeze()

    def scores(self, train: Tensor, val: Tensor) -> Tensor:
        """The gradient matching score of each operation, NaN where it has none.

        Args:
            train, val (Tensor): Gradients as :meth:`OperationRows.flat` gives them.
        """
        pairs = list(zip(self.rows.blocks(train), self.rows.blocks(val), strict=True))
        if self.cosine == 'output_channels':
            rows = [F.cosine_similarity(a, b, dim=1).mean(1) for a, b in pairs]
            return self.rows.total(rows) / self.rows.counts
        dot, one, other = (
            self.rows.total([(pair[i] * pair[j]).sum((1, 2)) for pair in pairs])
            for i, j in ((0, 1), (0, 0), (1, 1))
        )
        return dot / (one.sqrt() * other.sqrt())

    def _freeze(self) -> None:
        """Take note of what is frozen. It is read on the host: once in so many scores."""
        flags = host.read(self.frozen)
        self.num_frozen = sum(flags)
        self._frozen_rows = []
        for place, operations in zip(self.rows.places, self.rows.members, strict=True):
            weight = self._parameters[place]
            rows = [row for row, operation in enumerate(operations) if flags[operation]]
            if len(rows) == len(operations):
                rows = list(range(weight.shape[0] if weight.dim() else 1))  # stacked or not
            if rows:
                self._frozen_rows.append((weight, rows))

    # The weights' step

    def before_clip(self, loss: Tensor) -> None:
        """See :meth:`Architect.before_clip`: what is frozen has no gradient."""
        self._held.hold(self._frozen_rows)

    def after_weights_step(self) -> None:
        """See :meth:`Architect.after_weights_step`: what is frozen is where it was."""
        weights = [self._parameters[i] for i in self.rows.places]
        grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        self._train = self.rows.flat(grads)
        self._held.release()


class OperationRows:
    """Where the operations of a network have their weights, so that all are looked at together.

    Weights are stacked over edges: an operation of one edge has a row of each of some parameters.
    Those whose rows have the same shape are neighbours, so that a few tensors take the place of
    hundreds of operations.

    Args:
        owner (AlphaOwner): Of alpha, which knows what counts as parameter-free.
        model (Module): With the mixed operations.
        places (dict[int, int]): Of each parameter that learns, by ``id``, its place.

    Attributes:
        operations (list[tuple[str, int, str]]): Path of the mixed operation, edge, and name.
        places (list[int]): Of the parameters that the operations have.
        members (list[list[int]]): The operation of each of their rows.
        counts (Tensor): How many rows each operation has.
        size (int): Of what :meth:`flat` gives.

    Raises:
        UserError: No operation has weights, or operations share some.
    """

    def __init__(self, owner: AlphaOwner, model: nn.Module, places: Mapping[int, int]) -> None:
        space = owner.space
        looked_at = set(space.candidates) - space.parameter_free
        self.operations: list[tuple[str, int, str]] = []
        found: dict[int, tuple[nn.Parameter, dict[Place, int]]] = {}
        for path, mixed in model.named_modules():
            if not isinstance(mixed, MixedOp):
                continue
            own = {key: p for key, p in mixed.named_parameters() if id(p) in places}
            for edge, names in enumerate(mixed.candidates):
                for candidate, name in enumerate(names):
                    entries = mixed.entries(edge, candidate) if name in looked_at else ()
                    weights = [(own[key], index) for _, key, index in entries if key in own]
                    for weight, index in weights:
                        _, of_rows = found.setdefault(places[id(weight)], (weight, {}))
                        if len(index) > 1 or index in of_rows:
                            raise UserError(
                                f'operations that stop one by one share no weights, but {name} of '
                                f'{path} does'
                            )
                        of_rows[index] = len(self.operations)
                    if weights:
                        self.operations.append((path, edge, name))
        if not self.operations:
            raise UserError('no operation of the network has weights that could stop to learn')
        device = next(iter(owner.arch_parameters.values())).device
        shapes = {place: _shape_of_rows(*one) for place, one in found.items()}
        self.places = sorted(found, key=lambda place: (shapes[place], place))
        self.members = [[own for _, own in sorted(found[p][1].items())] for p in self.places]
        owners = list(itertools.chain(*self.members))
        of_operation: list[list[int]] = [[] for _ in self.operations]
        for row, operation in enumerate(owners):
            of_operation[operation].append(row)
        self.counts = torch.tensor([len(rows) for rows in of_operation], device=device)
        widest = max(map(len, of_operation))
        padded = [rows + [len(owners)] * (widest - len(rows)) for rows in of_operation]
        self._rows = torch.tensor(padded, device=device)
        self._shapes: list[tuple[int, int, int]] = []
        for shape, group in itertools.groupby(self.places, shapes.get):
            self._shapes.append((sum(len(found[place][1]) for place in group), *shape))
        self._sizes = [n * channels * rest for n, channels, rest in self._shapes]
        self.size = sum(self._sizes)

    def flat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors of the parameters at :attr:`places` in one, [size]."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def blocks(self, flat: Tensor) -> list[Tensor]:
        """What :meth:`flat` gave as rows of one shape each, [rows, output channels, rest]."""
        parts = flat.split(self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def total(self, numbers: Sequence[Tensor]) -> Tensor:
        """The sum over the rows of each operation, [operations].

        Args:
            numbers (Sequence[Tensor]): A number for each row of each block.
        """
        each = torch.cat([*numbers, numbers[0].new_zeros(1)])
        return each[self._rows].sum(1)


def _shape_of_rows(weight: nn.Parameter, rows: Mapping[Place, int]) -> tuple[int, int]:
    """Output channels, and the number of weights of each."""
    shape = weight.shape if () in rows else weight.shape[1:]
    channels = shape[0] if len(shape) else 1
    return channels, shape.numel() // channels


def _spec(operations: int | None, size: int | None) -> Table:
    """What the own state of :class:`OperationEarlyStopping` is."""
    shape = None if operations is None else (operations,)
    return Table(
        dict(
            train=Maybe(TensorOf(None if size is None else (size,))),
            sums=TensorOf(shape),
            counts=TensorOf(shape, least=0),
            scores=Whole(),
            frozen=TensorOf(shape, torch.bool),
        )
    )
