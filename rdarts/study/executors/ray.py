"""A Ray cluster: a job is an actor of its own, which outlives the command that started it."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rdarts.errors import UserError
from rdarts.study.executors.base import (
    Executor,
    Exits,
    Job,
    Outcome,
    Refused,
    Resources,
    install_hint,
    passed_on,
)
from rdarts.study.executors.worker import Work
from rdarts.utils.last_line import last_line

NAMESPACE = 'rdarts'


class RayExecutor(Executor):
    """Runs jobs in a Ray cluster.

    Args:
        resources (Resources): What a job is given.
        address (str): Of the cluster. Defaults to ``'auto'``: that which this machine is in.
        places (int, optional): How many jobs are there at a time. Defaults to all.
        patience (float): See :class:`Exits`. Defaults to 60.

    Raises:
        UserError: Ray is missing, or the cluster is not reached.
    """

    name = 'ray'

    def __init__(
        self,
        resources: Resources,
        address: str = 'auto',
        places: int | None = None,
        patience: float = 60.0,
    ) -> None:
        super().__init__(places)
        self._resources = resources
        try:
            import ray
        except ImportError:
            raise install_hint('ray', 'ray') from None
        self._ray, self._exits = ray, Exits(patience)
        self._started: dict[str, Any] = {}
        try:
            _connect(os.environ.get('RAY_ADDRESS', address) if address == 'auto' else address)
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        except Exception as error:  # as many types as there are reasons
            raise UserError(
                f'--ray-address {address}: no Ray cluster is reached: {_line(error)}'
            ) from None
        options: dict[str, Any] = dict(num_cpus=resources.cpus, num_gpus=resources.gpus)
        if resources.memory is not None:
            options['memory'] = resources.memory
        self._actor = ray.remote(**options)(_Actor)
        needed = dict(CPU=resources.cpus, GPU=resources.gpus, memory=resources.memory or 0)
        machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
        if not any(all(one.get(k, 0) >= v for k, v in needed.items()) for one in machines):
            print('warning: no machine of the Ray cluster has what a run is to be given: runs wait')

    def submit(self, job: Job) -> str:
        """See base class."""
        try:
            # the constructor gets the work: a call that waits for its actor is lost with its caller
            actor = self._actor.options(
                name=job.token, lifetime='detached', max_restarts=0, max_task_retries=0
            ).remote(Work(job))
            self._started[job.token] = actor
        except Exception as error:
            # of its arguments; any other may come after the cluster has taken the job
            kind = Refused if isinstance(error, (TypeError, ValueError)) else UserError
            raise kind(f'Ray refuses the job: {_line(error)}') from None
        return actor._actor_id.hex()

    def leave(self) -> None:
        """See base class: they go on."""

    def environment(self) -> dict[str, str]:
        """See base class."""
        return passed_on(self._resources)

    def poll(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """See base class."""
        try:
            names = set(self._ray.util.list_named_actors())
        except Exception as error:
            raise UserError(f'the Ray cluster is not reached any more: {_line(error)}') from None
        found = {}
        for job in jobs:
            gone = None if job.token in names else f'Ray has lost the job {job.token}'
            outcome = self._exits.outcome(job, gone)
            if outcome is not None and outcome.code is None:
                outcome = replace(outcome, error=outcome.error + self._why(job))
            if outcome is not None:
                found[job.token] = outcome
        return found

    def _why(self, job: Job) -> str:
        """What Ray says of a job that it has lost and that was started by this command."""
        try:
            self._ray.get(self._started.pop(job.token).__ray_ready__.remote(), timeout=5)
        except KeyError:
            return ''
        except Exception as error:
            said = last_line(error).partition(' Some common causes')[0]
            return f': {said}' if said else ''
        return ''

    def cancel(self, jobs: Sequence[Job]) -> None:
        """See base class: their commands end at once, and have the checkpoints that they have."""
        for job in jobs:
            try:
                self._ray.kill(self._ray.get_actor(job.token))
            except ValueError:  # it has just ended
                continue


class _Actor:
    """A job's process on a machine of the cluster.

    The command runs beside the constructor: Ray starts an actor again that is not yet constructed
    when the cluster's head is lost.

    Args:
        work (Work): What it does, to then give back what it was given.
    """

    def __init__(self, work: Work) -> None:
        import ray

        this = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, args=(work, this), daemon=True).start()

    def _run(self, work: Work, this: Any) -> None:
        try:
            work()
        finally:  # an actor that stayed would count as running
            try:
                this.end.remote()
            except BaseException:
                os._exit(1)

    def end(self) -> None:
        """End the process: Ray allows that in a call alone."""
        import ray

        ray.actor.exit_actor()


def _connect(address: str) -> None:
    """See whether something listens at an address: Ray itself takes minutes, and says much.

    Raises:
        OSError: Nothing does.
    """
    match = re.fullmatch(r'(?:ray://)?\[?([^/]+?)\]?:(\d+)', address)
    if match:
        socket.create_connection((match[1], int(match[2])), timeout=20).close()


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
