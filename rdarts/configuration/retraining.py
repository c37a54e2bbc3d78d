"""What comes after a search: the network that it found, trained on the search's own data."""

from __future__ import annotations

import os
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdarts.configuration.filling import image_side
from rdarts.engine.checkpoint import write_atomically
from rdarts.errors import UserError
from rdarts.utils.commands import command

FILE = 'retrain.py'
# The shipped configs, by the form of the genotype and the type of the training images
SHIPPED = {
    ('nas_bench_201', 'rdarts.CIFAR10'): 'nb201_c10',
    ('nas_bench_201', 'rdarts.CIFAR100'): 'nb201_c100',
    ('nas_bench_201', 'rdarts.ImageNet16120'): 'nb201_in16',
    ('nas_bench_201', 'rdarts.ImageFolder'): 'nb201_image_folder',
    ('darts', 'rdarts.CIFAR10'): 'darts_c10',
    ('darts', 'rdarts.CIFAR100'): 'darts_c100',
    ('darts', 'rdarts.ImageNetFolder'): 'darts_imagenet',
    ('darts', 'rdarts.ImageFolder'): 'darts_image_folder',
    ('chain', 'rdarts.ImageNetFolder'): 'mobilenet_like_imagenet',
    ('chain', 'rdarts.ImageFolder'): 'mobilenet_like_image_folder',
}


def next_command(cfg: Any, configs: Path, genotype: Any) -> str:
    """The command that follows a search.

    Images of one's own in folders are described in ``retrain.py`` of the work directory, which
    inherits a shipped config.

    Args:
        cfg (Config): The search's.
        configs (Path): The folder of the shipped configs.
        genotype (Genotype): What was found.

    Returns:
        str: Such as ``python tools/train.py work_dirs/mine/retrain.py``; where no config is
        shipped for these images and this space, a drawing of the genotype.
    """
    work_dir = Path(cfg.work_dir)
    images = training_images(cfg)
    if genotype.kind == 'nas_bench_201' and images.get('type') == 'rdarts.Digits':
        return command('analysis/compare_cells.py', work_dir)
    form = genotype.kind
    if form == 'cell' and set(genotype.nodes) == {'normal', 'reduce'}:
        form = 'darts'
    name = SHIPPED.get((form, images.get('type')))
    shipped = configs / 'retrain' / f'{name}.py'
    if name is None or not shipped.is_file():
        return command('analysis/draw_genotype.py', work_dir)
    if images['type'] == 'rdarts.ImageFolder':
        try:
            text = retraining_config(cfg, shipped)
        except (UserError, KeyError, TypeError, AttributeError):  # a config of one's own form
            return command('analysis/draw_genotype.py', work_dir)
        write_atomically(work_dir / FILE, text.encode('utf-8', 'surrogateescape'))
        return command('train.py', work_dir / FILE)
    options = []
    if images.get('data_root') is not None:
        options = ['--cfg-options', f'data_root={images["data_root"]}']
    return command('train.py', shipped, '--genotype', work_dir, *options)


def training_images(cfg: Any) -> Mapping[str, Any]:
    """The training images of a config, without what wraps them; empty where there are none."""
    images = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while isinstance(images.get('dataset'), Mapping):
        images = images['dataset']
    return images


def retraining_config(cfg: Any, shipped: Path) -> str:
    """A config that trains what a search found on the images of the search.

    Args:
        cfg (Config): The search's, of images in class folders.
        shipped (Path): What it inherits.

    Returns:
        str: Its text.
    """
    from rdarts.datasets.paths import resolve_data_root

    work_dir = os.path.abspath(cfg.work_dir)
    train = dict(training_images(cfg))
    test = dict(cfg['test_dataloader']['dataset'])
    for images in (train, test):
        root = resolve_data_root(images.get('data_root'), 'image_folder')
        images.update(data_root=os.path.abspath(root), _delete_=True)
    preprocessor = dict(cfg['data_preprocessor'], _delete_=True)
    genotype = os.path.join(work_dir, 'genotype.json')
    # that of the search, which the supernets of cells and of chains leave out for different ones
    default = 'imagenet' if shipped.stem.startswith('mobilenet_like') else 'cifar'
    stem = cfg.model.backbone.get('stem', default)
    # what follows from these entries follows other values of the keys, too
    keys = dict(
        data_root=train['data_root'],
        image_size=image_side(cfg),
        num_classes=cfg.model.head.num_classes,
        limit=train.get('limit'),
    )
    workers = {
        key: cfg['train_dataloader'][key]
        for key in ('num_workers', 'persistent_workers')
        if key in cfg['train_dataloader']
    }
    values = dict(
        work_dir=os.path.join(work_dir, 'retrain'),
        **keys,
        model=dict(backbone=dict(genotype=genotype, stem=stem)),
        data_preprocessor=preprocessor,
        train_dataloader=dict(dataset=dict(dataset=train), **workers),
        val_dataloader=dict(dataset=test, **workers),
        test_dataloader=dict(dataset=test, **workers),
    )
    lines = [
        '"""The network that a search found, trained on the images of the search."""',
        f'_base_ = [{str(shipped)!r}]',
        *(f'{key} = {pprint.pformat(_plain(value), width=98)}' for key, value in values.items()),
    ]
    return '\n\n'.join(lines) + '\n'


def _plain(value: Any) -> Any:
    """Plain dicts and lists: a config's print as its own types."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
