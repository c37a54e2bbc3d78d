"""``custom_imports``: the modules of one's own that a config names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from rdarts.configuration.byte_order_mark import byte_order_marks_skipped
from rdarts.configuration.composition import composed
from rdarts.errors import UserError
from rdarts.utils.imports import folders_of, hidden_folder, import_by_name, importable
from rdarts.utils.logging import quiet_log


def read_with_imports(path: str) -> Config:
    """Read a config file, and import the modules that it names.

    They are looked for in what is installed, beside the config, in the working directory, beside
    the config's bases, and in the folders of its key ``import_from``. The folders where they were
    found become ``import_from``, so that a run's own copy of its config finds them again.

    Args:
        path (str): The file; one that is not written is composed, where it can be: see
            :mod:`rdarts.configuration.composition`.

    Raises:
        UserError: A module is missing or fails, another of its name was imported before, or
            ``custom_imports`` cannot be read.
        Exception: Whatever the config itself raises.
    """
    MMLogger.get_current_instance().addFilter(quiet_log)
    folders = [os.path.dirname(os.path.realpath(path)), os.getcwd()]
    # a config may itself import, too
    # what is composed is no file, of which mmengine could ask how it is written
    lazy = None if os.path.isfile(path) else False
    with importable(folders), byte_order_marks_skipped(), composed():
        cfg = Config.fromfile(path, import_custom_modules=False, lazy_import=lazy)
    given = cfg.get('custom_imports')
    if not given:
        return cfg
    folders += [*_folders_of_bases(cfg), *_import_from(cfg, path)]
    found: set[str] = set()
    with importable(folders):
        for name, may_fail in _entries(given, path):
            try:
                module = import_by_name(name, f'config {path}: custom_imports')
            except UserError as error:
                if not may_fail:
                    raise
                warnings.warn(f'{error}; it may fail, says the config', stacklevel=2)
                continue
            hidden = hidden_folder(module, folders)
            if hidden is not None:
                raise UserError(
                    f'config {path}: custom_imports: this process has imported another '
                    f"'{name}', of {module.__file__}, and not that of {hidden}: rename one"
                )
            found.update(folders_of(module))
    used = found & set(map(os.path.realpath, folders)) - {os.path.realpath(os.getcwd())}
    if used:
        cfg.import_from = sorted(used)
    return cfg


def _entries(given: Any, path: str) -> Iterator[tuple[str, bool]]:
    """Names of modules, and whether each may fail."""
    fits = isinstance(given, dict) and set(given) <= {'imports', 'allow_failed_imports'}
    names = given.get('imports') if fits else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"config {path}: custom_imports must be like dict(imports=['my_module']), but is "
            f'{given!r}'
        )
    for name in names:
        if name:
            yield name, bool(given.get('allow_failed_imports', False))


def _folders_of_bases(cfg: Config) -> list[str]:
    """The folders of the files that a config was read from; each heads its text there."""
    lines = dict.fromkeys(line for line in cfg.text.splitlines() if os.path.isabs(line))
    return list(dict.fromkeys(str(Path(line).parent) for line in lines if os.path.isfile(line)))


def _import_from(cfg: Config, path: str) -> list[str]:
    given = cfg.get('import_from') or []
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, (list, tuple)) or not all(isinstance(item, str) for item in given):
        raise UserError(f'config {path}: import_from must be a list of folders, but is {given!r}')
    return [os.path.expanduser(item) for item in given]
