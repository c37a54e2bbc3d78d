"""Runs of tools that measure and print one JSON object as their last line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.study.executors.base import LOG
from rdarts.study.run import Run
from rdarts.utils.commands import TOOLS


def tool_run(
    name: str, folder: Path, tool: str, options: Sequence[str], settings: Mapping[str, Any]
) -> Run:
    """A run of a tool, whose result is in its log.

    Args:
        name (str): What it is called where it is reported.
        folder (Path): Its work directory.
        tool (str): Its path in ``tools/``.
        options (Sequence[str]): Of the tool, beside ``--json``.
        settings (Mapping[str, Any]): What its result depends on, beside the options.
    """
    command = [sys.executable, str(TOOLS / tool), *options, '--json']
    settings = dict(settings, tool=tool, options=list(options))
    return Run(name, folder, command, settings, read=read_result)


def read_result(run: Run, start: int = 0) -> dict[str, Any]:
    """What a run that has ended printed last.

    Args:
        run (Run): The run.
        start (int): Where in its log its last start begins, in bytes. Defaults to 0.

    Raises:
        UserError: There is none.
    """
    path = run.folder / LOG
    try:
        text = path.read_bytes()[start:].decode(errors='replace')
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from None
    lines = text.splitlines()
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    raise UserError(f'{path}: no result, which is one JSON object in a line')
