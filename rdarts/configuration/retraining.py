"""What comes after a search: the network that it found, trained on the search's own data."""

from __future__ import annotations

import os
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdarts.configuration.filling import image_side
from rdarts.configuration.option_values import quoted_value
from rdarts.datasets.paths import resolve_data_root
from rdarts.engine.checkpoint import write_atomically
from rdarts.errors import UserError
from rdarts.registry import DATASETS
from rdarts.utils.commands import command, shown_path

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
            text = retraining_config(cfg, shipped, genotype)
        except (UserError, KeyError, TypeError, AttributeError):  # a config of one's own form
            return command('analysis/draw_genotype.py', work_dir)
        write_atomically(work_dir / FILE, text.encode('utf-8', 'surrogateescape'))
        return command('train.py', work_dir / FILE)
    options = []
    if images.get('data_root') is not None:
        options = ['--cfg-options', f'data_root={quoted_value(images["data_root"])}']
    return command('train.py', shipped, '--genotype', work_dir, *options)


def training_images(cfg: Any) -> Mapping[str, Any]:
    """The training images of a config, without what wraps them; empty where there are none."""
    images = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while isinstance(images.get('dataset'), Mapping):
        images = images['dataset']
    return images


def named(images: Mapping[str, Any]) -> str:
    """Training images as one line names them: ``Digits``, ``ImageFolder in data/mine``."""
    name = str(images.get('type') or 'no images').removeprefix('rdarts.')
    root = images.get('data_root')
    return name if root is None else f'{name} in {shown_path(root)}'


def same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs' training images are of the same data set and folder."""
    return one.get('type') == other.get('type') and _root(one) == _root(other)


def _root(images: Mapping[str, Any]) -> str | None:
    """The folder of a data set, found as it finds it itself."""
    root = images.get('data_root')
    default = getattr(DATASETS.get(str(images.get('type'))), 'default_folder', None)
    if default is not None:
        try:
            root = resolve_data_root(root, default)
        except UserError:  # it is gone, or elsewhere: then the names are compared
            pass
    return None if root is None else os.path.realpath(root)


def retraining_config(cfg: Any, shipped: Path, genotype: Any) -> str:
    """A config that trains what a search found on the images of the search.

    It holds the genotype itself and writes beside itself, so that the work directory can be moved.

    Args:
        cfg (Config): The search's, of images in class folders.
        shipped (Path): What it inherits.
        genotype (Genotype): What was found.

    Returns:
        str: Its text.
    """
    train = dict(training_images(cfg))
    test = dict(cfg['test_dataloader']['dataset'])
    for images in (train, test):
        root = resolve_data_root(images.get('data_root'), 'image_folder')
        images.update(data_root=os.path.abspath(root), _delete_=True)
    # that of the search, which the supernets of cells and of chains leave out for different ones
    default = 'imagenet' if shipped.stem.startswith('mobilenet_like') else 'cifar'
    stem = cfg.model.backbone.get('stem', default)
    workers = {
        key: cfg['train_dataloader'][key]
        for key in ('num_workers', 'persistent_workers')
        if key in cfg['train_dataloader']
    }
    values = dict(
        # what follows from these keys follows other values of them, too
        data_root=train['data_root'],
        image_size=image_side(cfg),
        num_classes=cfg.model.head.num_classes,
        limit=train.get('limit'),
        model=dict(backbone=dict(genotype=dict(genotype.to_dict(), _delete_=True), stem=stem)),
        data_preprocessor=dict(cfg['data_preprocessor'], _delete_=True),
        train_dataloader=dict(dataset=dict(dataset=train), **workers),
        val_dataloader=dict(dataset=test, **workers),
        test_dataloader=dict(dataset=test, **workers),
    )
    lines = [
        '"""The network that a search found, trained on the images of the search."""',
        f'_base_ = [{_base(shipped)!r}]',
        f'work_dir = {_beside(cfg.work_dir)}',
        *(f'{key} = {pprint.pformat(_plain(value), width=98)}' for key, value in values.items()),
    ]
    return '\n\n'.join(lines) + '\n'


def _base(shipped: Path) -> str:
    """How a config names a shipped one: that of the package, wherever it is installed."""
    parts = shipped.parts
    if '.mim' in parts:
        inner = parts[parts.index('.mim') + 2 :]
        return 'rdarts::' + '/'.join(inner)
    return str(shipped)


def _beside(work_dir: str) -> str:
    """The folder ``retrain`` beside the config, which mmengine fills in, as Python's text."""
    folder = os.path.join(os.path.abspath(work_dir), 'retrain')
    if '"' in folder or '\\' in folder or not folder.isprintable():
        return repr(folder)
    return 'r"{{ fileDirname }}/retrain"'


def _plain(value: Any) -> Any:
    """Plain dicts and lists: a config's print as its own types."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
