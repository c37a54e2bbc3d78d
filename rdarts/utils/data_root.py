"""Where a data set lies."""

from __future__ import annotations

import os
from pathlib import Path

from rdarts.errors import UserError

ENVIRONMENT_VARIABLE = 'RDARTS_DATA'


def resolve_data_root(data_root: str | os.PathLike[str] | None, default: str) -> Path:
    """The folder of a data set.

    Args:
        data_root (str | PathLike | None): The folder as a config gives it; ``~`` is expanded.
            None looks in ``$RDARTS_DATA/<default>``, then in ``data/<default>`` under the
            working directory.
        default (str): The folder's usual name, such as ``cifar10``.

    Returns:
        Path: An existing folder.

    Raises:
        UserError: There is none; the line says where it was looked for and what to set.
    """
    if data_root is not None:
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise UserError(
                f"data folder '{root}' does not exist (from data_root; leave it out to look in "
                f'${ENVIRONMENT_VARIABLE}/{default} and data/{default})'
            )
        return root
    places = []
    base = os.environ.get(ENVIRONMENT_VARIABLE)
    if base:
        places.append(Path(base).expanduser() / default)
    places.append(Path.cwd() / 'data' / default)
    for place in places:
        if place.is_dir():
            return place
    looked = ' and '.join(str(place) for place in places)
    raise UserError(
        f"no data folder for '{default}': looked in {looked}; put the data there, set "
        f'{ENVIRONMENT_VARIABLE} to the folder that holds {default}/, or set data_root in the '
        'config'
    )
