"""What costs a small run more time than all that it computes, and tells a test nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any


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


def measure_small_rates() -> None:
    """Of the machine's rates, which a benchmark measures first, no test asks how high they are."""
    from rdarts.measure import counts

    counts.MATRIX_SIZES, counts.COPY_NUMBERS = (64,), 2**20


def build_once() -> None:
    """A network that only tells its widths to a config is built once, while it is among the last.

    In a test, config after config is loaded that has the network of the one before.
    """
    from mmengine.registry import MODELS

    from rdarts.configuration import widths
    from rdarts.configuration.filling import class_of

    build, last = widths.without_memory, {}

    def built(cfg: Any, backbone: Mapping[str, Any]) -> Any:
        key = (class_of(cfg, backbone, MODELS), cfg.get('default_scope'), repr(backbone))
        if key not in last:
            if len(last) == 16:
                del last[next(iter(last))]
            last[key] = build(cfg, backbone)
        return last[key]

    widths.without_memory = built
