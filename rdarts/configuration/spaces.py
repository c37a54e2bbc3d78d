"""What the registered search spaces say of themselves, for what knows no space."""

from __future__ import annotations

import contextlib
from typing import Any

from rdarts.errors import UserError
from rdarts.genotypes.form import find_space
from rdarts.registry import SEARCH_SPACES


def declared(field: str, *more: Any) -> set[str]:
    """What search spaces name in a field of theirs.

    Args:
        field (str): ``'supernet'``, ``'network'`` or ``'config_name'``.
        *more (str | dict | SearchSpace): Spaces beside the registered ones; what is none is left
            out.
    """
    SEARCH_SPACES.import_from_location()
    names = set()
    for space in (*SEARCH_SPACES.module_dict, *more):
        with contextlib.suppress(UserError):  # one that needs arguments
            names.add(getattr(find_space(space), field))
    return names - {None, ''}


def is_declared(field: str, backbone: Any) -> bool:
    """Whether a backbone of a config is what a space, or its own, names in a field.

    Args:
        field (str): ``'supernet'`` or ``'network'``.
        backbone: What the config holds.
    """
    if not isinstance(backbone, dict):
        return False
    return backbone.get('type') in declared(field, backbone.get('space'))
