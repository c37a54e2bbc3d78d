"""A search in phases: each a run of its own in ``phase_<k>`` of one work directory.

What has ended is in ``phases.json``. A run that is not there goes on from its newest checkpoint, or
begins: again with the same seed, from the same checkpoints of the phase before, so that a search
that is killed between two phases, or within a transition, ends as one that is not.
"""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process, sync_random_seed
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from rdarts.architect.transitions import Beginning, Ended, Transition
from rdarts.benchmarks import NASBench201
from rdarts.checkpoint.directory import find_checkpoint, list_checkpoints
from rdarts.configuration import as_data
from rdarts.configuration.phases import Phase
from rdarts.configuration.retraining import write_retraining
from rdarts.engine.facts import Facts, Place
from rdarts.engine.going_on import hand_over, replay
from rdarts.engine.phase_checks import SCORE, check_phases
from rdarts.engine.phase_folder import found_record
from rdarts.engine.phase_record import (
    DECIDED,
    EndedPhase,
    EndedRun,
    PhaseRecord,
    read_decided,
)
from rdarts.engine.phase_runs import PhaseRuns, folder_of
from rdarts.engine.runner import asks, build_runner
from rdarts.engine.search_log import add_row, cut, synced_size
from rdarts.engine.work_dir import prepare_work_dir
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.results.log import LOG, read_search_log
from rdarts.results.row import number
from rdarts.results.search_run import SearchRun, method_of
from rdarts.utils.commands import shown_path
from rdarts.utils.files import write_atomically
from rdarts.utils.random_state import preserve_random_state
from rdarts.utils.wrapped import unwrapped
from rdarts.visualization.report import write_report


class StartPhaseHook(Hook):
    """Hands a phase that begins what it takes over from the one before.

    Args:
        phase (Phase): The phase.
        transitions (Sequence[Transition]): Its transitions.
        last (Callable | None): Gives the phase before, on a device; None of the first one.
        branch (int): Which of its branches. Defaults to 0.
        only_built (bool): Whether the phase before was only built, not trained. Defaults to False.
        seed (int): Of the phase, for all its branches. Defaults to 0.
    """

    priority = 'VERY_HIGH'  # before the architect takes alpha

    def __init__(
        self,
        phase: Phase,
        transitions: Sequence[Transition],
        last: Callable[[Any], Ended] | None,
        branch: int = 0,
        only_built: bool = False,
        seed: int = 0,
    ) -> None:
        self.phase, self.transitions, self.last = phase, transitions, last
        self.branch, self.only_built, self.seed = branch, only_built, seed

    def before_train(self, runner) -> None:
        """See mmengine."""
        if runner._resume:
            return  # the checkpoint has it
        facts = Facts.of(runner)
        if self.last is not None:
            with preserve_random_state():
                new = self._beginning(runner)
                last = self.last(next(new.model.parameters()).device)
                facts.last_arch = hand_over(new, last, self.transitions, self.phase.goes_on)
            self._remember(runner, new.decided)
        replay(runner.param_schedulers or [], *Place.of(runner).done)

    def _beginning(self, runner: Runner) -> Beginning:
        given = dict(
            cfg=self.phase.cfg,
            model=unwrapped(runner.model),
            seed=self.seed,
            branch=self.branch,
            branches=self.phase.branches,
        )
        if not self.only_built:
            arch = self.phase.cfg.get('arch_dataloader')
            given.update(
                optim_wrapper=runner.optim_wrapper,
                train_dataloader=runner.train_dataloader,
                arch_dataloader=arch and runner.build_dataloader(arch, seed=runner.seed),
                decided=_of_first_rank(lambda: read_decided(self._file(runner))),
            )
        return Beginning(**given)

    def _file(self, runner: Runner) -> Path:
        place = Place.of(runner)
        return folder_of(place.folder, self.phase.index, None) / DECIDED

    def _remember(self, runner: Runner, decided: Mapping[str, Any]) -> None:
        if is_main_process() and not self.only_built and any(decided.values()):
            write_atomically(self._file(runner), (json.dumps(decided) + '\n').encode())


