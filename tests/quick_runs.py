"""What costs a small run more time than all that it computes, and tells a test nothing."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIGS = f'{Path(__file__).resolve().parent.parent / "configs"}{os.sep}'


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


def read_configs_once() -> None:
    """The clone's own configs, on which those of tests lie, stay as they are while tests run: each,
    written or composed, is read once while it is among the last.
    """
    from mmengine.config import Config

    from rdarts.configuration import composition

    read, compose = Config._file2dict, composition._read

    @functools.lru_cache(maxsize=256)
    def written(path: str, changed: int, args: tuple, keys: tuple) -> tuple[dict, str, dict]:
        return read(path, *args, **dict(keys))

    def file2dict(filename: str, *args: Any, **keys: Any) -> tuple[dict, str, dict]:
        path = os.path.abspath(os.path.expanduser(filename))
        if not path.startswith(CONFIGS) or not os.path.isfile(path):
            return read(filename, *args, **keys)
        found = written(path, os.stat(path).st_mtime_ns, args, tuple(sorted(keys.items())))
        return copy.deepcopy(found)

    known: dict[Any, tuple[dict, str, dict]] = {}

    def composed(found: Any, read: Any, args: tuple, keys: dict) -> tuple[dict, str, dict]:
        if not all(str(path).startswith(CONFIGS) for path in found[:2]):
            return compose(found, read, args, keys)
        key = (found, args, *sorted(keys.items()))
        if key not in known:
            if len(known) == 256:
                del known[next(iter(known))]
            known[key] = compose(found, read, args, keys)
        return copy.deepcopy(known[key])

    Config._file2dict = staticmethod(file2dict)
    composition._read = composed


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
