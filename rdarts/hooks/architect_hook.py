"""The architect in mmengine's runner: options, schedule, checkpoint entry and log.

Longer than 400 lines: one hook, which adapts all of an architect to a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from mmengine.hooks import Hook
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from rdarts.architect.alpha_step import AlphaStep, StepFailed
from rdarts.architect.architect import Architect
from rdarts.architect.architects.unrolled import HESSIANS
from rdarts.architect.regularizers import Regularizer
from rdarts.checkpoint.run_state import check_schedulers
from rdarts.checkpoint.schema import Spec, Table, Text, Whole, check_entry
from rdarts.configuration.declarations import AboveZero, Among, Component, Count, Named, Positive
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.datasets import check_parts
from rdarts.datasets.loaders import check_loader, iterate_from
from rdarts.engine.compiling import check_architect
from rdarts.engine.facts import Facts, Place
from rdarts.engine.going_on import replay, take_over
from rdarts.engine.loops import failed_at
from rdarts.errors import UserError
from rdarts.hooks.alpha_times import AlphaTimes
from rdarts.models.alpha import AlphaOwner, find_alpha_owner
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.registry import ARCHITECTS, HOOKS, REGULARIZERS, build
from rdarts.utils.wording import plural
from rdarts.utils.wrapped import unwrapped

IN_TURN = 'epochs_in_turn'
STEP_ORDERS = ('alpha_first', 'weights_first', IN_TURN)
RegularizersSpec = Annotated[Mapping[str, Any], Named('REGULARIZERS')]
BER = 'ber'
"""The name of the regulariser that ``lambda_`` is the factor of."""


@HOOKS.register_module()
class ArchitectHook(Hook):
    """Moves alpha once an iteration: runs an :class:`~rdarts.architect.architect.Architect`.

    The hook gives it the data, optimizer and regularisers that the config asks for, calls it at
    its time, keeps its state in the checkpoint's entry ``arch`` and logs what it did.

    Args:
        arch_dataloader (dict, optional): The data loader of L_val. Defaults to the config's
            ``arch_dataloader``.
        arch_optimizer (dict, optional): Alpha's optimizer, without its parameters. Defaults to
            the config's ``arch_optimizer``.
        regularizers (dict, optional): Entries of ``REGULARIZERS`` by name, under which the log
            has them; None leaves one out. One whose factor is 0 costs nothing and is not logged.
            Defaults to none.
        lambda_ (float | dict, optional): The factor of the regulariser ``'ber'``, constant or a
            schedule over epochs: see :class:`~rdarts.configuration.schedule.Schedule`. Where there
            is none of that name, it is BER. Defaults to the entry's own.
        signed (bool): Allow a negative factor of that one (Eq. 12). Defaults to False.
        arch_param_scheduler (Sequence[dict]): Schedulers of alpha's optimizer, stepped each
            epoch. Defaults to none.
        order (int): 1 for ``rdarts.FirstOrder``, 2 for ``rdarts.Unrolled``. Defaults to 1.
        hessian (str): For order 2, ``'finite_difference'`` or ``'autograd'``. Defaults to
            ``'finite_difference'``.
        architect (str | dict, optional): An entry of ``ARCHITECTS``, in place of ``order`` and
            ``hessian``. Defaults to the one that they name.
        step_order (str): ``'alpha_first'`` or ``'weights_first'`` in each iteration, where the two
            have steps of their own; or ``'epochs_in_turn'``: a pass over alpha's images follows
            each epoch of the weights, from ``start_epoch`` on. Defaults to ``'alpha_first'``.
        start_epoch, every, evenly, max_steps (int): In which iterations alpha moves, by default in
            all: see :class:`~rdarts.hooks.alpha_times.AlphaTimes`.
        arch_clip_grad (float, optional): The largest norm of alpha's gradient, all groups together;
            a longer one is scaled down. Defaults to none.

    Raises:
        UserError: An option is not known.
    """

    priority = 'NORMAL'
    # what stands at the top of the config where the hook is not given its own
    takes_from_config = ('arch_dataloader', 'arch_optimizer')

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What holds of the arguments of a config together: the key and line of each fault.

        Args:
            arguments (dict): Those of the config, and the defaults of the others.
        """
        given, ber = arguments.get('lambda_'), (arguments.get('regularizers') or {}).get(BER)
        if given is not None:
            signed = arguments.get('signed') or (isinstance(ber, Mapping) and ber.get('signed'))
            yield from Regularizer.check_arguments(dict(lambda_=given, signed=signed))
        yield from _at_odds(arguments)
        if arguments.get('evenly') is not None and arguments.get('every', 1) != 1:
            yield 'every', 'does not go with evenly: set one of them'

    def __init__(
        self,
        arch_dataloader: Annotated[
            Mapping[str, Any] | DataLoader | None, Component('DATA_LOADERS')
        ] = None,
        arch_optimizer: Annotated[Mapping[str, Any] | None, Component('OPTIMIZERS')] = None,
        regularizers: RegularizersSpec | None = None,
        lambda_: ScheduleSpec | None = None,
        signed: bool = False,
        arch_param_scheduler: Annotated[
            Sequence[Mapping[str, Any]], Component('PARAM_SCHEDULERS')
        ] = (),
        order: Literal[1, 2] = 1,
        hessian: Literal['finite_difference', 'autograd'] = 'finite_difference',
        architect: Annotated[str | Mapping[str, Any] | None, Component('ARCHITECTS')] = None,
        step_order: Annotated[str, Among(STEP_ORDERS)] = 'alpha_first',
        start_epoch: Count = 0,
        every: Positive = 1,
        evenly: Positive | None = None,
        max_steps: Count | None = None,
        arch_clip_grad: AboveZero | None = None,
    ) -> None:
        if order not in (1, 2):
            raise UserError(f'order must be 1 or 2, but is {order!r}')
        if hessian not in HESSIANS:
            raise UserError(
                f"hessian must be 'finite_difference' or 'autograd', but is {hessian!r}"
            )
        if not isinstance(regularizers, (Mapping, type(None))):
            raise UserError(
                "regularizers are a dict by name, such as dict(cost=dict(type='ExpectedCost')), "
                f'but got {regularizers!r}'
            )
        arguments = dict(
            order=order,
            hessian=hessian,
            architect=architect,
            regularizers=regularizers,
            lambda_=lambda_,
            signed=signed,
        )
        for key, line in _at_odds(arguments):
            raise UserError(f'{key} {line}')
        if step_order not in STEP_ORDERS:
            raise UserError(f'step_order must be one of {STEP_ORDERS}, but is {step_order!r}')
        self.arch_dataloader = arch_dataloader
        self.arch_optimizer = arch_optimizer
        self.arch_param_scheduler = arch_param_scheduler
        if architect is None:
            architect = 'FirstOrder' if order == 1 else dict(type='Unrolled', hessian=hessian)
        self.architect: Architect = build(architect, ARCHITECTS)
        specs = dict(regularizers or {})
        if lambda_ is not None:
            specs = _with_ber(specs, lambda_=lambda_)
        if signed:
            specs = _with_ber(specs, signed=True)
        self.architect.regularizers = {
            name: build(spec, REGULARIZERS) for name, spec in specs.items() if spec is not None
        }
        if arch_clip_grad is not None and not arch_clip_grad > 0:
            raise UserError(f'arch_clip_grad must be more than 0, but is {arch_clip_grad!r}')
        self.architect.clip = arch_clip_grad
        if not self.architect.takes_regularizers:
            self._refuse_regularizers()
        self.step_order = step_order
        self.times = AlphaTimes(start_epoch, every, evenly, max_steps)
        if step_order == IN_TURN:
            self._check_in_turn()
        elif step_order == 'weights_first':
            self._check_weights_first()
        self._state: Mapping[str, Any] | None = None

    def _check_in_turn(self) -> None:
        architect, what = self.architect, None
        if architect.single_level or architect.needs_train_batch:
            what = f'{type(architect).__name__}, which needs the batches of the weights'
        elif not self.times.each_iteration:
            what = 'every, evenly or max_steps'
        if what is not None:
            raise UserError(f"step_order='{IN_TURN}' does not go with {what}")

    def _check_weights_first(self) -> None:
        architect, what = self.architect, None
        if architect.single_level:
            what = 'moves alpha in the step of the weights'
        elif not architect.trains_weights:
            what = 'trains no weights'
        if what is not None:
            raise UserError(
                f"step_order='weights_first' does not go with {type(architect).__name__}, which "
                f'{what}'
            )

    def _refuse_regularizers(self) -> None:
        for name, regularizer in self.architect.regularizers.items():
            if not regularizer.lambda_.is_zero:
                key = 'lambda_' if name == BER else f'regularizers.{name}.lambda_'
                raise UserError(
                    f'{type(self.architect).__name__} has no loss on validation images that '
                    f"'{name}' could be added to: set default_hooks.architect.{key}=0"
                )

    # Set up, saved and loaded

    def before_train(self, runner) -> None:
        check_architect(runner.cfg.get('compile'), self.architect)
        if self.architect.single_level:
            self._refuse_loader(runner)
        else:
            self._build_loader(runner)
        model = unwrapped(runner.model)
        self.architect.prepare(
            model, runner.optim_wrapper, self.arch_dataloader, lambda a: self._optimizer(runner, a)
        )
        Facts.of(runner).architect = self.architect
        why = self.times.why_never(runner.max_epochs, len(runner.train_dataloader))
        why = why or self.architect.why_never(runner.max_epochs)
        asked = self.times.max_steps == 0 and Place.of(runner).phase is not None
        if why and self.architect.alphas and not asked:
            runner.logger.warning(
                f'alpha moves in no iteration of this search, whose genotype says nothing: {why}'
            )
        self.schedulers = self._schedulers(self.architect.optimizer)
        if self._state is not None:
            self._restore()
        else:
            self._go_on(Facts.of(runner).last_arch, Place.of(runner))

    def _go_on(self, last: Mapping[str, Any] | None, place: Place) -> None:
        """Begin with what goes on from the phase before."""
        if last is not None:
            take_over(self.architect.optimizer, last['optimizer'])
        replay(self.schedulers, *place.done)

    def _restore(self) -> None:
        """Go on from the checkpoint that was loaded."""
        self.architect.load_state_dict(self._state)
        for scheduler, saved in zip(self.schedulers, self._state['schedulers'], strict=True):
            scheduler.load_state_dict(saved)
        self._state = None

    def after_roll_back(self, runner, **told: Any) -> None:
        """Go on from the snapshot that the run was rolled back to."""
        self._restore()

    def _build_loader(self, runner) -> None:
        dataloader = self.arch_dataloader
        if dataloader is None:  # a DataLoader without a batch is false
            dataloader = _of_config(runner, 'arch_dataloader')
        self.arch_dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        check_loader(self.arch_dataloader, 'arch_dataloader')
        parts = (runner.train_dataloader.dataset, self.arch_dataloader.dataset)
        # a loader of num_batch_per_epoch wraps its data set, and passes attributes on
        if all(hasattr(part, 'split_record') for part in parts):
            check_parts(*parts)

    def _refuse_loader(self, runner) -> None:
        given = self.arch_dataloader
        if given is not None or runner.cfg.get('arch_dataloader') is not None:
            raise UserError(
                f'{type(self.architect).__name__} takes no batches for alpha alone: set '
                "arch_dataloader=None, and train_dataloader.dataset.part='both' for all images"
            )

    def _optimizer(self, runner, alphas: list[Tensor]) -> Optimizer | None:
        if not alphas:
            return None
        cfg = self.arch_optimizer or _of_config(runner, 'arch_optimizer')
        return OPTIMIZERS.build(dict(cfg, params=alphas))

    def _schedulers(self, optimizer: Optimizer | None) -> list[Any]:
        return [
            PARAM_SCHEDULERS.build(dict(cfg), default_args=dict(optimizer=optimizer))
            for cfg in (() if optimizer is None else self.arch_param_scheduler)
        ]

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['arch'] = dict(
            self.architect.state_dict(),
            space=self.architect.owner.space.name,
            method=self._method(self.architect.owner),
            schedulers=[scheduler.state_dict() for scheduler in self.schedulers],
        )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        state = checkpoint.get('arch')
        if state is None:
            raise UserError('cannot resume: the checkpoint is not of a search (no entry arch)')
        names = ('space', 'steps', 'optimizer', 'schedulers', 'scaler')
        may = dict(own=Spec(), method=Table(others=Text()))
        check_entry(state, Table(dict.fromkeys(names, Spec()), may), 'arch')
        check_entry(state['space'], Text(), 'arch.space')
        model = unwrapped(runner.model)
        owner = find_alpha_owner(model)
        own = owner.space.name
        if state['space'] != own:
            raise UserError(
                f"cannot resume: the checkpoint is of the space '{state['space']}', this config "
                f"searches '{own}'; resume with the config that began the run"
            )
        for part, name in self._method(owner).items():
            began = state.get('method', {}).get(part, name)
            if began != name:
                raise UserError(
                    f'cannot resume: the run was begun with the {part} {began or "none"}, this '
                    f'config has {name or "none"}; resume with the config that began the run'
                )
        self._check(runner, state, checkpoint.get('meta'), list(owner.arch_parameters.values()))
        self._state = state

    def _method(self, owner: AlphaOwner) -> dict[str, str]:
        """What makes the method, by the names of classes; BER's factor may change on the way."""
        mixed = {type(one).__name__ for one in owner.modules() if isinstance(one, MixedOp)}
        given = self.architect.regularizers.items()
        terms = {type(r).__name__ for name, r in given if name != BER and not r.lambda_.is_zero}
        return {
            'architect': type(self.architect).__name__,
            'relaxation': type(owner.relaxation).__name__,
            'mixed operation': ', '.join(sorted(mixed)),
            'regularizers': ', '.join(sorted(terms)),
        }

    def _check(self, runner: Runner, state: Any, meta: Any, alphas: list[Tensor]) -> None:
        """What is to be restored must be what this architect would save."""
        check_entry(meta, Table(dict(epoch=Whole(), iter=Whole()), others=Spec()), 'meta')
        whole = Whole() if self.step_order == IN_TURN else Whole(0, meta['iter'])
        check_entry(state['steps'], whole, 'arch.steps')
        optimizer = self._optimizer(runner, self.architect.views(alphas))
        schedulers = self._schedulers(optimizer)  # which add to the optimizer's groups
        self.architect.check_state(state, optimizer, next(runner.model.parameters()).device)
        done = Place.of(runner).steps_done(meta)
        check_schedulers(state['schedulers'], schedulers, *done, 'arch.schedulers')

    # The step

    def before_train_epoch(self, runner) -> None:
        max_epochs = runner.cfg.get('schedule_epochs') or runner.max_epochs
        before, total = Place.of(runner).progress or (0, max_epochs)
        self.architect.set_progress(before + runner.epoch, total)
        if self.step_order == IN_TURN:
            self._left_of_pass(runner)  # a run that does not fit is told so at its start

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        length = len(runner.train_dataloader)
        due = self.times.due(runner.epoch, batch_idx, length, self.architect.steps)
        due = due and self.step_order != IN_TURN
        self.architect.moving = due
        if due and self.step_order == 'alpha_first' and not self.architect.single_level:
            self.step(runner, data_batch)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.architect.moving and self.step_order == 'weights_first':
            self.step(runner, data_batch)
        self._tell(runner)

    def after_iterations(self, runner) -> None:
        self._pass_over_images(runner)
        if self.step_order != IN_TURN:
            return
        count = len(self.arch_dataloader)
        self.architect.moving = True
        for index in range(count - self._left_of_pass(runner), count):
            runner.call_hook('before_alpha_iter', index=index, count=count)
            self.step(runner, None)
            self._tell(runner)
            runner.call_hook('after_alpha_iter', index=index, count=count)

    def _pass_over_images(self, runner) -> None:
        """What is left of the architect's own pass over the training images, if one follows."""
        first, loader = self.architect.pass_from(), runner.train_dataloader
        if first is None:
            return
        count = len(loader)
        if first >= count:
            raise UserError(
                f'cannot resume: {plural(first, "batch")} of a pass over the training images are '
                f'done, which has {count}; resume with what began the run'
            )
        for index, batch in enumerate(iterate_from(loader, first), first):
            runner.call_hook('before_pass_iter', index=index, count=count)
            self.architect.after_epoch(batch, last=index + 1 == count)
            runner.call_hook('after_pass_iter', index=index, count=count)

    def _left_of_pass(self, runner) -> int:
        length = len(self.arch_dataloader)
        return self.times.left_of_pass(runner.epoch, length, self.architect.steps)

    def after_train_epoch(self, runner) -> None:
        terms = self.architect.regularizers.items()
        factors = {name: term.numbers() for name, term in terms if not term.lambda_.is_zero}
        if factors:
            Facts.of(runner).epoch['regularizers'] = factors
        numbers = self.architect.numbers()
        if numbers:
            Facts.of(runner).epoch['architect'] = numbers
        for scheduler in self.schedulers:
            scheduler.step()

    def step(self, runner, train_batch: Any) -> None:
        """One step of alpha.

        Args:
            runner (Runner): The runner.
            train_batch (dict | None): The batch of the weight step, which order 2 unrolls.

        Raises:
            RunFailed: L_val, or the gradient of alpha, is NaN or infinite, or the ranks drew
                other candidates.
        """
        try:
            self.architect.step(train_batch)
        except StepFailed as error:
            raise failed_at(error, runner) from None

    def _tell(self, runner) -> None:
        """What the architect did in an iteration."""
        step, row = self.architect.taken, self.architect.row
        self.architect.taken, self.architect.row = None, {}
        if row:
            Facts.of(runner).iteration['architect'] = row
        if step is None:
            return
        self._log(runner, step)
        if not step.taken:
            runner.logger.info(
                f'alpha step of iteration {runner.iter + 1} skipped: its float16 gradient '
                f'overflowed at scale {step.scale:g}'
            )

    def _log(self, runner, step: AlphaStep) -> None:
        # what is not known yet stays where it was computed: a GPU is waited for in iterations alone
        # whose row is written
        runner.message_hub.update_scalar('train/arch_loss', step.value)
        row: dict[str, Any] = dict(arch_loss=step.value)
        parts = self._by_cell(step.grads)
        row['arch_grad_norm'] = {cell: g.norm() for cell, g in parts.items()}
        row['arch_cosine_total'] = _cosines(parts, self._by_cell(step.total))
        penalties: dict[str, Any] = {}
        for name, penalty in step.penalties.items():
            gradient = self._by_cell([penalty.share * g for g in penalty.grads])
            penalties[name] = dict(
                lambda_=penalty.lambda_,
                value=penalty.value,
                grad_norm={cell: g.norm() for cell, g in gradient.items()},
                cosine=_cosines(parts, gradient),
            )
        if penalties:
            row['regularizers'] = penalties
        Facts.of(runner).iteration.update(row)

    def _by_cell(self, grads: Sequence[Tensor]) -> dict[str, Tensor]:
        """One flat gradient for each cell type."""
        # not zipped with the groups: a ParameterDict made of a dict sorts by name
        owner = self.architect.owner
        cells = {group.name: group.cell for group in owner.groups}
        parts: dict[str, list[Tensor]] = {cell: [] for cell in owner.space.cells}
        for name, grad in zip(self.architect.names, grads, strict=True):
            parts[cells[name]].append(grad.detach().flatten())
        return {cell: torch.cat(flat) for cell, flat in parts.items()}


