"""Where the configs of the package are."""

from __future__ import annotations

from pathlib import Path

from rdarts.errors import UserError


def configs_folder() -> Path:
    """The folder of the package's configs: in an installation, or in a clone.

    Raises:
        UserError: It is in neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / '.mim' / 'configs', package.parent / 'configs'):
        if (folder / 'search').is_dir():
            return folder
    raise UserError('the configs of rdarts are missing: install it with pip')
