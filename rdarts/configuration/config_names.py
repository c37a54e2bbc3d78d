"""Configs by their names alone, as in ``rdarts search rdarts_nb201_c10``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rdarts.configuration.composition import composed_configs, is_config
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.nearest_config import nearest_config
from rdarts.errors import UserError

FOLDERS = ('search', 'retrain', 'detection', 'studies')
"""Of ``configs``: whose configs can be named."""


def find_config(config: str | os.PathLike[str]) -> str:
    """The path of a config, which need not be written.

    Args:
        config (str | PathLike): See :func:`config_path`.

    Raises:
        UserError: There is none.
    """
    path = config_path(config)
    if not is_config(path):
        raise UserError(f'config not found: {path}: {nearest_config(path)}')
    return path


def config_path(config: str | os.PathLike[str]) -> str:
    """The path of a config that is given by its name.

    Args:
        config (str | PathLike): A path; or a name without ``.py``, of a folder of ``configs`` here
            or of those that came with rdarts.

    Returns:
        str: What was given, where it is a path, or no config has the name.
    """
    text = os.fspath(config)
    if os.path.dirname(text) or text.endswith('.py') or is_config(text):
        return text
    paths = (str(folder / f'{text}.py') for folder in named_folders())
    return next(filter(is_config, paths), text)


def named_folders(names: tuple[str, ...] = FOLDERS) -> Iterator[Path]:
    """The folders whose configs can be named: those in ``configs`` here first.

    Args:
        names (tuple[str, ...]): Some of :data:`FOLDERS`. Defaults to all.
    """
    roots = [Path('configs'), configs_folder()]
    if roots[0].is_dir() and roots[0].resolve() == roots[1].resolve():
        del roots[1]
    for root in roots:
        for name in names:
            if (root / name).is_dir():
                yield root / name


def config_names(folder: Path, most_variants: int = 0) -> list[str]:
    """The names of a folder's configs, written or not, sorted.

    Args:
        folder (Path): Such as ``configs/search``.
        most_variants (int): Of a config that is not written. Defaults to none.
    """
    composed = (path.stem for path in composed_configs(folder, most_variants))
    written = (path.stem for path in folder.glob('*.py') if not path.name.startswith('_'))
    return sorted({*composed, *written})
