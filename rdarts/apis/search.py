"""A search without a config file, by one call."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.apis.networks import build_supernet
from rdarts.apis.result import SearchResult
from rdarts.configuration.composition import is_config, methods
from rdarts.configuration.folder import configs_folder
from rdarts.errors import UserError, nearest
from rdarts.utils.commands import command
from rdarts.utils.wording import plural

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config
    from torch.utils.data import Dataset

    from rdarts.apis.networks import Space
    from rdarts.datasets.given import GivenDataset
    from rdarts.search_spaces import SearchSpace

OF_ANY = ('relaxation', 'mixed_op', 'execution', 'alpha_std')  # arguments of every supernet


def search(
    space: Space,
    dataset: Dataset | None = None,
    *,
    method: str = 'rdarts',
    epochs: int | None = None,
    evaluator: Any = None,
    budget: int | None = None,
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

    A method that asks (``'local_search'``) trains nothing by itself: it needs neither images nor
    epochs where its evaluator needs none, as a table.

    Args:
        space (str | dict | SearchSpace): See :func:`~rdarts.apis.build_supernet`. The space of a
            name is that of the method's config: some leave ``none`` out of the DARTS space.
        dataset (Dataset, optional): Of (image, label): float tensors [C, H, W] of one shape,
            normalised and, where wanted, augmented by the data set; labels are counted from 0,
            whole numbers of any type (3, 3.0, a tensor of one element), anything else is refused.
            Defaults to the images of the method's config, where nothing is trained.
        method (str): ``'rdarts'``, ``'darts'``, ``'darts_2nd'`` or another one that has an overlay
            in ``configs/_base_/methods``. Defaults to ``'rdarts'``.
        epochs (int, optional): Number of epochs; the config's others, such as those in which alpha
            rests, are in proportion. A method that trains needs it.
        evaluator (str | dict | Evaluator | Callable, optional): What answers a method that asks:
            one of ``EVALUATORS``, an object, or a function from a genotype to a number, the larger
            the better. Defaults to that of the method's config.
        budget (int, optional): Queries of a method that asks. Defaults to that of its config.
        lambda_ (float, optional): Of BER, which any method can have whose alpha learns by a loss.
            Defaults to that of the method's config in this space.
        seed (int): Of everything random. Equal seeds give equal searches where the execution is not
            timed: on a CPU with ``channels`` a multiple of 8, or with ``execution`` set. Defaults
            to 0.
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
        UserError: An argument or a sample of the data set does not fit, or the method takes no
            step of alpha.
    """
    from rdarts.checkpoint.directory import find_checkpoint
    from rdarts.configuration.epochs import scale_epochs
    from rdarts.datasets.given import GivenDataset, give
    from rdarts.engine.phase_record import PhaseRecord
    from rdarts.engine.phases import PhasedSearch
    from rdarts.engine.runner import asks, build_runner
    from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir, set_resume
    from rdarts.genotypes import load_genotype
    from rdarts.models.alpha import find_alpha_owner
    from rdarts.search_spaces import build_space

    by_name, space = isinstance(space, str), build_space(space)
    _path(space, method)
    wanted = dict(epochs=epochs, batch_size=batch_size, budget=budget)
    for name, value in wanted.items():
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f'{name} must be a positive integer, but is {value!r}')
    data = None if dataset is None else GivenDataset(dataset, num_classes)
    if data is not None and len(data) < 2 * batch_size:
        raise UserError(
            f'dataset: only {plural(len(data), "image")} for a batch of {batch_size} of '
            'the weights '
            'and one of alpha: a smaller batch_size'
        )
    name = f'given_{uuid.uuid4().hex[:8]}'
    # of a folder always the same: what a resumed search compares its config with
    objects = f'given_for_{os.path.abspath(work_dir)}' if work_dir else name
    cfg = _config(space, method, objects, data, kwargs, by_name, num_classes)
    _check_trained(cfg, method, data, epochs)
    if epochs is not None:
        scale_epochs(cfg, epochs)
    if epochs and cfg.param_scheduler and not cfg.get('phases'):
        cfg.param_scheduler.update(T_max=epochs, end=epochs)
    for loader in _training_loaders(cfg):
        loader.batch_size = batch_size
    _agree_with_phases(cfg, kwargs)
    answers = _set_queries(cfg, method, objects, evaluator, budget)
    cfg.randomness = dict(seed=seed, deterministic=False)
    if lambda_ is not None:
        cfg.default_hooks.architect.lambda_ = lambda_
    with tempfile.TemporaryDirectory(prefix='rdarts_search_') as temporary:
        folder = Path(work_dir or temporary)
        cfg.work_dir, cfg.experiment_name = str(folder), name
        with lock_work_dir(folder), give(objects, data), answers, _device(device):
            phased = PhasedSearch(cfg) if cfg.get('phases') else None
            began = PhaseRecord.read(folder) if phased else find_checkpoint(folder)
            if phased:
                phased.run(resume=began is not None)
                model = None if asks(phased.runs.phases[-1].cfg) else phased.runs.final().model
            else:
                prepare_work_dir(folder, keep=began is not None)
                if began is not None:
                    set_resume(cfg, True)
                runner = build_runner(cfg)
                runner.train()
                model = runner.model
        alphas = {} if model is None else find_alpha_owner(model).arch_parameters
        return SearchResult(
            genotype=load_genotype(folder / 'genotype.json', space),
            alphas={key: value.detach().cpu().clone() for key, value in alphas.items()},
            history=_history(folder),
        )


