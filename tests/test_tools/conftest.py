"""Tools that run in this process."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from typing import Any

import pytest
from helpers import TOOLS

from rdarts.cli import run_guarded


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, list[str], str]]:
    """Run a tool in a folder of its own, without data; gives its exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RDARTS_DATA', raising=False)

    def run(name: str, *args: Any) -> tuple[int, list[str], str]:
        main = runpy.run_path(str(TOOLS / f'{name}.py'))['main']
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        code = run_guarded(main)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run
