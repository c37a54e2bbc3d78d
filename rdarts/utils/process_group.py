"""Commands whose processes end together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rdarts.utils.stop_signals import STOP_SIGNALS

LEFT = 5.0  # seconds for what a process outside the group still holds open


def run_group(
    command: Sequence[str], env: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with what it starts in a group of its own, which ends with this process.

    Args:
        command (Sequence[str]): The program and its arguments.
        env (Mapping, optional): Its environment. Defaults to this process's.
        timeout (float, optional): Seconds, after which the group is ended. Defaults to none.

    Returns:
        subprocess.CompletedProcess: The exit code, and what was printed, as text.

    Raises:
        subprocess.TimeoutExpired: The time was over; with what had been printed, as text.
    """
    with (
        _signals_that_raise() as raise_from_now,
        subprocess.Popen(
            command,
            text=True,
            errors='replace',
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        ) as process,
    ):
        try:
            raise_from_now()
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end_group(process)
            out, err = _printed(process)
            raise subprocess.TimeoutExpired(command, timeout, out, err) from None
        except BaseException:
            end_group(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end_group(process: subprocess.Popen) -> None:
    """End a process and all of its group: none may write into a folder that is then removed."""
    with contextlib.suppress(ProcessLookupError):  # until there is none
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for _ in range(250):
            os.killpg(process.pid, 0)
            time.sleep(0.02)


def _printed(process: subprocess.Popen) -> tuple[str, str]:
    """What an ended process has printed."""
    try:
        return process.communicate(timeout=LEFT)
    except subprocess.TimeoutExpired as error:
        for stream in (process.stdout, process.stderr):
            stream.close()
        # it gives bytes, also where text is asked for
        out, err = (
            one.decode(errors='replace') if isinstance(one, bytes) else one or ''
            for one in (error.stdout, error.stderr)
        )
        return out, err


@contextlib.contextmanager
def _signals_that_raise() -> Iterator[Callable[[], None]]:
    """Within, a signal that would end this process at once lets it end the group before.

    Yields:
        Callable: To be called once there is a group to end: until then a signal is kept, as a
        constructor of a process that is left by an error leaves the process running.
    """
    kept: list[int] = []
    is_started = False

    def stop(number: int, frame: Any) -> None:
        kept.append(number)
        if is_started:
            raise SystemExit(128 + number)

    def raise_from_now() -> None:
        nonlocal is_started
        is_started = True
        if kept:
            raise SystemExit(128 + kept[0])

    here = threading.current_thread() is threading.main_thread()
    found = [one for one in STOP_SIGNALS if here and signal.getsignal(one) is signal.SIG_DFL]
    for one in found:
        signal.signal(one, stop)
    try:
        yield raise_from_now
    finally:
        for one in found:
            signal.signal(one, signal.SIG_DFL)