@contextmanager
def _device(device: str | torch.device | None) -> Iterator[None]:
    """Within, mmengine's runner uses this device."""
    if device is None:
        yield
        return
    import mmengine.device.utils as mmengine_device
    import torch

    try:
        kind = torch.device(device)
        torch.empty(0, device=kind)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'device {device!r} is not there: {str(error).splitlines()[0]}') from None
    before, mmengine_device.DEVICE = mmengine_device.DEVICE, str(kind)
    try:
        yield
    finally:
        mmengine_device.DEVICE = before


def _path(space: SearchSpace, method: str) -> Path:
    """The config of a method in a space.

    Raises:
        UserError: The method is not known, or the space has none.
    """
    folder = configs_folder() / 'search'
    known = methods(folder)
    if method not in known:
        raise UserError(f"unknown method '{method}': {nearest(str(method), known)}")
    path = folder / f'{method}_{space.config_name}_c10.py'
    if not space.config_name or not is_config(path):
        raise UserError(
            f"the space '{space.name}' declares no config_name of one in configs/search"
        )
    return path


def _config(
    space: SearchSpace,
    method: str,
    name: str,
    data: GivenDataset | None,
    supernet: Mapping[str, Any],
    by_name: bool,
    num_classes: int | None,
) -> Config:
    """The method's config for a space's supernet, on images of one's own.

    Args:
        space (SearchSpace): The space.
        method (str): Its name.
        name (str): Under which the images are given.
        data (GivenDataset | None): The images; None for those of the config.
        supernet (Mapping): Further arguments of the supernet.
        by_name (bool): Whether the config's table is meant, where it is of this space.
        num_classes (int | None): Where no images say it.
    """
    import torch

    from rdarts.configuration.load import load_config
    from rdarts.engine.runner import asks
    from rdarts.search_spaces import build_space
    from rdarts.search_spaces.as_config import to_config

    path = _path(space, method)
    cfg = load_config(path)
    asking = asks(cfg)
    if not asking and not (cfg.get('default_hooks') or {}).get('architect'):
        raise UserError(
            f"the method '{method}' takes no step of alpha, and no lambda_: start it by "
            + command('train.py', path)
        )
    backbone = cfg.model.backbone
    own = build_space(backbone.space)
    if by_name and own.name == space.name:
        space = own
    args = dict(supernet, space=space)
    if data is not None:
        args.update(in_channels=data.shape[0])
        num_classes = data.num_classes
    elif num_classes is None:
        num_classes = cfg.model.head.num_classes
    with torch.device('meta'):
        net = build_supernet(num_classes=num_classes, **args)
    if backbone.type != space.supernet:
        own = dict(type=space.supernet, **{key: backbone[key] for key in OF_ANY if key in backbone})
        cfg.model.backbone = own
        backbone = cfg.model.backbone
    backbone.update(args)
    backbone.space = to_config(space)
    cfg.model.head.update(num_classes=num_classes, in_channels=net.backbone.out_channels)
    if data is None:
        return cfg
    cfg.data_preprocessor = cfg.model.data_preprocessor = dict(
        type='ClsDataPreprocessor', mean=None, std=None, to_rgb=False, num_classes=data.num_classes
    )
    source = dict(type='rdarts.Given', name=name)
    collate = dict(type='default_collate')
    validated = cfg.val_dataloader is not None
    for loader in (*_training_loaders(cfg), *([cfg.val_dataloader] if validated else [])):
        loader.dataset.dataset = source
        loader.update(collate_fn=collate, num_workers=0, persistent_workers=False)
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    if validated:
        cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    if not asking:
        cfg.default_hooks.pop('benchmark', None)  # the table's cells were trained on other images
    return cfg


