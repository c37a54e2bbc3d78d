"""Launches of several processes, their ranks over gloo, and what these answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch
from forks import fork_server


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


def rank_env(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What a launcher tells a rank."""
    return dict(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )


def group(world_size: int) -> list[dict[str, str]]:
    """The environments of all ranks of a launch."""
    port = free_port()
    return [rank_env(rank, world_size, port) for rank in range(world_size)]


def launch(
    target: Callable[..., None], envs: Sequence[dict[str, str]], *args: Any, timeout: float
) -> list[Any]:
    """What processes put into their queue, one answer each, in the order in which they come.

    Args:
        target: Importable; called with the queue, a process's environment, and ``args``.
        envs: One for each process.
        timeout: Seconds until each answer.
    """
    context = fork_server()
    queue = context.Queue()
    processes = [context.Process(target=target, args=(queue, env, *args)) for env in envs]
    for process in processes:
        process.start()
    found = [queue.get(timeout=timeout) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return found


def on_ranks(
    function: Callable[..., Any], *args: Any, world_size: int = 2, timeout: float = 60
) -> dict[int, Any]:
    """What an importable function gives in each process of a group over gloo, by rank."""
    return dict(launch(_join, group(world_size), function, args, timeout=timeout))


def _join(
    queue: Any, env: dict[str, str], function: Callable[..., Any], args: Sequence[Any]
) -> None:
    os.environ.update(env)
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo')
    queue.put((int(env['RANK']), function(*args)))
    torch.distributed.destroy_process_group()
