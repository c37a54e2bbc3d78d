"""Sweeps: searches of one config under options that Optuna proposes, in a database that is shared.

Each trial is a search in a folder of its own. Every process that is started on a sweep takes
trials; one that dies is missed by its heartbeat, and its trial is queued again and goes on from its
checkpoint.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from rdarts.apis.runs import configure_training
from rdarts.configuration.options import parse_options
from rdarts.errors import Interrupted, UserError, nearest
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.option_layers import texts_over
from rdarts.study.run import Run
from rdarts.study.searches import settings_of, train_command
from rdarts.study.sweep_params import Parameter, option_texts
from rdarts.study.sweep_values import GOALS, VALIDATION, EpochValues
from rdarts.utils.stop_signals import catch_signals, signal_name

if TYPE_CHECKING:
    import optuna
    from mmengine.config import Config

STORAGE = 'sweep.db'
NAME = 'sweep'
HEARTBEAT = 10  # seconds between two; after six without one, a process is given up
POLL = 1.0  # seconds between two looks at the log
FOLDER, ERROR = 'folder', 'error'  # attributes of a trial


class TrialFailed(Exception):
    """A search of a sweep failed by itself: the others go on."""


@dataclass(frozen=True)
class Sweep:
    """What is swept, and how.

    Args:
        config (str): Of the searches.
        parameters (Sequence[Parameter]): What is tried.
        work_dir (str): Where each trial has its folder ``trial_NUMBER``.
        trials (int): How many there are to be in all. Defaults to 20.
        goal (str): What is to be high: ``'val'``, the accuracy (%) of the search's own validation;
            or a data set of the NAS-Bench-201 table, the validation accuracy that it has of the
            cell. Defaults to ``'val'``.
        sampler (str): What proposes: ``'tpe'``, ``'random'`` or ``'gp'``. Defaults to ``'tpe'``.
        pruner (str): What ends trials early: ``'median'`` (worse than half of the others at the
            same epoch), ``'halving'`` or ``'none'``. Defaults to ``'median'``.
        startup (int): Trials that are never ended early by the median. Defaults to 5.
        warmup (int): Epochs in which no trial is ended early. Defaults to 1.
        seed (int): Of every search, and of the sampler. Defaults to 0.
        cfg_options (Sequence[str]): ``KEY=VALUE`` of every search. Defaults to none.
        storage (str, optional): A database of Optuna, as its URL. Defaults to :data:`STORAGE`, an
            SQLite file in the work directory.
        heartbeat (int): Seconds between two signs of life of a process. Defaults to 10.
    """

    config: str
    parameters: Sequence[Parameter]
    work_dir: str
    trials: int = 20
    goal: str = VALIDATION
    sampler: str = 'tpe'
    pruner: str = 'median'
    startup: int = 5
    warmup: int = 1
    seed: int = 0
    cfg_options: Sequence[str] = ()
    storage: str | None = None
    heartbeat: int = HEARTBEAT

    def settings(self) -> dict[str, Any]:
        """What all processes of a sweep must agree on, as JSON has it."""
        return dict(
            config=Path(self.config).stem,
            parameters=[parameter.to_text() for parameter in self.parameters],
            goal=self.goal,
            seed=self.seed,
            options=list(self.cfg_options),
        )

    def options_of(self, params: Mapping[str, Any]) -> list[str]:
        """``KEY=VALUE`` of a trial's search."""
        return texts_over(self.cfg_options, option_texts(params))


