"""DARTS-PT (Wang et al. 2021, https://arxiv.org/abs/2108.04392): selection by perturbation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from mmengine.config import Config
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook, IterTimerHook
from torch.utils.data import DataLoader

from rdarts.architect.discretizers import TopEdges
from rdarts.checkpoint.schema import Table, Whole, check_entry
from rdarts.configuration.declarations import Count, Positive
from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.loops import SearchTrainLoop, check_finite
from rdarts.engine.roll_back import checkpoint_hook_of
from rdarts.engine.selection.decisions import (
    EDGES,
    OPERATION,
    Decision,
    Trials,
    Trier,
    epoch_of,
    plan,
)
from rdarts.engine.selection.trials import batch_statistics, score
from rdarts.errors import UserError
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import DISCRETIZERS, LOOPS, build
from rdarts.results.decisions import decision_in_words
from rdarts.search_spaces import SearchSpace
from rdarts.utils.wording import plural
from rdarts.utils.wrapped import unwrapped

ENTRY = 'selection'  # of a checkpoint


class _Left(Exception):
    """The run was asked to stop within a trial.

    Args:
        number (int): Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@LOOPS.register_module()
class PerturbationSelection(SearchTrainLoop):
    """Fine-tunes a supernet, and decides edge by edge by what is missed most.

    Algorithm 1 of the paper. In one turn a random edge of each cell type is decided: each of its
    candidates that are alive is hidden in turn, its weight 0 and nothing renormalised, and the one
    without which the supernet is worst on the validation images is kept, of a tie the first;
    the others are dropped for good. Where nodes keep some of their edges alone, as in the DARTS
    space, a random node of each cell type follows in each further turn: its edges are hidden whole,
    and the two that are missed most are kept; of a tie the last edge is dropped. What is left is
    the genotype. Between the turns the supernet is trained on, and alpha with it.

    The turns are spread evenly over the epochs, the first before the first epoch, the last before
    the last: 6 in NAS-Bench-201's 25 epochs before epochs 0, 5, 10, 15, 20 and 24, 17 in the DARTS
    space's 81 before epochs 0, 5, ..., 80, as published. Of more turns than epochs, several follow
    each other before one epoch.

    A checkpoint is saved after each decision, and the log has a row of kind ``selection``. Trials
    leave running statistics and random states as they were. All ranks take the same decisions: what
    a trial counts is summed over them.

    Published otherwise:

    - Trials of the published code run in the mode of training: batch norms normalise by the batch,
      which the paper does not say and its figures are of, so that this is the default here too; and
      their running statistics move with every trial, which they do not here.
      ``statistics='running'`` takes these.
    - The published code tries the validation images in another order and with other crops each
      time (``images='arch'`` are augmented, in batches of alpha's loader); here every trial has the
      same batches. Of a node it tries the edges that are left anew after each that it deletes, with
      none hidden for it: with the same batches that gives the same edges as trying them once.
    - ``none`` is no choice where nodes keep some of their edges alone, as no genotype has it there.
      In S3 the published code lets it win an edge, and lists the first other candidate for it.

    Args:
        runner, dataloader, max_epochs, **kwargs: See :class:`SearchTrainLoop`.
        criterion (str): ``'accuracy'``, or ``'loss'``: the head's, of which the largest is the
            worst. Defaults to ``'accuracy'``.
        statistics (str): What batch norms normalise by in a trial: ``'batch'`` or ``'running'``.
            Defaults to ``'batch'``.
        images (str): What trials are on: ``'val'``, the images of ``val_dataloader``, or
            ``'arch'``, those of ``arch_dataloader``; each in an order of their own. Defaults to
            ``'val'``.
        order (str | Sequence[int]): ``'random'``, a function of the seed; or all edges of a cell
            type by their places, and the nodes then from the first one on. Defaults to
            ``'random'``.
        keep (int, optional): How many edges a node keeps. Defaults to as many as the search's own
            rule derives, where that is ``TopEdges``, else to all.

    Attributes:
        plan (list[Decision]): All decisions, in turn.
        decided (int): How many of them are taken.
        seed (int): Of the order of edges and of the images, the same on all ranks.
        trier (Trier): What takes them.

    Raises:
        UserError: The order does not fit, or the loader of ``images`` is missing.
    """

    prunes = True  # so that DDP must expect operations without a gradient

    def __init__(
        self,
        runner,
        dataloader,
        max_epochs: Positive,
        criterion: Literal['accuracy', 'loss'] = 'accuracy',
        statistics: Literal['batch', 'running'] = 'batch',
        images: Literal['val', 'arch'] = 'val',
        order: Literal['random'] | Sequence[Count] = 'random',
        keep: Positive | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self.criterion, self.statistics, self.images = criterion, statistics, images
        self.owner = find_alpha_owner(runner.model)
        self.check(runner.cfg, self.owner.space)
        keep = _kept_edges(runner.cfg, self.owner.space, keep)
        sign = 1 if criterion == 'accuracy' else -1
        self.trier = Trier(self.owner, self.score, sign, keep)
        seed = [runner.seed]
        broadcast_object_list(seed)  # ranks may be seeded apart
        (self.seed,) = seed
        self.plan = plan(self.owner.space, keep, order, self.seed)
        self.decided = 0
        self._loader: DataLoader | None = None
        runner.register_hook(_SelectionState(self))

    @classmethod
    def check(cls, cfg: Config, space: SearchSpace) -> None:
        """Whether a config fits a space; a search in phases asks before it trains anything.

        Args:
            cfg (Config): Whose ``train_cfg`` names this loop.
            space (SearchSpace): That is searched.

        Raises:
            UserError: It does not: the order, or the loader of ``images``.
        """
        given = cfg.train_cfg
        key = _loader_key(given.get('images', 'val'))
        if cfg.get(key) is None:
            raise UserError(
                f'{cls.__name__} tries on the images of {key}, which is None: a selection needs '
                'images that the weights do not learn from'
            )
        keep = _kept_edges(cfg, space, given.get('keep'))
        plan(space, keep, given.get('order', 'random'), 0)

    @property
    def _checkpoints(self) -> AtomicCheckpointHook:
        return checkpoint_hook_of(self.runner, type(self).__name__)

    def run(self) -> Any:
        """Train and decide.

        Raises:
            UserError: The run has another checkpoint hook, or was begun with other decisions.
        """
        checkpoint_hook_of(self.runner, type(self).__name__)  # refused before anything is trained
        if any(self.trier.hidden(decision) for decision in self.plan[: self.decided]):
            raise UserError(
                f'cannot resume: the first {plural(self.decided, "decision")} of the run were of '
                'other edges than those of this config; resume with the train_cfg.order and keep '
                'that began the run'
            )
        return super().run()

    def first_lines(self) -> Iterator[tuple[str, str]]:
        """What the first lines of the log say of it."""
        kinds = [decision.kind for decision in self.plan]
        counts = [plural(kinds.count(OPERATION), 'edge')]
        if EDGES in kinds:
            counts.append(plural(kinds.count(EDGES), 'node'))
        epochs = sorted({self._epoch_of(decision) for decision in self.plan})
        yield (
            'selection',
            f'{" and ".join(counts)} by the {self.criterion} without each candidate, on the images '
            f'of {_loader_key(self.images)}; '
            f'{plural(len(self.plan) - self.decided, "decision")} to go, '
            f'before epoch{"s" if len(epochs) > 1 else ""} '
            + ', '.join(str(epoch + 1) for epoch in epochs),
        )

    def _epoch_of(self, decision: Decision) -> int:
        return epoch_of(decision.turn, self.plan[-1].turn + 1, self.max_epochs)

    @property
    def trials(self) -> int:
        """How many trials the decisions that are left take: passes over the images."""
        return sum(len(self.trier.hidden(decision)) for decision in self.plan[self.decided :])

    def begin_epoch(self) -> None:
        """Take the decisions that are due before an epoch, those left of them where it resumes."""
        if self._checkpoints.dry_run:  # which prices `trials`
            return
        while (
            self.decided < len(self.plan) and self._epoch_of(self.plan[self.decided]) <= self._epoch
        ):
            self._take(self.plan[self.decided])
        for timer in (one for one in self.runner.hooks if isinstance(one, IterTimerHook)):
            timer.t = time.time()  # trials are no time that a batch was waited for

    def _take(self, decision: Decision) -> None:
        runner, hook = self.runner, self._checkpoints
        hook.stop.doing = f'a batch of decision {self.decided + 1}, of {len(self.plan)}'
        try:
            trials = self.trier(decision)
        except _Left as left:
            hook.stop_between(runner, self.decided, left.number)
        self.decided += 1
        row = self._row(decision, trials)
        runner.logger.info(
            f'Selection {self.decided} of {len(self.plan)}: {decision_in_words(row)}'
        )
        runner.call_hook('after_decision', decided=self.decided, row=row)
        hook.stop.doing = f'iteration {runner.iter + 1}'

    def score(self) -> float:
        """Accuracy (%) or loss (nats) of the network as it is now, the same on all ranks.

        Raises:
            RunFailed: The loss is NaN or infinite.
        """
        if self._loader is None:
            self._loader = self._build_loader()
        model = unwrapped(self.runner.model)
        by_batch = batch_statistics(model) if self.statistics == 'batch' else nullcontext()
        fp16 = bool(getattr(self.runner.val_loop, 'fp16', False))
        model.eval()
        try:
            with by_batch:
                found = score(model, self._loader, self.criterion, self._between, fp16)
        finally:
            model.train()
        check_finite(found, f'{self.criterion} of a trial', self.runner)
        return found

    def _build_loader(self) -> DataLoader:
        """The images in one order that mixes them: data sets may be sorted by class."""
        sampler = dict(type='rdarts.SeededSampler', name='selection', round_up=True)
        cfg = dict(self.runner.cfg[_loader_key(self.images)], sampler=sampler)
        return self.runner.build_dataloader(cfg, seed=self.seed)

    def _between(self) -> None:
        number = self._checkpoints.stop.of_any_rank()
        if number:
            raise _Left(number)

    def _row(self, decision: Decision, trials: Trials) -> dict[str, Any]:
        """What the log says of a decision; edges as ``'0-2'``, of nodes."""
        edges = self.owner.space.cells[decision.cell].edges

        def name(one: Any) -> str:
            return one if isinstance(one, str) else f'{edges[one].source}-{edges[one].target}'

        is_edge = decision.kind == OPERATION
        return dict(
            cell=decision.cell,
            **({'edge': name(decision.place)} if is_edge else {'node': decision.place}),
            kept=[name(one) for one in trials.kept],
            criterion=self.criterion,
            scores={name(one): value for one, value in trials.scores.items()},
        )


def _loader_key(images: str) -> str:
    return f'{images}_dataloader'


def _kept_edges(cfg: Config, space: SearchSpace, keep: int | None) -> int | None:
    """How many edges a node keeps: as many as the search's rule derives; None for all."""
    hook = (cfg.get('default_hooks') or {}).get('genotype') or {}
    rule = build(hook.get('discretizer') or space.discretizer, DISCRETIZERS)
    return rule.k if keep is None and isinstance(rule, TopEdges) else keep


class _SelectionState(Hook):
    """What a selection must be resumed with: the number of decisions; the masks are the model's.

    Args:
        loop (PerturbationSelection): The loop.
    """

    def __init__(self, loop: PerturbationSelection) -> None:
        self.loop = loop

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine."""
        checkpoint[ENTRY] = dict(decided=self.loop.decided)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine.

        Raises:
            EntryError: The checkpoint does not say what was decided.
        """
        if runner._resume:
            spec = Table(dict(decided=Whole(0, len(self.loop.plan))))
            check_entry(checkpoint.get(ENTRY), spec, ENTRY)
            self.loop.decided = checkpoint[ENTRY]['decided']
