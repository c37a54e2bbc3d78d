"""The architect: alpha's step, its optimizer, its data and its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from mmengine.dist import all_reduce, broadcast, get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from torch import Tensor
from torch.utils.data import DataLoader

from rdarts.architect.architects.gradients import first_order, unrolled
from rdarts.architect.regularizers import BatchEntropyDecay, Regularizer
from rdarts.architect.schedule import ScheduleSpec
from rdarts.checkpoint.run_state import check_loss_scaler, check_optimizer, check_schedulers
from rdarts.checkpoint.schema import Spec, Table, Text, Whole, check_entry
from rdarts.configuration.declarations import Among, Component, Count
from rdarts.datasets import check_parts
from rdarts.datasets.loaders import check_loader, iterate_from, loader_sampler
from rdarts.engine.checkpoint_hook import last_good_of
from rdarts.engine.loops import check_finite
from rdarts.errors import RunFailed, UserError
from rdarts.hooks.search_log import SearchLogHook
from rdarts.models.backbones import find_supernet
from rdarts.registry import HOOKS, REGULARIZERS, build

STEP_ORDERS = ('alpha_first', 'weights_first')
RegularizersSpec = Annotated[
    Sequence[str | Mapping[str, Any] | Regularizer], Component('REGULARIZERS')
]


@HOOKS.register_module()
class ArchitectHook(Hook):
    """Moves alpha by d (L_val + sum_i lambda_i R_i) / d alpha, once an iteration.

    Alpha is closed (``requires_grad=False``) outside its step, and the weights are closed
    within it, so neither step computes a gradient for the other's parameters. L_val comes
    from the search's own half of the training images. The gradient is averaged over ranks.

    Args:
        arch_dataloader (dict, optional): The data loader of L_val. Defaults to the config's
            ``arch_dataloader``.
        arch_optimizer (dict, optional): Alpha's optimizer, without its parameters. Defaults to
            the config's ``arch_optimizer``.
        regularizers (Sequence[dict]): Entries of ``REGULARIZERS``. Defaults to none.
        arch_param_scheduler (Sequence[dict]): Schedulers of alpha's optimizer, stepped each
            epoch. Defaults to none.
        order (int): 1, or 2 for the unrolled gradient. Defaults to 1.
        hessian (str): For order 2, ``'finite_difference'`` or ``'autograd'``. Defaults to
            ``'finite_difference'``.
        step_order (str): ``'alpha_first'`` or ``'weights_first'`` in each iteration. Defaults
            to ``'alpha_first'``.
        start_epoch (int): Number of epochs before alpha starts to move. Defaults to 0.

    Raises:
        UserError: An option is not known.
    """

    priority = 'NORMAL'
    # what stands at the top of the config where the hook is not given its own
    takes_from_config = ('arch_dataloader', 'arch_optimizer')

    def __init__(
        self,
        arch_dataloader: Annotated[
            Mapping[str, Any] | DataLoader | None, Component('DATA_LOADERS')
        ] = None,
        arch_optimizer: Annotated[Mapping[str, Any] | None, Component('OPTIMIZERS')] = None,
        regularizers: RegularizersSpec = (),
        arch_param_scheduler: Annotated[
            Sequence[Mapping[str, Any]], Component('PARAM_SCHEDULERS')
        ] = (),
        order: Literal[1, 2] = 1,
        hessian: Literal['finite_difference', 'autograd'] = 'finite_difference',
        step_order: Annotated[str, Among(STEP_ORDERS)] = 'alpha_first',
        start_epoch: Count = 0,
    ) -> None:
        if order not in (1, 2):
            raise UserError(f'order must be 1 or 2, but is {order!r}')
        if hessian not in ('finite_difference', 'autograd'):
            raise UserError(
                f"hessian must be 'finite_difference' or 'autograd', but is {hessian!r}"
            )
        if step_order not in STEP_ORDERS:
            raise UserError(f'step_order must be one of {STEP_ORDERS}, but is {step_order!r}')
        if not isinstance(start_epoch, int) or start_epoch < 0:
            raise UserError(f'start_epoch must be an epoch, 0 or later, but is {start_epoch!r}')
        self.arch_dataloader = arch_dataloader
        self.arch_optimizer = arch_optimizer
        self.arch_param_scheduler = arch_param_scheduler
        self.regularizers: list[Regularizer] = [build(r, REGULARIZERS) for r in regularizers]
        self.order, self.hessian = order, hessian
        self.step_order, self.start_epoch = step_order, start_epoch
        self.steps = 0
        self._state: Mapping[str, Any] | None = None
        self._iterator: Iterator | None = None
        self.last_batch: Any = None  # of L_val

    # Set up, saved and loaded

    def before_train(self, runner) -> None:
        model = runner.model
        self.model = model.module if is_model_wrapper(model) else model
        self.optim_wrapper = runner.optim_wrapper
        self.supernet = find_supernet(self.model)
        for regularizer in self.regularizers:
            regularizer.relaxation = self.supernet.relaxation
        self.names = list(self.supernet.arch_parameters)
        self.alphas = list(self.supernet.arch_parameters.values())
        for alpha in self.alphas:
            broadcast(alpha.data)
        dataloader = self.arch_dataloader
        if dataloader is None:  # a DataLoader without a batch is false
            dataloader = _of_config(runner, 'arch_dataloader')
        self.arch_dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        check_loader(self.arch_dataloader, 'arch_dataloader')
        parts = (runner.train_dataloader.dataset, self.arch_dataloader.dataset)
        # a loader of num_batch_per_epoch wraps its data set, and passes attributes on
        if all(hasattr(part, 'split_record') for part in parts):
            check_parts(*parts)
        self.optimizer, self.schedulers = self._build_optimizer(runner, self.alphas)
        weights_scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        self.scaler = None
        if weights_scaler is not None:
            self.scaler = torch.amp.GradScaler(self.alphas[0].device.type)
        self._iterator = None
        if self._state is not None:
            self._load(self._state)
            self._state = None

    def _build_optimizer(self, runner, alphas: list[Tensor]) -> tuple[Any, list[Any]]:
        cfg = self.arch_optimizer or _of_config(runner, 'arch_optimizer')
        optimizer = OPTIMIZERS.build(dict(cfg, params=alphas))
        schedulers = [
            PARAM_SCHEDULERS.build(dict(cfg), default_args=dict(optimizer=optimizer))
            for cfg in self.arch_param_scheduler
        ]
        return optimizer, schedulers

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['arch'] = dict(
            space=self.supernet.space.name,
            steps=self.steps,
            optimizer=self.optimizer.state_dict(),
            schedulers=[scheduler.state_dict() for scheduler in self.schedulers],
            scaler=None if self.scaler is None else self.scaler.state_dict(),
        )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        state = checkpoint.get('arch')
        if state is None:
            raise UserError('cannot resume: the checkpoint is not of a search (no entry arch)')
        names = ('space', 'steps', 'optimizer', 'schedulers', 'scaler')
        check_entry(state, Table(dict.fromkeys(names, Spec())), 'arch')
        check_entry(state['space'], Text(), 'arch.space')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        supernet = find_supernet(model)
        own = supernet.space.name
        if state['space'] != own:
            raise UserError(
                f"cannot resume: the checkpoint is of the space '{state['space']}', this config "
                f"searches '{own}'; resume with the config that began the run"
            )
        self._check(runner, state, checkpoint.get('meta'), list(supernet.arch_parameters.values()))
        self._state = state

    def _check(self, runner, state: Any, meta: Any, alphas: list[Tensor]) -> None:
        """What is to be restored must be what this architect would save."""
        check_entry(meta, Table(dict(epoch=Whole(), iter=Whole()), others=Spec()), 'meta')
        check_entry(state['steps'], Whole(0, meta['iter']), 'arch.steps')
        optimizer, schedulers = self._build_optimizer(runner, alphas)
        check_optimizer(state['optimizer'], optimizer, 'arch.optimizer')
        done = (meta['epoch'], meta['iter'])
        check_schedulers(state['schedulers'], schedulers, *done, 'arch.schedulers')
        if state['scaler'] is not None:
            scaler = torch.amp.GradScaler(alphas[0].device.type)
            check_loss_scaler(state['scaler'], scaler, 'arch.scaler')

    def _load(self, state: Mapping[str, Any]) -> None:
        self.steps = state['steps']
        self.optimizer.load_state_dict(state['optimizer'])
        for scheduler, saved in zip(self.schedulers, state['schedulers'], strict=True):
            scheduler.load_state_dict(saved)
        if self.scaler is not None and state['scaler']:
            self.scaler.load_state_dict(state['scaler'])

    # The step

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.step_order == 'alpha_first' and runner.epoch >= self.start_epoch:
            self.step(runner, data_batch)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.step_order == 'weights_first' and runner.epoch >= self.start_epoch:
            self.step(runner, data_batch)

    def after_train_epoch(self, runner) -> None:
        for scheduler in self.schedulers:
            scheduler.step()

    def step(self, runner, train_batch: Any) -> None:
        """One step of alpha.

        Args:
            runner (Runner): The runner.
            train_batch (dict): The batch of the weight step, which order 2 unrolls.

        Raises:
            RunFailed: L_val, or the gradient of alpha, is NaN or infinite, or the ranks drew
                other candidates.
        """
        self.last_batch = self.next_batch()
        grads, loss, scale = self.loss_gradient(runner, train_batch, self.last_batch)
        self._check_draws(runner)
        check_finite(loss, 'search loss L_val', runner)
        penalties = self.penalty_gradients(runner.epoch)
        total = [
            grad + sum(factor * penalty[i] for factor, _, penalty in penalties)
            for i, grad in enumerate(grads)
        ]
        self._log(runner, float(loss), grads, total, penalties)
        if all(bool(torch.isfinite(grad).all()) for grad in total):
            for alpha, grad in zip(self.alphas, total, strict=True):
                alpha.grad = grad.to(alpha.dtype)
            self.optimizer.step()
        elif self.scaler is not None:
            runner.logger.info(
                f'alpha step of iteration {runner.iter + 1} skipped: its float16 gradient '
                f'overflowed at scale {scale:g}'
            )
        else:
            raise RunFailed(
                f"alpha's gradient became NaN or infinite at iteration {runner.iter + 1} (epoch "
                f'{runner.epoch + 1}) although L_val is finite. {last_good_of(runner)}'
            )
        for alpha in self.alphas:
            alpha.grad = None
        self.steps += 1

    def _check_draws(self, runner) -> None:
        """The mean over ranks is a gradient only where all mixed the same candidates."""
        if not self.supernet.drawn or get_dist_info()[1] == 1:
            return
        chosen = torch.cat([active.flatten() for active in self.supernet.drawn]).int()
        some = torch.stack([chosen, 1 - chosen])  # by any rank; by not every rank
        all_reduce(some, 'max')
        if bool(some.all(0).any()):
            raise RunFailed(
                f'the ranks drew different candidates at iteration {runner.iter + 1} (epoch '
                f'{runner.epoch + 1}): {type(self.supernet.relaxation).__name__} must draw from '
                "torch's global generator on the device of alpha, whose state is the same on all "
                'ranks unless a transform or hook draws from it on one of them. '
                f'{last_good_of(runner)}'
            )

    def next_batch(self) -> Any:
        """The next batch of L_val: a function of (seed, number of steps taken)."""
        if self._iterator is None:
            epoch, batch = divmod(self.steps, len(self.arch_dataloader))
            sampler = loader_sampler(self.arch_dataloader)
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            self._iterator = iterate_from(self.arch_dataloader, batch)
        batch = next(self._iterator)
        if (self.steps + 1) % len(self.arch_dataloader) == 0:
            self._iterator = None
        return batch

    @property
    def loss_scale(self) -> float:
        """By what a loss is multiplied before its backward pass; 1 without float16."""
        return 1.0 if self.scaler is None else self.scaler.get_scale()

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch as alpha's step takes it, with a graph to what is open.

        The forward pass is in the precision of the weight step, and the relaxation in the phase
        ``'alpha'``.

        Args:
            batch (dict): What a data loader gives.
        """
        with self.supernet.alpha_phase():
            with self.optim_wrapper.optim_context(self.model):
                data = self.model.data_preprocessor(batch, True)
                losses = self.model._run_forward(data, mode='loss')
            return self.model.parse_losses(losses)[0]

    def loss_gradient(
        self, runner, train_batch: Any, val_batch: Any
    ) -> tuple[list[Tensor], Tensor, float]:
        """d L_val / d alpha, averaged over ranks, without regularisers.

        Returns:
            tuple[list[Tensor], Tensor, float]: The gradient of each group, L_val of this rank,
            and the loss scale (1 without float16).
        """
        weights = [p for p in self.model.parameters() if p.requires_grad]
        scale = self.loss_scale
        val_loss = partial(self.loss, val_batch)
        with self.supernet.alpha_phase():  # of the backward passes, which may compute layers anew
            if self.order == 1:
                grads, loss = first_order(val_loss, self.alphas, weights, scale)
            else:
                grads, loss = unrolled(
                    partial(self.loss, train_batch),
                    val_loss,
                    self.alphas,
                    weights,
                    self.optim_wrapper.optimizer,
                    list(self.model.buffers()),
                    self.hessian,
                    average,
                    scale,
                )
        grads = average(grads)
        if self.scaler is not None:
            grads = self._unscale(grads)
        return grads, loss, scale

    def _unscale(self, grads: list[Tensor]) -> list[Tensor]:
        """Divide by the loss scale, and adapt the scale to whether they are finite."""
        for alpha, grad in zip(self.alphas, grads, strict=True):
            alpha.grad = grad
        self.scaler.scale(grads[0].new_ones(()))  # makes its state at the first call
        self.scaler.unscale_(self.optimizer)
        grads = [alpha.grad for alpha in self.alphas]
        for alpha in self.alphas:
            alpha.grad = None
        self.scaler.update()
        return grads

    def penalty_gradients(self, epoch: int) -> list[tuple[float, Tensor, list[Tensor]]]:
        """(lambda, R, d R / d alpha) of every regulariser in an epoch, counted from 0."""
        values = []
        for regularizer in self.regularizers:
            alphas = [alpha.detach().requires_grad_(True) for alpha in self.alphas]
            named = dict(zip(self.names, alphas, strict=True))
            value = regularizer(named, self.supernet.space)
            grads = torch.autograd.grad(value, alphas, allow_unused=True)
            grads = [
                torch.zeros_like(a) if g is None else g for a, g in zip(alphas, grads, strict=True)
            ]
            values.append((regularizer.lambda_.at(epoch), value.detach(), grads))
        return values

    def _log(self, runner, loss: float, grads, total, penalties) -> None:
        runner.message_hub.update_scalar('train/arch_loss', loss)
        log = SearchLogHook.of(runner)
        if log is None:
            return
        row: dict[str, Any] = dict(arch_loss=loss)
        parts = self._by_cell(grads)
        row['arch_grad_norm'] = {cell: float(g.norm()) for cell, g in parts.items()}
        row['arch_cosine_total'] = _cosines(parts, self._by_cell(total))
        for regularizer, (factor, value, gradient) in zip(
            self.regularizers, penalties, strict=True
        ):
            name = type(regularizer).__name__
            if name in row:
                name += f'_{sum(key.startswith(name) for key in row) + 1}'
            penalty = self._by_cell([factor * g for g in gradient])
            row[name] = dict(
                lambda_=factor,
                value=float(value),
                grad_norm={cell: float(g.norm()) for cell, g in penalty.items()},
                cosine=_cosines(parts, penalty),
            )
        log.update_iter(**row)

    def _by_cell(self, grads: Sequence[Tensor]) -> dict[str, Tensor]:
        """One flat gradient for each cell type."""
        # not zipped with the groups: a ParameterDict made of a dict sorts by name
        cells = {group.name: group.cell for group in self.supernet.space.groups}
        parts: dict[str, list[Tensor]] = {cell: [] for cell in self.supernet.space.cells}
        for name, grad in zip(self.names, grads, strict=True):
            parts[cells[name]].append(grad.detach().flatten())
        return {cell: torch.cat(flat) for cell, flat in parts.items()}


