"""Networks as plain modules: the one that a genotype derives, and the supernet of a space."""

from __future__ import annotations

import fnmatch
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError

if TYPE_CHECKING:
    from rdarts.genotypes import Genotype
    from rdarts.models.classifier import Classifier
    from rdarts.models.features import FeatureNet
    from rdarts.search_spaces import SearchSpace

    Space = str | Mapping[str, Any] | SearchSpace


def list_genotypes(pattern: str = '*') -> list[str]:
    """Names of the published genotypes, as :func:`build_net` takes them, in their order.

    Args:
        pattern (str): With ``*`` and ``?``, upper or lower case. Defaults to ``'*'``.
    """
    from rdarts.genotypes.published import published_names

    return [name for name in published_names() if fnmatch.fnmatch(name.lower(), pattern.lower())]


def build_net(
    genotype: str | os.PathLike | Mapping[str, Any] | Genotype,
    num_classes: int = 10,
    *,
    space: Space | None = None,
    stem: str = 'cifar',
    auxiliary: bool = False,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> Classifier | FeatureNet:
    """The network that a genotype derives, which its space declares.

    ``net.load_state_dict(checkpoint['state_dict'])`` takes the weights of our retraining.

    Args:
        genotype (str | PathLike | dict | Genotype): The name of a published one
            (``'DARTS_V2'``), a JSON file, the work directory of a search, JSON data, an official
            string, or a genotype.
        num_classes (int): Number of classes. Defaults to 10.
        space (str | dict | SearchSpace, optional): Its space. Defaults to the one that it names.
        stem (str): ``'cifar'`` or ``'imagenet'``, where the space's networks have stems. Defaults
            to ``'cifar'``.
        auxiliary (bool): Whether training gives the scores of an auxiliary head too (DARTS's
            networks). Defaults to False.
        features_only (bool): Whether the network is without a head and gives a list of features,
            as timm's; ``net.feature_info.channels()`` and ``.reduction()`` say which. Defaults to
            False.
        out_indices (int | Sequence[int], optional): The features that it gives, in rising order;
            negative ones count from the end, one number is the last so many. Defaults to all.
            Without ``features_only``, the outputs of the backbone, of which the last is
            classified.
        **kwargs: Of :class:`DARTSNet` (``channels``, ``num_cells``, ``drop_path``, ...),
            :class:`NASBench201Net` (``channels``, ``cells_per_stage``, ...),
            :class:`MobileNetLikeNet` (``stem_channels``, ``last_channels``, ...), or the network
            of the space.

    Raises:
        UserError: The genotype cannot be read, or an argument does not fit.
    """
    from rdarts.genotypes import load_genotype
    from rdarts.models.backbones.base_supernet import check_sizes
    from rdarts.models.classifier import Classifier
    from rdarts.models.declared import build_derived, declared_class
    from rdarts.models.heads import AuxiliaryHead
    from rdarts.search_spaces import build_space

    check_sizes(num_classes=num_classes)
    genotype = load_genotype(genotype, space)
    kwargs.update(genotype=genotype, space=space, stem=stem)
    if features_only:
        if auxiliary:
            raise UserError('auxiliary heads classify: features_only has none')
        return _build_features(out_indices, kwargs)
    if out_indices is not None:
        kwargs.update(out_indices=out_indices)
    if not auxiliary:
        return Classifier(build_derived(**kwargs), num_classes)
    kind = declared_class(build_space(genotype.space if space is None else space), 'network')
    if 'auxiliary' not in inspect.signature(kind).parameters:
        raise UserError(
            "auxiliary heads are for networks of the DARTS space, or others that take 'auxiliary', "
            f'but not for {kind.__name__}'
        )
    net = build_derived(auxiliary=True, **kwargs)
    return Classifier(net, num_classes, AuxiliaryHead(net.auxiliary_channels, num_classes, stem))


def _build_features(indices: int | Sequence[int] | None, kwargs: Mapping[str, Any]) -> FeatureNet:
    import torch

    from rdarts.models.backbones.derived_net import DerivedNet
    from rdarts.models.declared import build_derived
    from rdarts.models.features import FeatureNet, take_outputs

    with torch.device('meta'):  # says how many outputs there are
        planned = build_derived(**kwargs)
    if not isinstance(planned, DerivedNet):
        raise UserError(f'features_only: {type(planned).__name__} does not say its outputs')
    indices = take_outputs(len(planned.strides), indices)
    return FeatureNet(build_derived(**kwargs, out_indices=indices))


def build_supernet(space: Space, num_classes: int = 10, **kwargs: Any) -> Classifier:
    """The supernet of a space; ``net.backbone.arch_parameters`` is alpha.

    Args:
        space (str | dict | SearchSpace): ``'nas_bench_201'``, ``'darts'``, ``'s1'`` to ``'s4'``,
            ``'mobilenet_like'``, a space of your own, or a table.
        num_classes (int): Number of classes. Defaults to 10.
        **kwargs: Of :class:`DARTSSupernet`, :class:`NASBench201Supernet`,
            :class:`MobileNetLikeSupernet`, or the supernet of the space.

    Raises:
        UserError: The space is not known or has no supernet, or an argument does not fit.
    """
    from rdarts.models.backbones.base_supernet import check_sizes
    from rdarts.models.classifier import Classifier
    from rdarts.models.declared import build_declared
    from rdarts.search_spaces import build_space

    check_sizes(num_classes=num_classes)
    space = build_space(space)
    return Classifier(build_declared(space, 'supernet', space=space, **kwargs), num_classes)
