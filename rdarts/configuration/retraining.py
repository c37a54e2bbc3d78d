"""What comes after a search: the network that it found, trained on the search's own data."""

from __future__ import annotations

import os
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.configuration.as_data import as_data, type_name
from rdarts.configuration.filling import image_side
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.option_values import quoted_value
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import DATASETS
from rdarts.utils.commands import command, shown_path
from rdarts.utils.data_root import resolve_data_root
from rdarts.utils.files import write_atomically

if TYPE_CHECKING:
    from rdarts.search_spaces import SearchSpace

FILE = 'retrain.py'
OWN = 'ImageFolder'  # images of one's own


def retraining_command(
    work_dir: str | os.PathLike[str], space: SearchSpace, images: Mapping[str, Any]
) -> str | None:
    """The command that trains what a search found on the images of the search.

    Args:
        work_dir (str | PathLike): The search's.
        space (SearchSpace): Its space.
        images (dict): What :func:`training_images` gives of its config.

    Returns:
        str | None: Such as ``python tools/train.py work_dirs/mine/retrain.py``; None where no
        config belongs to this space for these images.
    """
    shipped = _config_for(space, images)
    if shipped is None:
        return None
    work_dir, data = Path(work_dir), type_name(images)
    if data == 'Digits' and space.table is not None:  # its images are few: the cell beside others
        return command('analysis/compare_cells.py', work_dir)
    if data == OWN:
        path = work_dir / FILE
        return command('train.py', path) if path.is_file() else None
    options = []
    if isinstance(images.get('data_root'), str):
        options = ['--cfg-options', f'data_root={quoted_value(images["data_root"])}']
    # an installation of a clone reaches its configs by a link
    return command('train.py', shipped.resolve(), '--genotype', work_dir, *options)


def write_retraining(cfg: Any, space: SearchSpace, genotype: Genotype) -> None:
    """Write ``retrain.py``: what a search of images of one's own found, to be trained on them.

    It inherits the config that the space names. There is none where the space names none, or where
    the search's is of a form of its own.

    Args:
        cfg (Config): The search's, with its ``work_dir``.
        space (SearchSpace): Its space.
        genotype (Genotype): What was found.
    """
    images = training_images(cfg)
    shipped = _config_for(space, images)
    if shipped is None or type_name(images) != OWN:
        return
    try:
        text = retraining_config(cfg, shipped, space, genotype)
    except (UserError, KeyError, TypeError, AttributeError):  # a config of one's own form
        return
    write_atomically(Path(cfg.work_dir, FILE), text.encode('utf-8', 'surrogateescape'))


def _config_for(space: SearchSpace, images: Mapping[str, Any]) -> Path | None:
    """The config that a space names for the retraining on these images."""
    name = space.retraining.get(type_name(images))
    if name is None:
        return None
    if name.endswith('.py'):  # one's own
        return Path(name)
    return configs_folder() / 'retrain' / f'{name}.py'


def training_images(cfg: Any) -> Mapping[str, Any]:
    """The training images of a config, without what wraps them; empty where there are none.

    Args:
        cfg (Config | dict): The config; of a data set that is an object, the type is given.
    """
    images = cfg.get('train_dataloader') or {}
    while isinstance(images, Mapping) and 'dataset' in images:
        images = images['dataset']
    return images if isinstance(images, Mapping) else dict(type=as_data(images))


def named(images: Mapping[str, Any]) -> str:
    """Training images as one line names them: ``Digits``, ``ImageFolder in data/mine``."""
    name = type_name(images) if images else 'no images'
    root = images.get('data_root')
    return name if root is None else f'{name} in {shown_path(root)}'


def same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs' training images are of the same data set and folder."""
    return type_name(one) == type_name(other) and _root(one) == _root(other)


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


def retraining_config(cfg: Any, shipped: Path, space: SearchSpace, genotype: Genotype) -> str:
    """A config that trains what a search found on the images of the search.

    It holds the genotype itself and writes beside itself, so that the work directory can be moved.
    Where the folder of the test images is missing, it does not validate.

    Args:
        cfg (Config): The search's, of images in class folders.
        shipped (Path): What it inherits.
        space (SearchSpace): The space of the search.
        genotype (Genotype): What was found.

    Returns:
        str: Its text.
    """
    train = dict(training_images(cfg))
    test = dict(cfg['test_dataloader']['dataset'])
    for images in (train, test):
        root = resolve_data_root(images.get('data_root'), 'image_folder')
        images.update(data_root=os.path.abspath(root), _delete_=True)
    stem = cfg.model.backbone.get('stem', next(iter(space.stems), None))
    workers = {
        key: cfg['train_dataloader'][key]
        for key in ('num_workers', 'persistent_workers')
        if key in cfg['train_dataloader']
    }
    backbone = dict(genotype=dict(genotype.to_dict(), _delete_=True))
    if stem is not None:
        backbone['stem'] = stem  # its networks' default may be another than the config's
    values = dict(
        # what follows from these keys follows other values of them, too
        data_root=train['data_root'],
        image_size=image_side(cfg),
        num_classes=cfg.model.head.num_classes,
        limit=train.get('limit'),
        model=dict(backbone=backbone),
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
    split = str(test.get('split', 'train'))
    if not DATASETS.get(str(test['type'])).has_split(test['data_root'], split):
        lines.append(
            f'# Without a folder {split!a} nothing is validated: delete this where there is '
            'one\nval_dataloader = val_cfg = val_evaluator = None'
        )
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