def _of_config(runner, name: str) -> Any:
    value = runner.cfg.get(name)
    if value is None:
        raise UserError(f'the architect needs {name}: set it in the hook or in the config')
    return value


def _cosines(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> dict[str, float]:
    return {cell: float(torch.cosine_similarity(left[cell], right[cell], dim=0)) for cell in left}


def average(grads: list[Tensor]) -> list[Tensor]:
    """The mean over ranks of a list of gradients."""
    if get_dist_info()[1] == 1:
        return grads
    flat = torch.cat([grad.flatten() for grad in grads])
    all_reduce(flat, 'mean')
    parts = flat.split([grad.numel() for grad in grads])
    return [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)]


@HOOKS.register_module()
class BERArchitectHook(ArchitectHook):
    """The architect of r-DARTS: L_val + lambda x mean entropy over all edges (Eq. 15 to 20).

    Args:
        lambda_ (float | dict): The factor of BER, constant or a schedule over epochs; see
            :class:`~rdarts.architect.schedule.Schedule`.
        regularizers (Sequence[dict]): Further regularisers beside BER. Defaults to none.
        signed (bool): Allow a negative lambda (Eq. 12). Defaults to False.
        **kwargs: See :class:`ArchitectHook`.

    Raises:
        UserError: lambda is NaN or infinite, or negative without ``signed``, or an option is
            not known.
    """

    check_arguments = Regularizer.check_arguments

    def __init__(
        self,
        lambda_: ScheduleSpec,
        regularizers: RegularizersSpec = (),
        signed: bool = False,
        **kwargs: Any,
    ) -> None:
        ber = BatchEntropyDecay(lambda_, signed)
        super().__init__(regularizers=[ber, *regularizers], **kwargs)