class PhasedSearch:
    """A search in phases, in its work directory.

    Args:
        cfg (Config): The whole config, with ``phases`` and a ``work_dir``.

    Attributes:
        runs (PhaseRuns): What it consists of.

    Raises:
        UserError: Phases do not fit the config.
    """

    def __init__(self, cfg: Config) -> None:
        self.runs = PhaseRuns(cfg)
        self._table: NASBench201 | None = None

    def run(self, resume: bool = False, from_phase: int | None = None) -> None:
        """Run what is left of the search.

        Args:
            resume (bool): Whether it goes on where it was left. Defaults to False: what the work
                directory holds is set aside.
            from_phase (int, optional): Begin this phase anew, and keep what is before it.

        Raises:
            UserError: The work directory holds something else, or phases do not fit.
            RunFailed: A run cannot go on.
        """
        runs, keep = self.runs, resume or from_phase is not None
        if not keep:
            check_phases(runs)  # before what is in the folder is moved away
        prepare_work_dir(runs.folder, keep)
        record = found_record(runs, from_phase) if keep else None
        if record is None:
            seed = (runs.cfg.get('randomness') or {}).get('seed')
            record = PhaseRecord(sync_random_seed() if seed is None else seed, runs.init)
        runs.record = record
        if keep and len(record.ended) < len(runs.to_run):
            check_phases(runs)
        if is_main_process():
            self._write_config()
            record.write(runs.folder)
            (runs.folder / 'genotype.json').unlink(missing_ok=True)
        barrier()
        for phase in runs.to_run:
            for branch in runs.branches(phase):
                if record.run_of(phase.index, branch) is None:
                    goes_on = from_phase is None or phase.index < from_phase
                    self._train(phase, branch, keep and goes_on)
            if record.phase(phase.index) is None:
                self._end(phase)
        self._finish()

    def _write_config(self) -> None:
        cfg = copy.deepcopy(self.runs.cfg)
        cfg.resume = False
        files = {'config.py': cfg.pretty_text.encode(), as_data.FILE: as_data.to_json(cfg)}
        for name, data in files.items():
            write_atomically(self.runs.folder / name, data)

    def _train(self, phase: Phase, branch: int | None, keep: bool) -> None:
        runs = self.runs
        cfg, saved = runs.config(phase, branch), runs.checkpoints(phase, branch)
        # checkpoints may lie elsewhere, where those of an earlier search are
        began = keep and Path(cfg.work_dir, as_data.FILE).is_file()
        path = find_checkpoint(saved) if began and list_checkpoints(saved) else None
        cfg.resume = path is not None
        if path is not None:
            cfg.load_from = str(path)
        if asks(cfg) and phase.index and cfg.get('supernet') is None:
            cfg.supernet = str(runs.checkpoint_before(phase.index))
        runner = build_runner(cfg)
        place = Facts.of(runner).place = runs.place(phase, branch)
        first = phase.index == 0

        def last(device: Any) -> Ended:
            return runs.before(phase.index, device)

        hook = StartPhaseHook(
            phase,
            runs.transitions[phase.index],
            None if first else last,
            branch or 0,
            seed=runs.seed(phase.index, None),
        )
        if not asks(cfg):
            runner.register_hook(hook)
        print_log(f'{place.name}: {shown_path(cfg.work_dir)}', 'current')
        runner.train()
        self._table = Facts.of(runner).table
        done = (runner.epoch, runner.iter)
        del runner, hook
        gc.collect()
        barrier()  # what the first rank saved is there for all
        runs.record.runs.append(EndedRun(phase.index, branch, *done, self._log_size()))
        self._store()

    def _log_size(self) -> int:
        return _of_first_rank(lambda: synced_size(self.runs.folder / LOG))

    def _store(self) -> None:
        if is_main_process():
            self.runs.record.write(self.runs.folder)
        barrier()

    def _end(self, phase: Phase) -> None:
        """Write the row of a phase that has ended, and which of its branches goes on."""
        runs, record = self.runs, self.runs.record
        chosen, last = _of_first_rank(lambda: self._chosen(phase)), record.runs[-1]
        if is_main_process():
            path = runs.folder / LOG
            cut(path, last.bytes)
            place = replace(runs.place(phase, last.branch), branch=chosen)
            epochs = record.run_of(phase.index, chosen).epochs
            add_row(path, place, 'phase', last.epochs, last.iterations, epochs=epochs)
        record.ended.append(EndedPhase(phase.index, chosen, self._log_size()))
        self._store()

    def _chosen(self, phase: Phase) -> int | None:
        """The branch of the highest accuracy after its last epoch, the first of equals."""
        if phase.branches == 1:
            return None
        path = self.runs.folder
        scores: dict[int, float | None] = {}
        for row in read_search_log(path, 'val'):
            if row.get('phase') == phase.index:
                scores[row.get('branch')] = number(row, SCORE)
        for branch in range(phase.branches):
            if scores.get(branch) is None:
                raise UserError(
                    f'{path / LOG}: branch {branch} of phase {phase.index} has no row of kind '
                    f"'val' with {SCORE}, by which the best branch is chosen"
                )
        said = ', '.join(f'{scores[branch]:.2f}' for branch in range(phase.branches))
        print_log(f'phase {phase.index + 1}: {SCORE} of its branches {said}', 'current')
        return max(range(phase.branches), key=lambda branch: scores[branch])

    def _finish(self) -> None:
        """What was found, its report and the config of its retraining, in the search's folder."""
        if not is_main_process():
            return
        runs = self.runs
        last = runs.record.ended[-1]
        source = runs.folder_of(last.phase, last.branch) / 'genotype.json'
        if not source.is_file():
            raise UserError(f'{source} is missing, which the last phase wrote')
        write_retraining(runs.cfg, runs.space, load_genotype(source, runs.space))
        write_atomically(runs.folder / 'genotype.json', source.read_bytes())
        try:
            run = SearchRun(runs.folder, method_of(runs.folder), known_end=True)
            write_report([run], runs.folder / 'report.html', self._table)
        except Exception as error:  # what only shows a search must not end it
            print_log(f'no report.html: {error!r}', 'current', 30)


def _of_first_rank(make: Callable[[], Any]) -> Any:
    """What the first rank finds, for all."""
    found = [make() if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]