def open_study(sweep: Sweep) -> optuna.Study:
    """The study of a sweep, made where there is none.

    Args:
        sweep (Sweep): The sweep.

    Raises:
        UserError: Optuna is not installed, the storage cannot be used, or holds another sweep.
    """
    optuna = _import_optuna()
    folder = Path(sweep.work_dir)
    url = sweep.storage or f'sqlite:///{(folder / STORAGE).absolute()}'
    sqlite = url.startswith('sqlite')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # of processes that start together, one makes the tables
        with _quiet(optuna), FileLock(folder / f'{STORAGE}.lock'):
            storage = optuna.storages.RDBStorage(
                url,
                # another process may be writing
                engine_kwargs=dict(connect_args=dict(timeout=60)) if sqlite else None,
                heartbeat_interval=sweep.heartbeat,
                grace_period=6 * sweep.heartbeat,
                heartbeat_stale_trial_callback=_retry(optuna),
            )
            study = optuna.create_study(
                storage=storage, study_name=NAME, direction='maximize', load_if_exists=True
            )
    except Exception as error:  # of the database, whichever it is
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        url = re.sub('//[^/]*@', '//', url)  # without a password
        raise UserError(f'{url}: no storage of a sweep: {line}') from None
    _agree(study, sweep)
    study.pruner = _pruner(optuna, sweep)
    return study


def _agree(study: optuna.Study, sweep: Sweep) -> None:
    settings = sweep.settings()
    stored = study.user_attrs.get('settings')
    if stored is None:
        study.set_user_attr('settings', settings)
    elif stored != settings:
        differing = [key for key in settings if stored.get(key) != settings[key]]
        raise UserError(
            f'{sweep.work_dir} holds a sweep of other settings ({", ".join(differing)}): another '
            '--work-dir'
        )


def check_sweep(sweep: Sweep) -> Config:
    """Configure searches with the ends of what is tried, so that a mistake is known at once.

    Args:
        sweep (Sweep): The sweep.

    Returns:
        Config: The config with the options of every search.

    Raises:
        UserError: The config cannot be read, or does not take an option or a value.
    """
    if sweep.goal not in GOALS:
        raise UserError(f"--goal: '{sweep.goal}' is none: {nearest(sweep.goal, GOALS)}")
    most = max(len(parameter.values) for parameter in sweep.parameters)
    for index in range(most):
        params = {one.key: one.values[min(index, len(one.values) - 1)] for one in sweep.parameters}
        configure_training(sweep.config, parse_options(sweep.options_of(params)))
    return configure_training(sweep.config, parse_options(sweep.cfg_options))


def run_sweep(sweep: Sweep, cfg: Config) -> optuna.Study:
    """Run trials until there are as many as there are to be, those of other processes included.

    Args:
        sweep (Sweep): The sweep.
        cfg (Config): What :func:`check_sweep` gives.

    Raises:
        UserError: See :func:`open_study`.
        Interrupted: By Ctrl-C, SIGTERM or a closed terminal; the trial is queued again.
    """
    optuna = _import_optuna()
    study = open_study(sweep)
    objective = _Objective(sweep, cfg)

    def interrupt(number: int, frame: Any) -> None:
        text = f'stopped by {signal_name(number)}: the same command again goes on with the sweep'
        objective.interrupted = Interrupted(text, number)
        raise objective.interrupted  # lost where a weak reference's callback runs: see there

    before = catch_signals(interrupt)
    try:
        with _quiet(optuna):
            while _next(optuna, study, sweep):
                study.sampler = _sampler(optuna, sweep, len(study.get_trials(deepcopy=False)))
                study.optimize(objective, n_trials=1, catch=(TrialFailed,))
    except BaseException:
        if objective.number is not None:
            _retry(optuna)(study, study.get_trials()[objective.number])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return study


def _next(optuna: Any, study: optuna.Study, sweep: Sweep) -> bool:
    """Wait until there is a trial to run; False once there are enough that have ended."""
    State = optuna.trial.TrialState
    waits = False
    while True:
        optuna.storages.fail_stale_trials(study)
        states = [trial.state for trial in study.get_trials(deepcopy=False) if counts(trial)]
        if State.WAITING in states or len(states) < sweep.trials:
            return True
        if State.RUNNING not in states:
            return False
        if not waits:
            print(
                f'waits   {states.count(State.RUNNING)} trials run in other processes', flush=True
            )
        waits = True
        time.sleep(POLL)


def counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial is one of the sweep's: what a process left when it died is queued again."""
    return trial.state.name != 'FAIL' or ERROR in trial.user_attrs


class _Objective:
    """A trial: its search is started or goes on, is watched, and ends or is ended.

    Args:
        sweep (Sweep): The sweep.
        cfg (Config): The content of its config.
    """

    def __init__(self, sweep: Sweep, cfg: Config) -> None:
        self.sweep, self.cfg = sweep, cfg
        self.executor = LocalExecutor()
        self.number: int | None = None  # of the trial that runs
        self.interrupted: Interrupted | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        self.number = trial.number
        params = {one.key: one.suggest(trial) for one in self.sweep.parameters}
        folder = trial.user_attrs.get(FOLDER, f'trial_{trial.number:04d}')
        trial.set_user_attr(FOLDER, folder)
        options = self.sweep.options_of(params)
        config, seed, place = self.sweep.config, self.sweep.seed, Path(self.sweep.work_dir, folder)
        command = train_command(config, place, seed, options)
        settings = settings_of(config, self.cfg, seed, options)
        run = Run(folder, place, command, settings, resume=('--resume',))
        value = self._run(trial, run, ' '.join(option_texts(params)))
        self.number = None
        return value

    def _run(self, trial: optuna.Trial, run: Run, shown: str) -> float:
        """The value of a trial.

        Raises:
            TrialPruned: It was ended early.
            TrialFailed: Its search failed.
            UserError: The goal is not in the log, or the folder holds what is not of this trial.
            Interrupted: A signal came.
        """
        from optuna import TrialPruned

        seen = EpochValues(run.folder, self.sweep.goal, POLL)
        try:
            while True:
                state = run.state(self.executor)
                print(f'{state:<7} {run.name}  {shown}', flush=True)
                if state == 'done':
                    break
                if state != 'running':
                    run.start(self.executor)
                outcome = None
                while outcome is None:
                    time.sleep(self.executor.interval)
                    if self.interrupted is not None:
                        raise self.interrupted
                    outcome = self.executor.poll([run.job]).get(run.job.token)
                    if seen.report(trial) and outcome is None and trial.should_prune():
                        self.executor.cancel([run.job])
                        raise TrialPruned(f'after epoch {seen.last}')
                run.end(outcome)
                if not run.error:
                    break
                if not outcome.unseen:  # of a process that another left, the next start finds out
                    raise TrialFailed(run.error)
            seen.report(trial, at_once=True)
            if seen.value is None:  # no other would have one
                self.executor.leave()
                raise UserError(
                    f'{run.folder}: its log has no accuracy of --goal {self.sweep.goal}'
                )
        except TrialPruned as error:
            print(f'pruned  {run.name}  {error}', flush=True)
            self.number = None
            raise
        except TrialFailed as error:
            self.number = None
            trial.set_user_attr(ERROR, str(error))
            print(f'failed  {run.name}: {error}', flush=True)
            raise
        except BaseException:
            self.executor.leave()
            raise
        print(f'ended   {run.name}  {seen.value:.2f}', flush=True)
        return seen.value


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("a sweep needs Optuna: 'pip install optuna'") from None
    return optuna


def _retry(optuna: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RetryHeartbeatStaleTrialCallback()


def _sampler(optuna: Any, sweep: Sweep, number: int) -> Any:
    """A sampler that draws by the seed and the number of the trial, whichever process asks."""
    kinds = dict(tpe='TPESampler', random='RandomSampler', gp='GPSampler')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.samplers, kinds[sweep.sampler])(seed=1_000_003 * sweep.seed + number)


def _pruner(optuna: Any, sweep: Sweep) -> Any:
    if sweep.pruner == 'median':
        return optuna.pruners.MedianPruner(sweep.startup, sweep.warmup)
    if sweep.pruner == 'halving':
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, sweep.warmup))
    return optuna.pruners.NopPruner()


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's own lines and its warnings of what may change."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
