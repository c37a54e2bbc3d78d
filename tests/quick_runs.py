"""What costs a small run more time than all that it computes, and tells a test nothing."""

from __future__ import annotations

import functools
import os


def write_configs_as_they_come() -> None:
    """Configs, of which each checkpoint holds one, are not laid out by yapf."""
    import yapf.yapflib.yapf_api

    yapf.yapflib.yapf_api.FormatCode = lambda text, **options: (text, True)


def sync_nothing() -> None:
    """No power fails here: what was written outlives a killed process."""
    os.fsync = lambda number: None


def read_once() -> None:
    """What a run reads of its machine, and the digits, are read once in this process."""
    import mmengine.runner.runner
    import sklearn.datasets

    mmengine.runner.runner.collect_env = functools.cache(mmengine.runner.runner.collect_env)
    sklearn.datasets.load_digits = functools.cache(sklearn.datasets.load_digits)
