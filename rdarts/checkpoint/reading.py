"""Reading checkpoints: as data, without running anything from them."""

from __future__ import annotations

import errno
import os
import pickle
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from rdarts.checkpoint.plain_numpy import named_stand_ins, unwrap
from rdarts.errors import RunFailed, UserError, is_defect


@contextmanager
def _only_safe(globals_: list[Any]) -> Iterator[None]:
    """Let torch's reader admit these beside its own, and nothing that others have let it admit.

    torch 2.4 has no context manager for it.
    """
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(globals_)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _history_data() -> list[Any]:
    """The history of the log, which mmengine's own checkpoint hook pickles with its methods.

    A method is pickled as ``getattr(HistoryBuffer, name)``: what stands for ``getattr`` here gives
    these four and nothing else.
    """

    def method(owner: Any, name: Any) -> Any:
        if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
            return getattr(HistoryBuffer, name)
        raise pickle.UnpicklingError('function builtins.getattr')

    method.__module__ = 'builtins'
    method.__name__ = method.__qualname__ = 'getattr'
    return [HistoryBuffer, method]


def read_checkpoint(filename: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Load a checkpoint file: the only way in.

    ``weights_only=True`` without a fallback; the entry ``meta['config']``, which mmengine would
    execute, is dropped.

    Args:
        filename (str | PathLike): The file.
        map_location (Any): As ``torch.load``'s. Defaults to ``'cpu'``.

    Raises:
        UserError: The file is missing or damaged, or holds more than data.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    admitted = [*named_stand_ins(), *_history_data()]
    damaged = f'checkpoint {path} is damaged or no checkpoint'
    try:
        with open(path, 'rb') as file, _only_safe(admitted):
            _check_sums(path, file)
            checkpoint = unwrap(torch.load(file, map_location=map_location, weights_only=True))
    except pickle.UnpicklingError as error:
        refused = re.search(r'refused: ([^\n]+)', str(error))
        match = re.search(r'(?:GLOBAL|global|class|function)s?:? `?([\w.]+\.[\w.]+)', str(error))
        if refused is not None:
            raise UserError(
                f'checkpoint {path} refused: it holds {refused[1]}; a checkpoint may hold only '
                'tensors, numbers, strings, lists and dicts'
            ) from None
        if match is None:
            raise UserError(damaged) from None
        raise UserError(
            f'checkpoint {path} refused: it would run code ({match[1]}); a checkpoint may hold '
            'only tensors, numbers, strings, lists and dicts'
        ) from None
    except OSError as error:
        # zipfile's and torch's own; torch 2.4 seeks before the beginning of a file that was cut
        if error.errno in (None, errno.EINVAL):
            raise UserError(damaged) from None
        raise UserError(f'checkpoint {path} cannot be read: {error.strerror}') from None
    except UserError:
        raise
    except Exception as error:  # damaged bytes make torch's reader fail in nearly any way
        if is_defect(error):
            raise
        if 'allocate memory' in str(error) or isinstance(error, MemoryError):
            raise RunFailed(f'checkpoint {path} cannot be read: out of memory') from None
        raise UserError(damaged) from None
    if not isinstance(checkpoint, dict):
        raise UserError(f'checkpoint {path} holds no dict, but {type(checkpoint).__name__}')
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _check_sums(path: Path, file: BinaryIO) -> None:
    """torch's reader does not compare the checksums of what it reads."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken:
            raise UserError(f'checkpoint {path} is damaged (checksum of {broken})')
    file.seek(0)


def _read_url(url: str, map_location: Any = 'cpu') -> dict[str, Any]:
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise UserError(f'checkpoint {url} cannot be downloaded: {error}') from None
    return read_checkpoint(path, map_location)


def _read_hub(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    scheme, _, name = filename.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        urls = get_torchvision_models()
    elif scheme == 'mmcls':
        urls = get_mmcls_models()
    else:
        urls = get_external_models()
        name = get_deprecated_model_names().get(name, name)
    if name not in urls:
        raise UserError(f'checkpoint {filename}: no model of that name')
    url = urls[name]
    if not url.startswith(('http://', 'https://')):
        return read_checkpoint(url, map_location)
    return _read_url(url, map_location)


def _refuse(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    raise UserError(f'checkpoint {filename}: copy it to a local file first')


SCHEMES: dict[str, Callable[..., dict[str, Any]]] = {
    **dict.fromkeys(('http://', 'https://'), _read_url),
    **dict.fromkeys(
        ('modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://'), _read_hub
    ),
}


def read_named(filename: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """:func:`read_checkpoint` of a file, a URL, or the name of a public model.

    Raises:
        UserError: It is missing, cannot be read or downloaded, or is of a storage that only
            mmengine's own loaders, which unpickle anything, can read.
    """
    filename = os.fspath(filename)
    scheme = re.match(r'[\w-]+(?::\w+)?://', filename)
    if scheme is None:
        return read_checkpoint(filename, map_location)
    return SCHEMES.get(scheme[0], _refuse)(filename, map_location)


_LOADERS = threading.RLock()
_before: list[dict[str, Any]] = []  # mmengine's own table, once for each run that goes on


@contextmanager
def safe_loaders() -> Iterator[None]:
    """Let whatever loads a checkpoint by mmengine meanwhile read it as data.

    mmengine's loaders fall back to unsafe unpickling; ``load_from``, ``resume`` and every
    ``init_cfg`` come through its one table, which is as before afterwards.
    """
    with _LOADERS:
        before = _before[0] if _before else CheckpointLoader._schemes
        _before.append(before)
        CheckpointLoader._schemes = OrderedDict(
            (prefix, read_named if prefix in ('', *SCHEMES) else _refuse) for prefix in before
        )
    try:
        yield
    finally:
        with _LOADERS:
            _before.pop()
            if not _before:
                CheckpointLoader._schemes = before
