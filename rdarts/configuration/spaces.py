"""What the registered search spaces say of themselves, for what knows no space."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.genotypes.form import find_space
from rdarts.registry import SEARCH_SPACES

if TYPE_CHECKING:
    from rdarts.genotypes import Genotype
    from rdarts.search_spaces import SearchSpace


def declared(field: str, *more: Any) -> set[str]:
    """What search spaces name in a field of theirs.

    Args:
        field (str): ``'supernet'``, ``'network'`` or ``'config_name'``.
        *more (str | dict | SearchSpace): Spaces beside the registered ones; what is none is left
            out.
    """
    return {getattr(space, field) for space in _spaces(*more)} - {None, ''}


def _spaces(*more: Any) -> Iterator[SearchSpace]:
    SEARCH_SPACES.import_from_location()
    for space in (*SEARCH_SPACES.module_dict, *more):
        with contextlib.suppress(UserError):  # one that needs arguments
            yield find_space(space)


def is_declared(field: str, backbone: Any) -> bool:
    """Whether a backbone of a config is what a space, or its own, names in a field.

    Args:
        field (str): ``'supernet'`` or ``'network'``.
        backbone: What the config holds.
    """
    if not isinstance(backbone, dict):
        return False
    return backbone.get('type') in declared(field, backbone.get('space'))


def check_network(network: str, genotype: Genotype, folder: str) -> None:
    """A network that spaces declare takes genotypes of their forms.

    Args:
        network (str): The type of a config's backbone.
        genotype (Genotype): What it is to be made of.
        folder (str): ``'retrain'`` or ``'detection'``: which configs of the genotype's space the
            error names.

    Raises:
        UserError: The genotype is of a registered space of another form.
    """
    forms = {space.genotype for space in _spaces() if space.network == network}
    try:
        space = find_space(genotype.space)
    except UserError:  # one of one's own, which the network knows
        return
    if not forms or space.genotype in forms:
        return
    configs = sorted(set(space.retraining.values() if folder == 'retrain' else space.detection))
    known = f'use one of configs/{folder}: {", ".join(configs)}' if configs else 'it has no configs'
    raise UserError(
        f"--genotype: it is of the space '{space.name}', of which {network} makes none: {known}"
    )
