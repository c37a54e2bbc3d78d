"""Alpha's step, whole and plain: L_val, its gradient, what is added to it, and the optimizer.

An :class:`Architect` knows no runner, so that a search, a benchmark and a test run the same code.
How d L_val / d alpha is taken is its subclass's: see :mod:`rdarts.architect.architects`.

Longer than 400 lines: one class, whose pieces methods override one by one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_reduce, broadcast, get_dist_info
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from rdarts.architect.alpha_step import AlphaStep, Penalty, StepFailed, share_of_loss
from rdarts.architect.gradients import average, gradient_of, loss_of, only_training
from rdarts.architect.weights_step import WeightsStep
from rdarts.checkpoint.run_state import check_loss_scaler, check_optimizer
from rdarts.checkpoint.schema import Spec, Table, check_entry
from rdarts.configuration.schedule import Scheduled
from rdarts.datasets.loaders import iterate_from, loader_sampler
from rdarts.errors import UserError
from rdarts.models.alpha import find_alpha_owner
from rdarts.utils import host
from rdarts.utils.random_state import preserve_random_state

if TYPE_CHECKING:
    from rdarts.architect.regularizers import Regularizer


class Architect(Scheduled):
    """Moves alpha by d (L_val + sum_i lambda_i R_i) / d alpha, one step at a time.

    Alpha is frozen (``requires_grad=False``) outside its step, and the weights are frozen within
    it, so neither step computes a gradient for the other's parameters. L_val comes from the
    search's own half of the training images. A subclass is registered in ``ARCHITECTS``, takes
    its options in ``__init__`` and overrides :meth:`gradient`; the rest it finds in the
    attributes, which are there after :meth:`prepare`.

    It may change the weights' step as well: what is around it in :meth:`train_step`, the gradients
    before they are clipped in :meth:`before_clip`, the weights in :meth:`after_weights_step`. What
    it must be resumed with is its :meth:`own_state`. A number that changes over the epochs is one
    of its ``schedules``; the log has ``numbers()`` of every epoch, and :attr:`row` of iterations.

    Attributes:
        single_level (bool): Whether alpha's gradient comes from the weights' step, by
            :class:`~rdarts.architect.architects.single_level.SingleLevel`, or there is none to be
            taken: no batch of its own is needed. Defaults to False.
        needs_train_batch (bool): Whether :meth:`gradient` takes the batch of the weights' step.
            Defaults to False.
        through_network (bool): Whether it takes alpha's gradient through the network. Defaults to
            True.
        takes_regularizers (bool): Whether there is a loss that regularisers can be added to.
            Defaults to True.
        trains_weights (bool): Whether the weights learn. Defaults to True.
        keeps_passes (bool): Whether it may need what a pass through the network gave after the next
            one has begun, so that CUDA graphs, which write over it, are refused. Defaults to True,
            also for a subclass of an architect that keeps nothing, which may do so itself.
        clip (float | None): The largest norm of alpha's gradient, all groups together; it is scaled
            down to that. Defaults to none.
        epoch (int): The running one, from 0.
        moving (bool): Whether alpha moves in the running iteration.
        regularizers (dict[str, Regularizer]): What is added to L_val, by name.
        model (Module): The model, without a wrapper.
        optim_wrapper (OptimWrapper): Of the weights: the precision, and what order 2 unrolls.
        loader (DataLoader | None): Of L_val; None for a single-level architect.
        optimizer (Optimizer | None): Alpha's own; None where there is no alpha.
        scaler (GradScaler | None): Alpha's own, where the weights' wrapper scales its loss.
        names, alphas (list): The groups of alpha, and alpha itself, [edges, candidates] each.
        moved (list[Tensor]): What alpha's optimizer moves, :meth:`views` of alpha.
        steps (int): Steps that were taken.
        last_batch (Any): That of the last L_val; None before the first.
        taken (AlphaStep | None): What alpha's last step was made of; who tells of it empties it.
        row (dict[str, Tensor]): What a subclass adds to the row of the running iteration.
    """

    single_level = False
    needs_train_batch = False
    through_network = True
    takes_regularizers = True
    trains_weights = True
    keeps_passes = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.keeps_passes = vars(cls).get('keeps_passes', True)

    def __init__(self) -> None:
        self.regularizers: dict[str, Regularizer] = {}
        self.clip: float | None = None
        self.steps, self.epoch, self.moving = 0, 0, True
        self.last_batch: Any = None
        self.taken: AlphaStep | None = None
        self.row: dict[str, Tensor] = {}
        self._iterator: Iterator | None = None

    def __str__(self) -> str:
        """A few words for the log."""
        return type(self).__name__

    def prepare(
        self,
        model: nn.Module,
        optim_wrapper: OptimWrapper,
        loader: DataLoader | None,
        optimizer: Callable[[list[Tensor]], Optimizer],
    ) -> None:
        """Take what is searched; every rank takes the first one's alpha.

        Args:
            model (Module): The model, without a wrapper. It has one owner.
            optim_wrapper (OptimWrapper): Of the weights.
            loader (DataLoader | None): Of L_val; an epoch of it is never empty. None for a
                single-level architect.
            optimizer (Callable): Makes alpha's optimizer of what it moves.

        Raises:
            UserError: The model has no supernet, or more than one; or its relaxation gives alpha no
                gradient, which this architect takes.
        """
        self.model, self.optim_wrapper, self.loader = model, optim_wrapper, loader
        self.owner = find_alpha_owner(model)
        why = self.owner.relaxation.no_gradient
        if why and self.through_network:
            raise UserError(
                f'{type(self).__name__} takes the gradient of alpha through the network, but '
                f'{type(self.owner.relaxation).__name__} gives none: {why}'
            )
        self._parameters = list(model.parameters())  # to go through all modules takes milliseconds
        for regularizer in self.regularizers.values():
            regularizer.prepare(self.owner)
        self.names = list(self.owner.arch_parameters)
        self.alphas = list(self.owner.arch_parameters.values())
        for alpha in self.alphas:
            broadcast(alpha.data)
        self.moved = self.views(self.alphas)
        self.optimizer = optimizer(self.moved) if self.moved else None
        self.scaler: torch.amp.GradScaler | None = None
        if not self.single_level and getattr(optim_wrapper, 'loss_scaler', None) is not None:
            self.scaler = torch.amp.GradScaler(self.alphas[0].device.type)
        self._iterator = None

    def views(self, tensors: list[Tensor]) -> list[Tensor]:
        """Alpha, or its gradients, as alpha's optimizer has them: by default the groups.

        Args:
            tensors (list[Tensor]): [edges, candidates] of each group.

        Returns:
            list[Tensor]: These, or views of them. An optimizer passes over those that are left
            without a gradient.
        """
        return tensors

    def of_copy(self, model: nn.Module, optim_wrapper: OptimWrapper) -> Architect:
        """This architect of a copy of the model, for :meth:`gradient` alone.

        Args:
            model (Module): The copy.
            optim_wrapper (OptimWrapper): That of its weights.
        """
        found = copy.copy(self)
        found.model, found.optim_wrapper = model, optim_wrapper
        found.owner = find_alpha_owner(model)
        found.alphas = [found.owner.arch_parameters[name] for name in self.names]
        found._parameters = list(model.parameters())
        return found

    def rehearse(self, batch: Any) -> None:
        """An iteration of a search, of which alpha stays: what is timed on a copy.

        Args:
            batch (dict): Of the training loader; L_val is of it, too.
        """
        with self.owner.alpha_phase():
            self.gradient(batch, batch)
        self.model.train_step(batch, self.optim_wrapper)

    # State

    def state_dict(self) -> dict[str, Any]:
        """What a resumed search needs: plain data and tensors."""
        return dict(
            steps=self.steps,
            optimizer=None if self.optimizer is None else self.optimizer.state_dict(),
            scaler=None if self.scaler is None else self.scaler.state_dict(),
            own=self.own_state(),
        )

    def own_state(self) -> dict[str, Any]:
        """What a subclass must be resumed with: plain data and tensors. By default nothing."""
        return {}

    def own_spec(self) -> Spec:
        """What :meth:`own_state` must be; asked before :meth:`prepare`."""
        return Table()

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`own_state` gave."""

    def check_state(
        self, state: Mapping[str, Any], optimizer: Optimizer | None, device: torch.device
    ) -> None:
        """What is to be loaded must be what :meth:`state_dict` gives.

        Args:
            state (dict): That of a checkpoint.
            optimizer (Optimizer | None): One as alpha's own will be.
            device (device): Of the model.

        Raises:
            EntryError: It is not.
        """
        if optimizer is not None:
            check_optimizer(state['optimizer'], optimizer, 'arch.optimizer')
        if state['scaler'] is not None:
            scaler = torch.amp.GradScaler(device.type)
            check_loss_scaler(state['scaler'], scaler, 'arch.scaler')
        check_entry(state.get('own', {}), self.own_spec(), 'arch.own')

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.steps, self.last_batch, self._iterator = state['steps'], None, None
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state['optimizer'])
        if self.scaler is not None and state['scaler']:
            self.scaler.load_state_dict(state['scaler'])
        self.load_own_state(state.get('own', {}))

    def set_progress(self, epoch: int, max_epochs: int) -> None:
        """Tell all that changes over the epochs which one begins.

        Args:
            epoch (int): From 0.
            max_epochs (int): Of the schedule.
        """
        super().set_progress(epoch, max_epochs)
        self.epoch = epoch
        self.owner.set_progress(epoch, max_epochs)
        for regularizer in self.regularizers.values():
            regularizer.set_progress(epoch, max_epochs)

    # The step

    def step(self, train_batch: Any) -> AlphaStep:
        """One step of alpha.

        Args:
            train_batch (dict): The batch of the weight step, which order 2 unrolls.

        Raises:
            StepFailed: L_val, or the gradient of alpha, is NaN or infinite, or the ranks drew
                other candidates. Alpha has not moved.
        """
        self.last_batch = self.next_batch()
        grads, loss, scale = self.loss_gradient(train_batch, self.last_batch)
        return self.step_along(grads, loss, 'search loss L_val', scale, self.scaler is not None)

    def step_along(
        self, grads: list[Tensor], loss: Tensor, name: str, scale: float, may_overflow: bool
    ) -> AlphaStep:
        """Add what regularisers add to a gradient, and step.

        Args:
            grads (list[Tensor]): Of each group, the mean over ranks, without a loss scale.
            loss (Tensor): That it is of, of this rank.
            name (str): The loss's.
            scale (float): That the gradient was computed with.
            may_overflow (bool): Whether it may be infinite, so that alpha stays.

        Raises:
            StepFailed: See :meth:`step`.
        """
        penalties = self.penalty_gradients()
        total = self.combine(loss, grads, penalties)
        finite = torch.stack([torch.isfinite(one).all() for one in (loss, *total)]).all()
        value, finite, differ = host.read([loss.reshape(()), finite, self._ranks_differ()])
        self._check_draws(differ)
        if not math.isfinite(value):
            raise StepFailed(f'the {name} became {value}', ': a lower learning rate may help.')
        if finite:
            for alpha, grad in zip(self.alphas, total, strict=True):
                alpha.grad = grad.to(alpha.dtype)
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.alphas, self.clip)
            self.move()
        elif not may_overflow:
            what = "alpha's gradient became NaN or infinite"
            raise StepFailed(what, f' although the {name} is finite.')
        for alpha in (*self.alphas, *self.moved):
            alpha.grad = None
        self.steps += 1
        # copies, as the next pass of a network in CUDA graphs writes over what this one's gave
        own = [grad.clone() for grad in grads]
        self.taken = AlphaStep(loss, value, own, penalties, total, scale, finite)
        return self.taken

    def move(self) -> None:
        """Step alpha's optimizer, where alpha has its gradient.

        What was drawn is in ``owner.drawn`` and ``owner.mixed``.
        """
        self.optimizer.step()

    def _ranks_differ(self) -> bool | Tensor:
        """Whether not all mixed the same candidates, so that their mean is no gradient: a flag."""
        drawn = self.owner.drawn
        if not drawn or get_dist_info()[1] == 1:
            return False
        chosen = torch.cat([active.flatten() for active in drawn]).int()
        some = torch.stack([chosen, 1 - chosen])  # by any rank; by not every rank
        all_reduce(some, 'max')
        return some.all(0).any()

    def _check_draws(self, differ: bool) -> None:
        if differ:
            raise StepFailed(
                'the ranks drew different candidates',
                f": {type(self.owner.relaxation).__name__} must draw from torch's global "
                'generator on the device of alpha, whose state is the same on all ranks unless a '
                'transform or hook draws from it on one of them.',
            )

    def next_batch(self) -> Any:
        """The next batch of L_val: a function of (seed, number of steps taken)."""
        if self._iterator is None:
            epoch, batch = divmod(self.steps, len(self.loader))
            sampler = loader_sampler(self.loader)
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            self._iterator = iterate_from(self.loader, batch)
        batch = next(self._iterator)
        if (self.steps + 1) % len(self.loader) == 0:
            self._iterator = None
        return batch

    def restore_last_batch(self) -> str | None:
        """Load the last batch again, where a run was resumed after it.

        Returns:
            str | None: Why there is none, if so.
        """
        if self.last_batch is not None:
            return None
        if not self.steps:
            return 'alpha has not moved yet'
        sampler = loader_sampler(self.loader)
        if not hasattr(sampler, 'skip'):
            return (
                'the run was resumed after its last batch, to which the sampler '
                f'{type(sampler).__name__} cannot return; use rdarts.SeededSampler in '
                'arch_dataloader'
            )
        # batches are a function of the number of steps; the iterator is left where the run had it
        self.steps -= 1
        with preserve_random_state():
            self.last_batch = self.next_batch()
        self.steps += 1
        return None

    @property
    def weights(self) -> list[nn.Parameter]:
        """The parameters that the weight step moves."""
        return [p for p in self._parameters if p.requires_grad]

    @property
    def loss_scale(self) -> float:
        """By what a loss is multiplied before its backward pass; 1 without float16."""
        return 1.0 if self.scaler is None else self.scaler.get_scale()

    @property
    def weights_loss_scale(self) -> Tensor:
        """The same of the weights' step, a scalar on the device of the model."""
        one = torch.ones((), device=self._parameters[0].device)
        scaler = getattr(self.optim_wrapper, 'loss_scaler', None)
        return one if scaler is None else scaler.scale(one)

    @contextmanager
    def training_alpha(self) -> Iterator[None]:
        """Within, alpha is trainable and the weights are frozen, in the phase ``'alpha'``."""
        with only_training(self.alphas, self.weights), self.owner.alpha_phase():
            yield

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch as alpha's step takes it, with a graph to what is trainable.

        The forward pass is in the precision of the weight step, and the relaxation in the phase
        ``'alpha'``.

        Args:
            batch (dict): What a data loader gives.
        """
        with self.owner.alpha_phase():
            return self.weights_loss(batch)

    def weights_loss(self, batch: Any) -> Tensor:
        """The loss of a batch as the weights' step takes it: :meth:`loss` in the phase of now."""
        with self.optim_wrapper.optim_context(self.model):
            return loss_of(self.model, batch)

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """d L_val / d alpha of this rank, by :meth:`loss`.

        Args:
            train_batch (dict): The batch of the weight step.
            val_batch (dict): The batch of L_val.

        Returns:
            tuple[list[Tensor], Tensor]: The gradient of each group times :attr:`loss_scale`, and
            L_val, detached.
        """
        raise TypeError(f'{type(self).__name__} does not override gradient')

    def loss_gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor, float]:
        """d L_val / d alpha, averaged over ranks, without regularisers.

        Returns:
            tuple[list[Tensor], Tensor, float]: The gradient of each group, L_val of this rank,
            and the loss scale (1 without float16), by which it is divided.
        """
        scale = self.loss_scale
        with self.owner.alpha_phase():  # of the backward passes, which may compute layers anew
            grads, loss = self.gradient(train_batch, val_batch)
        grads = average(grads)
        if self.scaler is not None:
            grads = self._unscale(grads)
        return grads, loss, scale

    def _unscale(self, grads: list[Tensor]) -> list[Tensor]:
        """Divide by the loss scale, and adapt the scale to whether they are finite."""
        for one, grad in zip(self.moved, self.views(grads), strict=True):
            one.grad = grad
        self.scaler.scale(grads[0].new_ones(()))  # makes its state at the first call
        self.scaler.unscale_(self.optimizer)  # in place
        for one in self.moved:
            one.grad = None
        self.scaler.update()
        return grads

    def penalty_gradients(self) -> dict[str, Penalty]:
        """What every regulariser adds in the running epoch, by its name.

        One whose factor is 0 in every epoch is left out.
        """
        found = {}
        for name, regularizer in self.regularizers.items():
            if regularizer.lambda_.is_zero:
                continue
            alphas = [alpha.detach().requires_grad_(True) for alpha in self.alphas]
            named = dict(zip(self.names, alphas, strict=True))
            value = regularizer(*self.owner.view(named))
            grads = gradient_of(value, alphas)
            factor = regularizer.lambda_.at(self.epoch)
            found[name] = Penalty(factor, value.detach(), grads, regularizer.multiplies)
        return found

    def combine(
        self, loss: Tensor, grads: list[Tensor], penalties: Mapping[str, Penalty]
    ) -> list[Tensor]:
        """The gradient along which alpha's optimizer steps: g + sum_i lambda_i d R_i / d alpha.

        Where a regulariser multiplies L_val, g has its factor, and its own gradient has that of the
        others: L_val, the mean over ranks.

        Args:
            loss (Tensor): L_val of this rank.
            grads (list[Tensor]): d L_val / d alpha of each group, the mean over ranks.
            penalties (dict[str, Penalty]): The regularisers by name.
        """
        own = share_of_loss(lambda: average([loss])[0], penalties.values())
        return [
            own * grad + sum(penalty.share * penalty.grads[i] for penalty in penalties.values())
            for i, grad in enumerate(grads)
        ]

    # After an epoch

    def why_never(self, epochs: int) -> str:
        """Why alpha never moves in a search of so many epochs; empty where it may."""
        return ''

    def passes(self, epochs: int) -> int:
        """How many epochs of a search are followed by a pass over the training images."""
        return 0

    def pass_from(self) -> int | None:
        """The batch from which on a pass over the training images follows the running epoch.

        Returns:
            int | None: 0, or how many batches of the pass are done; None where none is left.
        """
        return None

    def after_epoch(self, batch: Any, last: bool) -> None:
        """Take a batch of the pass that follows an epoch.

        How far the pass is must be in :meth:`own_state`, so that it is resumed anywhere.

        Args:
            batch (dict): What the training loader gives.
            last (bool): Whether it is the last one of the pass.
        """

    # The weights' step

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """One step of the weights.

        Args:
            model (Module): The model, or what wraps it for several ranks.
            batch (dict): What the training loader gives.

        Returns:
            dict[str, Tensor]: Losses by name, for the log; without ``loss`` where there was no
            step.
        """
        own = type(self)
        takes_part = (own.before_clip, own.after_weights_step) != (
            Architect.before_clip,
            Architect.after_weights_step,
        )
        wrapper = WeightsStep(self) if takes_part else self.optim_wrapper
        return model.train_step(batch, optim_wrapper=wrapper)

    def before_clip(self, loss: Tensor) -> None:
        """When the weights have their gradients, before these are clipped.

        ``grad`` of every weight is the mean over ranks, without a loss scale; None where a weight
        took no part. Where gradients are accumulated, it is called before a step alone.

        Args:
            loss (Tensor): That of the batch on this rank, detached.
        """

    def after_weights_step(self) -> None:
        """When the weights' optimizer has stepped; in float16 it may have left out the step."""
