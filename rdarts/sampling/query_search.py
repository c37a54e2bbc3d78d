"""The search that asks: a strategy proposes genotypes and an evaluator answers, so many times."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from rdarts.checkpoint.directory import iteration_of, last_good, list_checkpoints, set_aside
from rdarts.checkpoint.schema import EntryError
from rdarts.configuration import as_data
from rdarts.configuration.notes import note_lines
from rdarts.configuration.retraining import write_retraining
from rdarts.engine.facts import Facts, Place
from rdarts.engine.first_lines import align
from rdarts.engine.search_log import add_row, cut, synced_size
from rdarts.engine.stop_signals import StopRequest
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.genotypes import Genotype, dumps, short_form
from rdarts.hooks.search_log import machine, versions
from rdarts.hooks.tabular_benchmark import look_up_line
from rdarts.registry import BENCHMARKS, RUNNERS, lookup
from rdarts.results.log import LOG
from rdarts.results.phases import call
from rdarts.sampling.history import Asked, History, of_first_rank, result_data
from rdarts.sampling.query_checkpoint import read_queries, write_checkpoint
from rdarts.sampling.query_parts import Parts, at_most
from rdarts.sampling.time_limit import TimeLimit
from rdarts.search_spaces.as_data import to_data
from rdarts.utils.commands import short_path
from rdarts.utils.files import write_atomically
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.stop_signals import signal_name
from rdarts.utils.wording import plural

SAVE_SECONDS = 10.0  # between two checkpoints, and two lines of progress
SAVE_SHARE = 0.05  # of its time that checkpoints take at most: each has all that was asked


@RUNNERS.register_module()
class QuerySearch(Runner):
    """Asks a strategy for genotypes and tells it what an evaluator answers, ``budget`` times.

    It is started as other runs are, by ``runner_type='rdarts.QuerySearch'`` in a config, and writes
    the same work directory: ``search_log.jsonl`` (a row of kind ``query`` for each query),
    ``genotype.json`` (the best), ``report.html``, and ``iter_<n>.pth``, from which it goes on: the
    state of the strategy and of the generator, and what was answered. Of mmengine's runner it uses
    what sets up process, seed and log; it trains nothing itself. Every query counts, also of a
    genotype that was asked for before, or whose value is not finite: such a one is ranked last.

    In a launch of several processes, the first one evaluates.

    Args:
        cfg (Config): With ``strategy``, ``evaluator`` and ``budget``; ``limits`` is optional, and
            says what genotypes may cost: see :class:`rdarts.sampling.limits.Limits`; with
            ``max_seconds`` it ends after the query in which that time is over. The space is that of
            ``model.backbone``. Where it is a phase of a search, ``supernet`` is the checkpoint of
            the phase before, whose weights an evaluator may inherit.

    Raises:
        UserError: Something is missing, or does not fit the space.
    """

    asks = True

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self._work_dir = os.path.abspath(cfg.work_dir)
        self._launcher = cfg.get('launcher', 'none')
        self._distributed = self._launcher != 'none'
        self._hooks: list[Hook] = []
        self._train_loop = self.model = None
        self._resume, self._load_from = cfg.get('resume', False), cfg.get('load_from')
        self.param_schedulers = None
        self.setup_env(cfg.get('env_cfg') or {})
        self.set_randomness(**{'seed': None, **(cfg.get('randomness') or {})})
        name = cfg.get('experiment_name') or Path(cfg.filename or self._work_dir).stem
        self._experiment_name = f'{name}_{self._timestamp}'
        self._log_dir = os.path.join(self._work_dir, self._timestamp)
        os.makedirs(self._log_dir, exist_ok=True)
        self.default_scope = DefaultScope.get_instance(
            self._experiment_name, scope_name=cfg.get('default_scope', 'mmpretrain')
        )
        self.logger = self.build_logger(log_level=cfg.get('log_level', 'INFO'))
        parts = Parts.of(cfg)
        self.space, self.strategy, self.evaluator = parts.space, parts.strategy, parts.evaluator
        self.budget: int = cfg.budget
        self.time_limit = TimeLimit(cfg.get('max_seconds'))
        self.stop = StopRequest()
        report = (cfg.get('default_hooks') or {}).get('report', dict(type='rdarts.ReportHook'))
        if report is not None:  # with which the config switches it off, as for other searches
            self.register_hook(report)
        self.dump_config()

    @classmethod
    def from_cfg(cls, cfg: Config) -> QuerySearch:
        """See mmengine."""
        return cls(cfg)

    @staticmethod
    def check(cfg: Config) -> None:
        """Refuse what would be noticed only when the search begins, after a phase before it.

        Raises:
            UserError: See :class:`QuerySearch`.
        """
        Parts.of(cfg)

    @property
    def iter(self) -> int:
        """How many queries were answered."""
        return len(self.history) if hasattr(self, 'history') else 0

    def train(self) -> None:
        """Search.

        Raises:
            UserError: Strategy, evaluator or checkpoint do not fit.
            Interrupted: By a signal, after the running query, which is saved.
            RunFailed: The machine failed: memory, disk, quota, rights.
        """
        try:
            self._search()
        except (Interrupted, RunFailed):
            self.call_hook('after_early_end')
            raise
        except Exception as error:
            line = explain_machine(error)
            if line is None or isinstance(error, UserError):
                raise
            self.call_hook('after_early_end')
            raise RunFailed(f'{line}. {last_good(self.folder)}') from error
        finally:
            self.stop.release()

    def prepare(self) -> None:
        """Make strategy and evaluator ready, as they are before the first query.

        Raises:
            UserError: One does not fit the space, or no genotype is within the limits.
        """
        self.generator = np.random.default_rng(self.seed)
        self.evaluator.prepare(self.space, self.seed, self.cfg)
        self.strategy.prepare(self.space, self.generator, self.cfg)
        self.history = History(self.evaluator)

    def measure(self, seconds: float, least: int = 3) -> float:
        """Seconds of a query: what is asked for and answered here is kept nowhere.

        Args:
            seconds (float): How long queries are timed, within the budget, and before the strategy
                computes for long.
            least (int): How many are, however long they take. The first does not count.
        """
        self.prepare()
        ends: list[float] = []
        most = min(self.budget + 1, self.strategy.long_after or math.inf)
        while len(ends) < min(most, least + 1) or (
            len(ends) < most and ends[-1] - ends[0] < seconds
        ):
            genotype = self.strategy.ask()
            self.strategy.tell(genotype, self.evaluator(genotype))
            ends.append(time.perf_counter())
        return (ends[-1] - ends[0]) / (len(ends) - 1)

    def _search(self) -> None:
        self.place = Place.of(self)
        self.folder = Path(self._checkpoint_folder())
        self.log = self.place.folder / LOG
        self.stop.listen(is_main_process(), 'what comes before the first query')
        self.prepare()
        seconds = self._go_on() if self._resume else 0.0
        self.started = time.perf_counter() - seconds
        self._saved = self._told = time.perf_counter()
        self._pause = 0.0
        Facts.of(self).table = self._table()
        if is_main_process() and not self._resume:
            cut(self.log, self.place.log_bytes)
            space = as_data.as_data(to_data(self.space))
            names = dict(self._begun_with(), space=space, budget=self.budget)
            about = dict(versions=versions(), machine=machine())
            self._write('start', seed=self.seed, **about, **names)
            self._save()
        self.time_limit.begin(self.place, self.iter)
        if is_main_process() and self.iter < self.budget:  # of an end that is no longer one
            Path(self.work_dir, 'genotype.json').unlink(missing_ok=True)
        self.call_hook('before_train')
        self.logger.info(self._first_lines())
        while len(self.history) < self.budget and not self.time_limit.is_over():
            number = len(self.history) + 1
            self.stop.doing = f'query {number}'
            self._query(number)
            self.call_hook('after_query')
            if number == self.budget:  # its end, also where a signal came
                break
            if self.time_limit.is_over():
                self._tell(f'query {number}: max_seconds={self.time_limit.seconds:g} are over')
                break
            stop = self.stop.of_any_rank()
            if stop or time.perf_counter() - self._saved > max(SAVE_SECONDS, self._pause):
                self._save()
            if stop:
                raise Interrupted(
                    f'stopped by {signal_name(stop)} after query {number}; '
                    'saved: start the same command with --resume to go on',
                    stop,
                )
        self._save()
        self._end()

    def _query(self, number: int) -> None:
        genotype, history = self.strategy.ask(), self.history
        asked = Asked(genotype, self.evaluator(genotype)) if is_main_process() else None
        asked, before = of_first_rank(asked, self.space), history.best
        self.strategy.tell(asked.genotype, asked.result)
        history.add(asked)
        if is_main_process():
            finite = np.isfinite(history.value)
            seconds = time.perf_counter() - self.started
            self._write(
                'query',
                query=number,
                genotype=asked.genotype.to_string(),
                **result_data(asked.result),
                best=history.value if finite else None,
                best_query=history.best + 1,
                seconds=round(seconds, 4),
                **self.time_limit.after_query(seconds, number == self.budget),
            )
        if history.best != before:
            self._tell(f'query {number}: {history.value:.6g}, {short_form(history.genotype)}')
        elif time.perf_counter() - self._told > SAVE_SECONDS:
            self._tell(f'query {number}: the best is {history.value:.6g}')

    def _tell(self, line: str) -> None:
        now, done = time.perf_counter(), len(self.history)
        self._told = now
        left = (now - self.started) / done * (self.budget - done)
        self.logger.info(f'{line}; {done:,} of {self.budget:,}, {left:,.0f} s to go')

    # The log, and what is found

    def _write(self, kind: str, **values: Any) -> None:
        add_row(self.log, self.place, kind, 0, self.iter, **values)

    def _write_front(self) -> None:
        """Where a cost is a second goal: what no query beats in both, the cheapest first."""
        folder, cost = Path(self.work_dir, 'genotypes'), self.strategy.second_goal
        for path in folder.glob('front_*.json'):  # of an end that is no longer one
            path.unlink()
        if cost is None:
            return
        front = self.history.front(cost)
        folder.mkdir(exist_ok=True)
        for number, place in enumerate(front, 1):
            text = dumps(self.history.asked[place].genotype)
            write_atomically(folder / f'front_{number}.json', text.encode())
        self._write('front', cost=cost, queries=[place + 1 for place in front])
        self.logger.info(
            f'{plural(len(front), "genotype")} that no other one beats in value and {cost}: '
            'genotypes/front_<n>.json, the cheapest first'
        )

    def _first_lines(self) -> str:
        name = ' '.join(filter(None, ('The search', self.cfg.get('experiment_name'))))
        name += f', {self.place.name},' if self.place.name else ''
        begins = f'goes on after query {self.iter:,}' if self.iter else 'begins'
        lines = [
            ('space', self.space.name),
            ('strategy', call(self.cfg.strategy)),
            ('evaluator', call(self.cfg.evaluator)),
            ('budget', plural(self.budget, 'query')),
            *([('limits', at_most(self.cfg.limits))] if self.cfg.get('limits') else []),
            ('writes to', short_path(self.work_dir)),
            *note_lines(self.cfg),
        ]
        return f'{name} {begins}\n{align(lines)}'

    def _end(self) -> None:
        history = self.history
        if not is_main_process():
            return
        if not np.isfinite(history.value):
            self.logger.warning(
                'no query has a finite value: the first one is what was found, for want of another'
            )
        elif history.not_finite:
            self.logger.warning(
                f'{plural(history.not_finite, "query")} of {len(history):,} without a '
                'finite value, ranked last'
            )
        self._tell(f'the best is query {history.best + 1}: {history.value:.6g}')
        self._write_front()
        genotype = history.genotype
        write_atomically(Path(self.work_dir, 'genotype.json'), dumps(genotype).encode())
        self._look_up(genotype)
        if self.place.phase is None:
            write_retraining(self.cfg, self.space, genotype)
            self.call_hook('after_train')

    def _table(self) -> Any:
        """The benchmark's table; None where there is none."""
        table = getattr(self.evaluator, 'table', None)
        if table is None and self.space.table is not None:
            try:
                table = lookup(self.space.table, BENCHMARKS).find()
            except UserError as error:
                self.logger.info(f'no look-up: {error}')
        return table

    def _look_up(self, genotype: Genotype) -> None:
        """Log what the benchmark's table holds of what was found, where there is one."""
        table = Facts.of(self).table
        if table is not None:
            self.logger.info(look_up_line(table, genotype))

    # Checkpoints

    def _checkpoint_folder(self) -> str:
        hook = (self.cfg.get('default_hooks') or {}).get('checkpoint') or {}
        return hook.get('out_dir') or self.work_dir

    def _save(self) -> None:
        """Write a checkpoint whole or not at all, and delete the oldest.

        Raises:
            RunFailed: It cannot be written.
        """
        self._saved = time.perf_counter()
        if not is_main_process():
            return
        write_checkpoint(
            self.folder,
            meta=dict(epoch=0, iter=self.iter, seed=self.seed),
            log=dict(bytes=synced_size(self.log), seconds=self._saved - self.started),
            queries=dict(
                **self._begun_with(),
                state=self.strategy.state_dict(),
                generator=self.generator.bit_generator.state,
                asked=[one.to_data() for one in self.history.asked],
            ),
        )
        self._pause = (time.perf_counter() - self._saved) / SAVE_SHARE

    def _begun_with(self) -> dict[str, str]:
        """The names without which what was answered means nothing."""
        strategy, evaluator = type(self.strategy).__name__, type(self.evaluator).__name__
        return dict(space=self.space.name, strategy=strategy, evaluator=evaluator)

    def _go_on(self) -> float:
        """Take the state of the checkpoint, and cut the log back to it.

        Returns:
            float: Seconds of the search until then.

        Raises:
            UserError: It is of another search.
        """
        meta, log, saved = read_queries(self._load_from)
        own = dict(seed=self.seed, **self._begun_with())
        for key, before in dict(saved, seed=meta['seed']).items():
            if key in own and before != own[key]:
                raise UserError(
                    f'cannot resume: the search was begun with {key} {before}, not {own[key]}; '
                    'resume with what began it'
                )
        asked = [Asked.from_data(one, self.space) for one in saved['asked']]
        if len(asked) > self.budget:
            raise UserError(
                f'cannot resume: {plural(len(asked), "query")} were asked, and budget is '
                f'{self.budget}: set it to {len(asked)} or more'
            )
        self.evaluator.go_on([one.result for one in asked])
        self.history = History(self.evaluator, asked)
        try:
            self.generator.bit_generator.state = saved['generator']
            self.strategy.load_state_dict(saved['state'])
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise EntryError('queries.state', f'is no state of {own["strategy"]}') from None
        if is_main_process():
            lacking = cut(self.log, log['bytes'])
            if lacking:
                self.logger.warning(
                    f'{self.log} is shorter than the checkpoint says: earlier rows are lost'
                )
            later = [p for p in list_checkpoints(self.folder) if iteration_of(p) > len(asked)]
            if later:
                set_aside(self.folder, later)
        return log['seconds']