def _of_config(runner, name: str) -> Any:
    value = runner.cfg.get(name)
    if value is None:
        raise UserError(f'the architect needs {name}: set it in the hook or in the config')
    return value


def _cosines(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {cell: torch.cosine_similarity(left[cell], right[cell], dim=0) for cell in left}


def _with_ber(regularizers: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """Regularisers, the first of which is BER with these arguments beside its own."""
    ber = regularizers.get(BER) or 'BatchEntropyDecay'
    if isinstance(ber, str):
        ber = dict(type=ber)
    others = {name: spec for name, spec in regularizers.items() if name != BER}
    return {BER: {**ber, **arguments}, **others}


def _at_odds(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments of the hook that say one thing twice: the key and line of each fault."""
    given, ber = arguments.get('lambda_'), (arguments.get('regularizers') or {}).get(BER)
    if (given is not None or arguments.get('signed')) and not isinstance(
        ber, (str, Mapping, type(None))
    ):
        yield 'lambda_', f'is {given}, but regularizers.{BER} is built already'
    own = ber.get('lambda_') if isinstance(ber, Mapping) else None
    if given is not None and own and own != given:
        line = f'is {given}, but regularizers.{BER}.lambda_ is {own}: set one of them'
        yield 'lambda_', line
    for key, default in (('order', 1), ('hessian', HESSIANS[0])):
        if arguments.get('architect') is not None and arguments.get(key, default) != default:
            yield key, 'does not go with architect=, which names how the gradient is taken'
    hessian = arguments.get('hessian', HESSIANS[0])
    if arguments.get('architect') is None and arguments.get('order', 1) == 1:
        if hessian != HESSIANS[0]:
            yield 'hessian', f"is '{hessian}', which has no effect with order=1: set order=2"


@HOOKS.register_module()
class BERArchitectHook(ArchitectHook):
    """The architect of r-DARTS: L_val + lambda x mean entropy over all edges (Eq. 15 to 20).

    It is :class:`ArchitectHook` with a ``lambda_`` that must be given.

    Args:
        lambda_ (float | dict): The factor of BER, constant or a schedule over epochs; see
            :class:`~rdarts.configuration.schedule.Schedule`.
        **kwargs: See :class:`ArchitectHook`.

    Raises:
        UserError: lambda is NaN or infinite, or negative without ``signed``, or an option is
            not known.
    """

    def __init__(self, lambda_: ScheduleSpec, **kwargs: Any) -> None:
        if lambda_ is None:
            raise UserError('lambda_ of BatchEntropyDecay must be a finite number, but is None')
        super().__init__(lambda_=lambda_, **kwargs)
