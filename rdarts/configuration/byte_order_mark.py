"""Config files that an editor began with a byte order mark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import config as mmengine_config


def _open(file: Any, mode: str = 'r', *args: Any, **kwargs: Any) -> Any:
    if mode == 'r' and kwargs.get('encoding') == 'utf-8':
        kwargs['encoding'] = 'utf-8-sig'
    return open(file, mode, *args, **kwargs)


@contextmanager
def byte_order_marks_skipped() -> Iterator[None]:
    """Within, mmengine reads a config and its bases past a byte order mark.

    Python itself reads such files; mmengine parses their text and takes the mark for a name.
    """
    before = vars(mmengine_config).get('open')
    mmengine_config.open = _open
    try:
        yield
    finally:
        if before is None:
            del mmengine_config.open
        else:
            mmengine_config.open = before
