"""Runs through an executor: what has ended is not repeated, what was killed goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from rdarts.errors import Interrupted, UserError
from rdarts.study.executors.base import Executor, Unreached
from rdarts.study.run import Run
from rdarts.utils.stop_signals import catch_signals, signal_name

RETRIES = 3


def run_all(
    runs: Sequence[Run],
    executor: Executor,
    retries: int = RETRIES,
    follow: Callable[[Run], Sequence[Run]] | None = None,
) -> None:
    """Run what is not done; a run that fails keeps its error, and the rest goes on.

    Jobs that an earlier command has left running are waited for. What a machine or a queue has
    ended, not the run itself, goes on from its checkpoint, wherever the executor takes it. While a
    cluster does not answer, what is to be started waits.

    Args:
        runs (Sequence[Run]): The runs.
        executor (Executor): What runs them.
        retries (int): How often a run is started again that a machine or a queue has ended.
            Defaults to 3.
        follow (Callable, optional): Gives the runs that follow one which is done. They are run with
            the others, not after them. Defaults to none.

    Raises:
        UserError: A folder holds what is not of its run.
        Interrupted: By Ctrl-C, SIGTERM or a closed terminal; the executor says what becomes of
            the running ones.
    """
    follow = follow or (lambda run: ())
    states, unasked = [], list(runs)
    while unasked:
        run = unasked.pop(0)
        executor.check(run.folder)
        states.append((run, run.state(executor)))
        if states[-1][1] == 'done':
            unasked += follow(run)
    # first those that run: they have their places
    waiting = [run for run, state in states if state == 'running']
    waiting += [run for run, state in states if state in ('resume', 'new')]
    adopted = [run.job for run, state in states if state == 'running']
    running: list[Run] = []
    lost: dict[int, int] = {}
    refused: Run | None = None  # what the executor did not take for now

    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted(
            f'stopped by {signal_name(number)}: {executor.stop_message(len(running))}', number
        )

    before = catch_signals(interrupt)
    try:
        executor.adopt(adopted)
        while waiting or running:
            while waiting and (executor.places is None or len(running) < executor.places):
                run = waiting.pop(0)
                try:
                    state = run.state(executor)
                    if state == 'done':
                        waiting += follow(run)
                        continue
                    if run is not refused:
                        print(f'{state:<7} {run.name}', flush=True)
                    running.append(run)
                    if state != 'running':
                        run.start(executor)
                    refused = None
                except Unreached as error:
                    running = [other for other in running if other is not run]
                    waiting.insert(0, run)
                    if run is not refused:
                        print(f'waits   {run.name}: {error}', flush=True)
                    refused = run
                    break
                except UserError as error:
                    running = [other for other in running if other is not run]
                    _fail(run, str(error))
            time.sleep(executor.interval)
            outcomes = executor.poll([run.job for run in running])
            for run in running:
                run.keep_number(executor)
            for run in [run for run in running if run.job.token in outcomes]:
                outcome = outcomes[run.job.token]
                running.remove(run)
                try:
                    run.end(outcome)
                except UserError as error:
                    run.error = str(error)
                if run.error and outcome.unseen:  # its next start finds out
                    print(f'over    {run.name}: {run.error}', flush=True)
                    waiting.insert(0, run)
                elif run.error and outcome.again and lost.get(id(run), 0) < retries:
                    lost[id(run)] = lost.get(id(run), 0) + 1
                    print(f'lost    {run.name}: {run.error}', flush=True)
                    waiting.insert(0, run)
                elif run.error:
                    _fail(run, run.error)
                else:
                    print(f'ended   {run.name}', flush=True)
                    waiting += follow(run)
    finally:
        try:
            executor.leave()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def cancel_all(runs: Sequence[Run], executor: Executor) -> None:
    """End the jobs that an earlier command has left running.

    Args:
        runs (Sequence[Run]): The runs.
        executor (Executor): What runs them.

    Raises:
        UserError: A folder holds what is not of its run.
    """
    found = [run for run in runs if run.state(executor) == 'running']
    executor.cancel([run.job for run in found])
    for run in found:
        print(f'cancelled {run.name}', flush=True)
    print(f'{len(found)} of {len(runs)} runs had a job', flush=True)


def _fail(run: Run, error: str) -> None:
    run.error = error
    print(f'failed  {run.name}: {error}', flush=True)
