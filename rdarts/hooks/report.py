"""The report of a search, rewritten after every epoch."""

from __future__ import annotations

import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from rdarts.configuration.as_data import as_data
from rdarts.engine.facts import Facts, Place
from rdarts.errors import UserError
from rdarts.registry import HOOKS
from rdarts.results.search_run import SearchRun, method_of
from rdarts.visualization.report import write_report

EVERY_EPOCH = 200  # of a search: later reports are half a percent to one percent of it apart
SECONDS = 60.0  # between two reports of a search that asks
SHARE = 0.05  # of its time that they take at most


def is_due(epoch: int) -> bool:
    """Whether a search writes its report after so many epochs.

    Each report reads the whole log, so that one after every epoch would take a time that grows with
    the square of their number. With one each time, these take less than 200 times what the last
    one does, however many epochs there are: from the 200th on every second, from the 400th on every
    fourth, and so on. Where all of them are validated, there are two each time, and it is less than
    400 times.
    """
    doubled = max(1, epoch * 2 // EVERY_EPOCH).bit_length() - 1
    return epoch % 2**doubled == 0


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.html`` after every epoch, its validation and the search.

    Of a search of more than 200 epochs it is written less often, after each hundredth of what has
    passed: see :func:`is_due`; and :func:`~rdarts.visualization.report.write_report`. Where a
    signal or a failure ends the search early, it is written then if it lacks an epoch. A search
    that asks has it after the query with which a minute has passed since the last one, or more
    where reports take a twentieth of its time; at its end; and where it ends early. A report that
    cannot be written does not end the search, and is tried again at the next time; the same reason
    is told once.
    """

    # after the log has its row
    priority = 'LOW'

    def __init__(self) -> None:
        self._told: str | None = None
        self._lacks = False  # the report, of what is logged at the end of epochs, or of queries
        self._next = time.perf_counter() + SECONDS

    def after_train_epoch(self, runner) -> None:
        self._lacks = True
        if is_due(Place.of(runner).epochs_before + runner.epoch + 1):
            self.write(runner)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        # a validation within a training
        if not runner.epoch:
            return
        self._lacks = True
        if is_due(Place.of(runner).epochs_before + runner.epoch):
            self.write(runner)

    def after_query(self, runner) -> None:
        """A query was answered and logged."""
        self._lacks = True
        if time.perf_counter() >= self._next:
            self.write(runner)

    def after_train(self, runner) -> None:
        self.write(runner, ended=True)

    def after_early_end(self, runner) -> None:
        if self._lacks:
            self.write(runner)

    def write(self, runner, ended: bool = False) -> None:
        """Write the report of what is logged until now.

        Args:
            runner (Runner): Whose search it is.
            ended (bool): Whether the run has ended. Defaults to False.
        """
        if not is_main_process():
            return
        place = Place.of(runner)
        folder, start = place.folder, time.perf_counter()
        try:
            # a search in phases has a config for all of them, and ends after this hook
            config = as_data(runner.cfg.to_dict()) if place.phase is None else None
            run = SearchRun(folder, method_of(folder), config, ended and place.phase is None)
            write_report([run], folder / 'report.html', Facts.of(runner).table)
            self._lacks = False
        except Exception as error:  # what only shows a search must not end it
            reason = str(error) if isinstance(error, UserError) else repr(error)
            if reason != self._told:
                runner.logger.warning(f'no report.html: {reason}')
            self._told = reason
        now = time.perf_counter()
        self._next = now + max(SECONDS, (now - start) / SHARE)
