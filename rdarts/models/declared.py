"""The networks that a space declares: its supernet, and the one that a genotype derives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from rdarts.errors import UserError
from rdarts.genotypes import GenotypeSpec, load_genotype
from rdarts.registry import MODELS, lookup
from rdarts.search_spaces import SearchSpace, SpaceSpec, build_space
from rdarts.utils.signatures import misfit

if TYPE_CHECKING:
    from rdarts.models.backbones.derived_net import DerivedNet


def declared_class(space: SearchSpace, what: str) -> type[nn.Module]:
    """The class that a space declares.

    Args:
        space (SearchSpace): The space.
        what (str): ``'supernet'`` or ``'network'``.

    Raises:
        UserError: It declares none, or one that is not known.
    """
    name = getattr(space, what)
    if name is None:
        raise UserError(f"the space '{space.name}' declares no {what}")
    # ours are registered by now, without those that need mmpretrain
    found = MODELS.module_dict.get(name.removeprefix('rdarts.'))
    return lookup(name, MODELS) if found is None else found


def build_declared(space: SearchSpace, what: str, /, **kwargs: Any) -> nn.Module:
    """The supernet or network that a space declares, built.

    Args:
        space (SearchSpace): The space.
        what (str): ``'supernet'`` or ``'network'``.
        **kwargs: Its arguments.

    Raises:
        UserError: See :func:`declared_class`; or an argument does not fit.
    """
    kind = declared_class(space, what)
    reason = misfit(kind, kwargs)
    if reason is not None:
        raise UserError(f'{kind.__name__} {reason}')
    try:
        return kind(**kwargs)
    except TypeError as error:
        raise UserError(f'{error}') from None


def build_derived(
    genotype: GenotypeSpec, space: SpaceSpec | None, stem: str, **kwargs: Any
) -> DerivedNet:
    """The network that a genotype derives, without a head.

    Args:
        genotype (str | PathLike | dict | Genotype): See :func:`rdarts.genotypes.load_genotype`.
        space (str | dict | SearchSpace, optional): Its space. Defaults to the one that it names.
        stem (str): ``'cifar'`` or ``'imagenet'``, where the space's networks have stems.
        **kwargs: Of the network.

    Raises:
        UserError: The genotype cannot be read, or an argument does not fit.
    """
    genotype = load_genotype(genotype, space)
    kwargs.update(genotype=genotype, space=genotype.space if space is None else space)
    space = build_space(kwargs['space'])
    if space.stems:
        kwargs.update(stem=stem)
    return build_declared(space, 'network', **kwargs)
