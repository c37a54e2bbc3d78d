"""A search without a config file: what ``rdarts.apis.search`` does."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmengine.device.utils as mmengine_device
import torch
from mmengine.config import Config
from torch.utils.data import Dataset

from rdarts import apis
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.datasets.given import GivenDataset, give
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir, set_resume
from rdarts.errors import UserError, nearest
from rdarts.genotypes import load_genotype
from rdarts.models.alpha import find_alpha_owner
from rdarts.results.search_run import read_search_log
from rdarts.search_spaces import SearchSpace
from rdarts.search_spaces.as_config import to_config

METHODS = ('rdarts', 'darts', 'darts_2nd')
NAMES = ('darts', 's1', 's2', 's3', 's4', 'mobilenet_like')
SPACES = {'nas_bench_201': 'nb201', **{name: name for name in NAMES}}


@contextmanager
def _device(device: str | torch.device | None) -> Iterator[None]:
    """Within, mmengine's runner uses this device."""
    if device is None:
        yield
        return
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


def run_search(
    space: SearchSpace,
    dataset: Dataset,
    *,
    method: str,
    epochs: int,
    lambda_: float | None,
    seed: int,
    device: str | torch.device | None,
    work_dir: str | os.PathLike | None,
    num_classes: int | None,
    batch_size: int,
    supernet: Mapping[str, Any],
) -> apis.SearchResult:
    """See :func:`rdarts.apis.search`."""
    if method not in METHODS:
        raise UserError(f"unknown method '{method}': {nearest(str(method), METHODS)}")
    if lambda_ is not None and method != 'rdarts':
        raise UserError(f"lambda_ is of the method 'rdarts', not of '{method}'")
    for name, value in dict(epochs=epochs, batch_size=batch_size).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f'{name} must be a positive integer, but is {value!r}')
    data = GivenDataset(dataset, num_classes)
    if len(data) < 2 * batch_size:
        raise UserError(
            f'dataset: {len(data)} images make no batch of {batch_size} for the weights and one '
            'for alpha: a smaller batch_size'
        )
    name = f'given_{uuid.uuid4().hex[:8]}'
    cfg = _config(space, method, name, data, supernet)
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler.update(T_max=epochs, end=epochs)
    cfg.train_dataloader.batch_size = cfg.arch_dataloader.batch_size = batch_size
    cfg.randomness = dict(seed=seed, deterministic=False)
    if lambda_ is not None:
        cfg.default_hooks.architect.lambda_ = lambda_
    with tempfile.TemporaryDirectory(prefix='rdarts_search_') as temporary:
        folder = Path(work_dir or temporary)
        cfg.work_dir, cfg.experiment_name = str(folder), name
        with lock_work_dir(folder), give(name, data), _device(device):
            resumes = find_checkpoint(folder) is not None
            prepare_work_dir(folder, keep=resumes)
            if resumes:
                set_resume(cfg, True)
            runner = build_runner(cfg)
            runner.train()
        alphas = find_alpha_owner(runner.model).arch_parameters
        return apis.SearchResult(
            genotype=load_genotype(folder / 'genotype.json', space),
            alphas={key: value.detach().cpu().clone() for key, value in alphas.items()},
            history=_history(folder),
        )


def _config(
    space: SearchSpace,
    method: str,
    name: str,
    data: GivenDataset,
    supernet: Mapping[str, Any],
) -> Config:
    """The method's config in this space, or in the one of the same form."""
    form = 'nas_bench_201'
    if set(space.cells) == {'normal', 'reduce'}:
        form = 'darts'
    elif space.genotype == 'layerwise':
        form = 'mobilenet_like'
    stem = SPACES.get(space.name, SPACES[form])
    cfg = load_config(configs_folder() / 'search' / f'{method}_{stem}_c10.py')
    backbone = cfg.model.backbone
    args = dict(supernet, in_channels=data.shape[0], space=space)
    with torch.device('meta'):
        net = apis.build_supernet(num_classes=data.num_classes, **args)
    backbone.update(args)
    backbone.space = to_config(space)
    cfg.model.head.update(num_classes=data.num_classes, in_channels=net.backbone.out_channels)
    cfg.data_preprocessor = cfg.model.data_preprocessor = dict(
        type='ClsDataPreprocessor', mean=None, std=None, to_rgb=False, num_classes=data.num_classes
    )
    source = dict(type='rdarts.Given', name=name)
    collate = dict(type='default_collate')
    for loader in (cfg.train_dataloader, cfg.arch_dataloader, cfg.val_dataloader):
        loader.dataset.dataset = source
        loader.update(collate_fn=collate, num_workers=0, persistent_workers=False)
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    cfg.default_hooks.pop('benchmark', None)  # the table's cells were trained on other images
    return cfg


def _history(work_dir: Path) -> list[dict[str, Any]]:
    """Rows of kind ``epoch``, each with the validation after it."""
    rows = {row['epoch']: dict(row) for row in read_search_log(work_dir, 'epoch')}
    for row in read_search_log(work_dir, 'val'):
        extra = {k: v for k, v in row.items() if k not in ('schema', 'kind', 'epoch', 'iter')}
        rows.get(row['epoch'], {}).update(extra)
    for row in rows.values():
        for key in ('schema', 'kind'):
            row.pop(key, None)
    return [rows[epoch] for epoch in sorted(rows)]
