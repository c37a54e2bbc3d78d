"""For people who use no OpenMMLab runner: networks as plain modules, and a search by one call.

Importing this module is quick: what a function needs of OpenMMLab is imported at its first call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.utils.signatures import misfit

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from rdarts.genotypes import Genotype
    from rdarts.models.classifier import Classifier
    from rdarts.search_spaces import SearchSpace

    Space = str | Mapping[str, Any] | SearchSpace


def build_net(
    genotype: str | os.PathLike | Mapping[str, Any] | Genotype,
    num_classes: int = 10,
    *,
    space: Space | None = None,
    stem: str = 'cifar',
    auxiliary: bool = False,
    **kwargs: Any,
) -> Classifier:
    """The network that a genotype derives.

    ``net.load_state_dict(checkpoint['state_dict'])`` takes the weights of our retraining.

    Args:
        genotype (str | PathLike | dict | Genotype): The name of a published one
            (``'DARTS_V2'``), a JSON file, the work directory of a search, JSON data, an official
            string, or a genotype.
        num_classes (int): Number of classes. Defaults to 10.
        space (str | dict | SearchSpace, optional): Its space. Defaults to the one that it names.
        stem (str): ``'cifar'`` or ``'imagenet'``. Defaults to ``'cifar'``.
        auxiliary (bool): Whether training gives the scores of an auxiliary head too (DARTS's
            networks). Defaults to False.
        **kwargs: Of :class:`DARTSNet` (``channels``, ``num_cells``, ``drop_path``, ...),
            :class:`NASBench201Net` (``channels``, ``cells_per_stage``, ...) or
            :class:`MobileNetLikeNet` (``stem_channels``, ``last_channels``, ...).

    Raises:
        UserError: The genotype cannot be read, or an argument does not fit.
    """
    from rdarts.genotypes import CellGenotype, LayerwiseGenotype, load_genotype
    from rdarts.models.backbones import DARTSNet, MobileNetLikeNet, NASBench201Net
    from rdarts.models.backbones.base_supernet import check_sizes
    from rdarts.models.classifier import Classifier
    from rdarts.models.heads import AuxiliaryHead

    check_sizes(num_classes=num_classes)
    genotype = load_genotype(genotype, space)
    kwargs.update(stem=stem)
    if space is not None:
        kwargs.update(space=space)
    darts = isinstance(genotype, CellGenotype) and set(genotype.nodes) == {'normal', 'reduce'}
    if auxiliary and not darts:
        raise UserError('auxiliary heads are for networks of the DARTS space')
    if darts:
        net = _call(DARTSNet, genotype=genotype, auxiliary=auxiliary, **kwargs)
        head = AuxiliaryHead(net.auxiliary_channels, num_classes, stem) if auxiliary else None
        return Classifier(net, num_classes, head)
    kind = MobileNetLikeNet if isinstance(genotype, LayerwiseGenotype) else NASBench201Net
    return Classifier(_call(kind, genotype=genotype, **kwargs), num_classes)


def build_supernet(space: Space, num_classes: int = 10, **kwargs: Any) -> Classifier:
    """The supernet of a space; ``net.backbone.arch_parameters`` is alpha.

    Args:
        space (str | dict | SearchSpace): ``'nas_bench_201'``, ``'darts'``, ``'s1'`` to ``'s4'``,
            ``'mobilenet_like'``, or a table.
        num_classes (int): Number of classes. Defaults to 10.
        **kwargs: Of :class:`DARTSSupernet`, :class:`NASBench201Supernet` or
            :class:`MobileNetLikeSupernet`.

    Raises:
        UserError: The space is not known, or an argument does not fit.
    """
    from rdarts.models.backbones import (
        DARTSSupernet,
        MobileNetLikeSupernet,
        NASBench201Supernet,
    )
    from rdarts.models.backbones.base_supernet import check_sizes
    from rdarts.models.classifier import Classifier
    from rdarts.search_spaces import build_space

    check_sizes(num_classes=num_classes)
    space = build_space(space)
    kind = NASBench201Supernet
    if set(space.cells) == {'normal', 'reduce'}:
        kind = DARTSSupernet
    elif space.genotype == 'layerwise':
        kind = MobileNetLikeSupernet
    return Classifier(_call(kind, space=space, **kwargs), num_classes)


def _call(kind: type, **kwargs: Any) -> nn.Module:
    reason = misfit(kind, kwargs)
    if reason is not None:
        raise UserError(f'{kind.__name__} {reason}')
    try:
        return kind(**kwargs)
    except TypeError as error:
        raise UserError(f'{error}') from None


@dataclass(frozen=True)
class SearchResult:
    """What :func:`search` found.

    Args:
        genotype (Genotype): The genotype of the last epoch.
        alphas (dict[str, Tensor]): Alpha of each group, [edges, candidates].
        history (list[dict]): One row an epoch: ``epoch``, ``accuracy/top1`` (%, of the supernet on
            the images of alpha), ``entropy`` and what else the search's log holds.
    """

    genotype: Genotype
    alphas: dict[str, Tensor]
    history: list[dict[str, Any]] = field(repr=False)


def search(
    space: Space,
    dataset: Dataset,
    *,
    method: str = 'rdarts',
    epochs: int,
    lambda_: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    work_dir: str | os.PathLike | None = None,
    num_classes: int | None = None,
    batch_size: int = 64,
    **kwargs: Any,
) -> SearchResult:
    """Search a cell on a data set of one's own.

    The configs of ``configs/search`` without a config: half of the images train the weights, half
    alpha; the learning rate falls over ``epochs``. Called again with the same ``work_dir``, a
    search that was stopped goes on.

    Args:
        space (str | dict | SearchSpace): See :func:`build_supernet`.
        dataset (Dataset): Of (image, label): float tensors [C, H, W] of one shape, normalised
            and, where wanted, augmented by the data set; labels are counted from 0, whole numbers
            of any type (3, 3.0, a tensor of one element), anything else is refused.
        method (str): ``'rdarts'``, ``'darts'`` or, of cells, ``'darts_2nd'``. Defaults to
            ``'rdarts'``.
        epochs (int): Number of epochs.
        lambda_ (float, optional): Of BER. Defaults to that of the method's config in this space.
        seed (int): Of everything random. Defaults to 0.
        device (str | torch.device, optional): Defaults to a GPU where there is one.
        work_dir (str | PathLike, optional): Where log, checkpoints and genotypes go. Defaults to a
            temporary folder, which is deleted.
        num_classes (int, optional): Defaults to the number of ``dataset.classes``, else to one
            more than the largest label.
        batch_size (int): Of both parts. Defaults to 64.
        **kwargs: Of the supernet: ``channels``, ``num_cells`` or ``cells_per_stage``, ...

    Returns:
        SearchResult: Genotype, alphas and history.

    Raises:
        UserError: An argument or a sample of the data set does not fit.
    """
    from rdarts.apis.search import run_search
    from rdarts.search_spaces import build_space

    space = build_space(space)
    _check_method(method, space)
    return run_search(
        space,
        dataset,
        method=method,
        epochs=epochs,
        lambda_=lambda_,
        seed=seed,
        device=device,
        work_dir=work_dir,
        num_classes=num_classes,
        batch_size=batch_size,
        supernet=kwargs,
    )


def _check_method(method: str, space: SearchSpace) -> None:
    """Not every method has a config for a layerwise space.

    Raises:
        UserError: This one has none.
    """
    from rdarts.apis.search import METHODS
    from rdarts.configuration.folder import configs_folder

    if space.genotype == 'layerwise' and method in METHODS:
        folder = configs_folder() / 'search'
        known = [m for m in METHODS if (folder / f'{m}_mobilenet_like_c10.py').is_file()]
        if method not in known:
            raise UserError(
                f"the space '{space.name}' is searched by {' or '.join(map(repr, known))}, not by "
                f'{method!r}'
            )
