"""Which config a mistyped path may have meant."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rdarts.configuration.composition import choices, composed_configs, missing_pair
from rdarts.configuration.folder import configs_folder
from rdarts.errors import closest, likeness

# of the first bytes of a Python file that is a config
_ENTRY = re.compile(
    rb'^(_base_|model|study|train_cfg|train_dataloader|default_scope)\s*=', re.MULTILINE
)


def nearest_config(path: str | os.PathLike) -> str:
    """A hint for a config that was not found.

    Configs of the folder that was named come first, then those of ``configs`` here, or, without
    such a folder, those that came with rdarts.

    Args:
        path (str | PathLike): What was given.

    Returns:
        str: ``there is no nb201 on imagenet, but on c10``, ``did you mean
            'configs/search/x.py'?``, what names are made of, or where configs are.
    """
    path = Path(path)
    pair = missing_pair(path)
    if pair is not None:
        return pair
    named = [file for file in _files(path.parent, '*.py') if _is_config(file)]
    named += composed_configs(path.parent)
    root = Path('configs') if Path('configs').is_dir() else configs_folder()
    others = [file for file in _files(root, '*/*.py') if file.parent.name != '_base_']
    others += composed_configs(root / 'search')
    for files in (named, others):
        close = closest(path.stem, {file.stem for file in files})
        found = [file for file in files if file.stem == close]
        if found:
            # of two folders that hold the name, the one more like the folder that was named
            best = max(found, key=lambda f: likeness(str(f.parent), str(path.parent)))
            return f"did you mean '{best}'?"
    names = choices(path.parent)
    if names:
        return names
    folders = sorted({str(file.parent) for file in (others or named)})
    return f'configs are in {", ".join(folders)}' if folders else 'no configs are near'


def _files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _is_config(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            return _ENTRY.search(file.read(65536)) is not None
    except OSError:
        return False