def _check_trained(cfg: Config, method: str, data: GivenDataset | None, epochs: int | None) -> None:
    """A method that trains needs images and epochs, and no other takes epochs.

    Raises:
        UserError: One is missing, or too much.
    """
    if cfg.get('train_cfg') is None:
        if epochs is not None:
            raise UserError(f"epochs: the method '{method}' trains nothing: leave it out")
        return
    for name, value in dict(dataset=data, epochs=epochs).items():
        if value is None:
            raise UserError(f"{name} is missing: the method '{method}' trains a supernet")


def _set_queries(
    cfg: Config, method: str, name: str, evaluator: Any, budget: int | None
) -> AbstractContextManager[None]:
    """Give what asks in a search its evaluator and budget.

    Returns:
        AbstractContextManager: Within, an evaluator that is an object is found.

    Raises:
        UserError: No part of it asks.
    """
    from rdarts.engine.runner import asks
    from rdarts.sampling.evaluators import Evaluator
    from rdarts.sampling.evaluators.given import Called, give

    parts = [one for one in (*(cfg.get('phases') or ()), cfg) if asks(one)]
    given = {key: one for key, one in dict(evaluator=evaluator, budget=budget).items() if one}
    if given and not parts:
        raise UserError(
            f"{next(iter(given))}: the method '{method}' asks nothing; one that does is "
            "'local_search'"
        )
    if callable(evaluator):
        given.update(evaluator=dict(type='rdarts.GivenEvaluator', name=name))
    for key, one in given.items():
        for part in (*parts, cfg):
            part.pop(key, None)  # a dict would be merged into it
        cfg[key] = one  # phases have it, too
    if not callable(evaluator):
        return nullcontext()
    return give(name, evaluator if isinstance(evaluator, Evaluator) else Called(evaluator))


def _training_loaders(cfg: Config) -> list[dict[str, Any]]:
    """Of the weights, and of alpha where it has one of its own."""
    return [cfg.train_dataloader, *([cfg.arch_dataloader] if cfg.arch_dataloader else [])]


def _agree_with_phases(cfg: Config, supernet: Mapping[str, Any]) -> None:
    """Phases of a method have no batch size of their own here, and keep their own networks.

    Raises:
        UserError: An argument of the supernet is one that they set themselves.
    """
    for phase in cfg.get('phases') or ():
        for key in ('train_dataloader', 'arch_dataloader'):
            (phase.get(key) or {}).pop('batch_size', None)
        own = (phase.get('model') or {}).get('backbone') or {}
        for key in sorted(supernet.keys() & own.keys()):
            raise UserError(
                f'{key}: the phases of this method set it themselves, one of them to {own[key]!r}: '
                'leave it out'
            )


def _history(work_dir: Path) -> list[dict[str, Any]]:
    """Rows of kind ``epoch``, each with the validation after it, and of kind ``query``."""
    from rdarts.results.log import read_search_log

    rows = {row['epoch']: dict(row) for row in read_search_log(work_dir, 'epoch')}
    for row in read_search_log(work_dir, 'val'):
        extra = {k: v for k, v in row.items() if k not in ('schema', 'kind', 'epoch', 'iter')}
        rows.get(row['epoch'], {}).update(extra)
    found = [rows[epoch] for epoch in sorted(rows)]
    found += [dict(row) for row in read_search_log(work_dir, 'query')]
    for row in found:
        for key in ('schema', 'kind'):
            row.pop(key, None)
    return found
