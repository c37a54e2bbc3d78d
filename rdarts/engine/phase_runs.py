"""The runs that a search in phases consists of: where each works, its config, what is before it."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from mmengine.config import Config

from rdarts.architect.transitions import Ended, Transition
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.schema import Spec, Table, Whole, check_entry
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.load import phases_of
from rdarts.configuration.notes import add_note
from rdarts.configuration.phases import Phase, chain
from rdarts.datasets.hashing import hash_stream
from rdarts.engine.facts import Place
from rdarts.engine.going_on import network_of
from rdarts.engine.phase_record import PhaseRecord
from rdarts.errors import UserError
from rdarts.registry import TRANSITIONS, build
from rdarts.results.log import LOG
from rdarts.results.search_run import SearchRun
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.search_spaces.as_config import to_config


class PhaseRuns:
    """The phases of a config, in a work directory.

    Args:
        cfg (Config): The whole config, with ``phases`` and a ``work_dir``.

    Attributes:
        cfg (Config): That.
        folder (Path): The work directory.
        phases (list[Phase]): The phases.
        transitions (list[list[Transition]]): Of each phase.
        init (str | None): The folder of the search that stands for the first phase.
        record (PhaseRecord): What has ended.

    Raises:
        UserError: Phases do not fit the config.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.folder = cfg, Path(cfg.work_dir)
        self.phases = phases_of(cfg)
        self.transitions = [_transitions(phase) for phase in self.phases]
        given = cfg.get('init')
        self.init: str | None = None if given is None else os.path.normpath(given)
        if self.init is not None and len(self.phases) == 1:
            raise UserError(
                f'init is {self.init!r}, which stands for the first phase, but there is no other'
            )
        if self.init is not None and Path(self.init).resolve() == self.folder.resolve():
            raise UserError(
                f'init is {self.init}, the work directory itself: another --work-dir for what '
                'goes on from it'
            )
        if self.init is not None and Path(self.init, LOG).is_file():
            self._search_space_of(SearchRun(Path(self.init), '').space)
        self.record = PhaseRecord((cfg.get('randomness') or {}).get('seed') or 0, self.init)

    def _search_space_of(self, space: SearchSpace) -> None:
        """Phases that go on from another search go on in its space, such as one with ``none``."""
        for phase in self.phases:
            backbone = phase.cfg.model.backbone
            own = build_space(backbone.space)
            if own.cells != space.cells and own.supernet == space.supernet:
                backbone.space = to_config(space)
                add_note(phase.cfg, f"the space of init, '{space.name}', not '{own.name}'")

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return build_space(self.phases[-1].cfg.model.backbone.space)

    @property
    def to_run(self) -> list[Phase]:
        """The phases that are run: all but that for which ``init`` stands."""
        return self.phases[int(self.init is not None) :]

    @staticmethod
    def branches(phase: Phase) -> list[int | None]:
        """The branches of a phase; None alone where it has none."""
        return [None] if phase.branches == 1 else list(range(phase.branches))

    def folder_of(self, index: int, branch: int | None) -> Path:
        """The folder of a run.

        Args:
            index (int): Of its phase.
            branch (int | None): Which one of the phase's branches; None where it has none.
        """
        return folder_of(self.folder, index, branch)

    def config(self, phase: Phase, branch: int | None) -> Config:
        """The config of a run, with its own folder, name and seed."""
        cfg = copy.deepcopy(phase.cfg)
        object.__setattr__(cfg, '_filename', phase.cfg.filename)
        cfg.work_dir = str(self.folder_of(phase.index, branch))
        parts = Path(cfg.work_dir).relative_to(self.folder)
        name = self.cfg.get('experiment_name') or Path(self.cfg.filename or self.folder).stem
        cfg.experiment_name = '_'.join((name, *parts.parts))
        randomness = dict(cfg.get('randomness') or {})
        cfg.randomness = dict(randomness, seed=self.seed(phase.index, branch))
        if phase is not self.phases[0]:
            cfg.find_unused_parameters = True  # candidates may be pruned
        hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
        if hook.get('out_dir'):
            hook['out_dir'] = str(Path(hook['out_dir'], parts))
        return cfg

    def checkpoints(self, phase: Phase, branch: int | None) -> Path:
        """Where a run has its checkpoints."""
        hook = (phase.cfg.get('default_hooks') or {}).get('checkpoint') or {}
        folder = self.folder_of(phase.index, branch)
        given = hook.get('out_dir')
        return Path(given, folder.relative_to(self.folder)) if given else folder

    def seed(self, index: int, branch: int | None) -> int:
        """That of the search in its first run, and of each other run one that follows from it."""
        if index == 0 and not branch:
            return self.record.seed
        key = (self.record.seed, 'phase', index, *(() if branch is None else ('branch', branch)))
        return int(hash_stream(1, *key)[0]) % 2**31

    # The places of runs

    def place(self, phase: Phase, branch: int | None) -> Place:
        """Where a run stands, after the runs that have ended before it."""
        before = []
        for run in self.record.runs:
            if (run.phase, run.branch) == (phase.index, branch):
                break
            before.append(run)
        epochs = [one.epochs * one.branches for one in self.to_run]
        done = sum(run.epochs for run in before)
        counted = [one.index for one in chain(self.phases, phase.index, 'epoch')]
        progress = None
        if len(counted) > 1:
            total = sum(self.phases[index].epochs for index in counted)
            progress = (self._done(phase.index, counted)[0], total)
        scheduled = [one.index for one in chain(self.phases, phase.index, 'schedule')]
        ended = self.record.phase(phase.index - 1)
        sizes = [run.bytes for run in before] + ([ended.bytes] if ended else [])
        return Place(
            folder=self.folder,
            phase=phase.index,
            branch=branch,
            phases=len(self.phases),
            epochs_before=done,
            iterations_before=sum(run.iterations for run in before),
            epochs_after=max(0, sum(epochs) - done - phase.epochs),
            log_bytes=max(sizes, default=0),
            done=self._done(phase.index, scheduled),
            progress=progress,
        )

    def _done(self, index: int, together: Sequence[int]) -> tuple[int, int]:
        """Epochs and iterations of the phases before one, of those over which something goes on."""
        epochs = iterations = 0
        for one in together:
            if one == 0 and self.init is not None and index:
                epochs, iterations = self._length_of_first
            ended = self.record.phase(one) if one < index else None
            if ended is not None:
                run = self.record.run_of(one, ended.branch)
                epochs, iterations = epochs + run.epochs, iterations + run.iterations
        return epochs, iterations

    @cached_property
    def _length_of_first(self) -> tuple[int, int]:
        """Epochs of the first phase, for which another search stands, and iterations of it."""
        epochs, meta = self.phases[0].epochs, self.initial('cpu').state['meta']
        return epochs, round(meta['iter'] * epochs / max(1, meta['epoch']))

    # Phases that have ended

    def before(self, index: int, device: torch.device | str) -> Ended:
        """The phase before one, as it ended.

        Args:
            index (int): Of the later one.
            device (device | str): Where its network lies.

        Raises:
            UserError: Its checkpoint is missing, or ``init`` does not fit the first phase.
        """
        if index == 1 and self.init is not None:
            return self.initial(device)
        phase = self.phases[index - 1]
        return self._ended(phase, self.record.phase(index - 1).branch, device)

    def checkpoint_before(self, index: int) -> Path:
        """The last checkpoint of the phase before one.

        Args:
            index (int): Of the later one.

        Raises:
            UserError: See :meth:`before`.
        """
        if index == 1 and self.init is not None:
            self.initial('cpu')  # that it fits
            return self._path_of_initial()
        phase = self.phases[index - 1]
        return self._path_of(phase, self.record.phase(index - 1).branch)

    def final(self, device: torch.device | str = 'cpu') -> Ended:
        """The last phase, as it ended."""
        return self._ended(self.phases[-1], self.record.ended[-1].branch, device)

    def _ended(self, phase: Phase, branch: int | None, device: torch.device | str) -> Ended:
        return _loaded(phase.cfg, self._path_of(phase, branch), device)

    def _path_of(self, phase: Phase, branch: int | None) -> Path:
        folder = self.checkpoints(phase, branch)
        path = find_checkpoint(folder)
        if path is None:
            raise UserError(
                f'no checkpoint in {folder}, where phase {phase.index} has ended: begin it anew '
                f'with --from-phase {phase.index}'
            )
        return path

    def initial(self, device: torch.device | str) -> Ended:
        """The search that stands for the first phase.

        Raises:
            UserError: There is none in the folder, or it does not fit the first phase.
        """
        path = self._path_of_initial()
        try:
            found = _loaded(self.phases[0].cfg, path, device)
        except UserError as error:
            raise UserError(
                f'init: the network of {path.parent} is another one than that of phases.0: {error}'
            ) from None
        if 'arch' not in found.state:
            raise UserError(f'init: {path} is not of a search (no entry arch)')
        counts = Table(dict(epoch=Whole(), iter=Whole()), others=Spec())
        check_entry(found.state.get('meta'), counts, 'meta')
        return found

    def _path_of_initial(self) -> Path:
        folder = Path(self.init)
        if not folder.is_dir():
            raise UserError(f'init: no folder {folder}: it is the work directory of a search')
        if not (folder / 'genotype.json').is_file():
            raise UserError(
                f'init: {folder} holds no search that has ended (no genotype.json): resume it first'
            )
        record = PhaseRecord.read(folder)
        if record is not None and record.ended:
            # a phase that only asked has no network
            trained = [one for one in record.ended if record.run_of(one.phase, one.branch).epochs]
            last = (trained or record.ended)[-1]
            folder = folder_of(folder, last.phase, last.branch)
        path = find_checkpoint(folder)
        if path is None:
            raise UserError(
                f'init: no checkpoint in {folder}: it is the work directory of a search'
            )
        return path


def _transitions(phase: Phase) -> list[Transition]:
    try:
        return [build(one, TRANSITIONS) for one in phase.start]
    except UserError as error:
        raise UserError(f'phases.{phase.index}.start: {error}') from None


def folder_of(work_dir: Path, index: int, branch: int | None) -> Path:
    """The folder of a run in the work directory of a search: see :meth:`PhaseRuns.folder_of`."""
    folder = work_dir / f'phase_{index}'
    return folder if branch is None else folder / f'branch_{branch}'


def _loaded(cfg: Config, path: Path, device: torch.device | str) -> Ended:
    state = read_checkpoint(path, map_location=str(device))
    network = network_of(cfg, device)
    load_weights(network, state, path)
    return Ended(cfg, network, state)
