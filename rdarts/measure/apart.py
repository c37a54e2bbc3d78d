"""A measurement in a process of its own, which may fail or take too long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from rdarts.errors import UserError
from rdarts.utils.process_group import run_group

LONGEST_LIMIT = 10**6  # seconds; more than the system can wait is no limit
LONGEST_LINE = 100  # characters of what is said of a failure


def run_apart(
    command: Sequence[str], limit: float | None = None, gpu: bool = True
) -> tuple[str, str]:
    """Run a tool.

    Args:
        command (Sequence[str]): Starts it.
        limit (float, optional): Seconds, after which it is ended with all that it has started.
            Defaults to none.
        gpu (bool): Whether it may see GPUs. Defaults to True.

    Returns:
        tuple[str, str]: What it printed; and why it did not come to its end, one line, which is
        empty where it did.
    """
    env = None if gpu else dict(os.environ, CUDA_VISIBLE_DEVICES='')
    try:
        done = run_group(command, env, limit)
    except subprocess.TimeoutExpired as error:
        return error.output, f'did not finish within {limit:g} s'
    if done.returncode < 0:
        return done.stdout, f'killed by signal {-done.returncode}'
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
        return done.stdout, lines[-1].removeprefix('error: ')
    return done.stdout, ''


def check_limit(option: str, limit: float) -> None:
    """Check the seconds that a measurement may take.

    Args:
        option (str): That gave them.
        limit (float): The seconds.

    Raises:
        UserError: They are not above 0, or more than 10^6.
    """
    if not limit > 0:
        raise UserError(f'{option} must be above 0 seconds, but is {limit:g}')
    if limit > LONGEST_LIMIT:
        raise UserError(f'{option} must be {LONGEST_LIMIT:,} seconds at most, but is {limit:g}')


def in_short(text: str) -> str:
    """The first line of what has gone wrong, for a cell of a table."""
    line = text.strip().partition('\n')[0].replace('|', '/')
    return line if len(line) <= LONGEST_LINE else f'{line[: LONGEST_LINE - 3]}...'
