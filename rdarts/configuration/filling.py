"""Numbers that follow from others: filled in where a config leaves them out.

At the top of a config stand ``data_root``, ``image_size``, ``num_classes``, ``limit`` and
``image_cache``. What follows from them (the folder, the number of images and their cache of each
data set, the sizes of the crops, the classes of head and preprocessing) is filled in here. What a
config writes itself stays, and is checked; widths are in :mod:`rdarts.configuration.widths`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, MODELS, Registry

from rdarts.configuration.notes import add_note
from rdarts.configuration.sections import LOADERS, OF_CLASSIFIERS, innermost
from rdarts.errors import UserError
from rdarts.utils.commands import short_path
from rdarts.utils.data_root import resolve_data_root
from rdarts.utils.signatures import takes
from rdarts.utils.wording import plural

OF_SETS = ('data_root', 'limit', 'image_cache')  # arguments of data sets
KEYS = (*OF_SETS, 'image_size', 'num_classes')


def _sizes(side: int) -> dict[str, dict[str, int]]:
    """Arguments of transforms that follow from the side of the images, in pixels.

    The first of each says whether a config leaves them out. Before a centre crop the short edge is
    8/7 of it, 256 for 224; the padding of a random crop is an eighth, 4 for 32.
    """
    padded = dict(crop_size=side, padding=side // 8)
    return {
        'RandomResizedCrop': dict(scale=side),
        'ResizeEdge': dict(scale=round(side * 8 / 7)),
        'CenterCrop': dict(crop_size=side),
        'RandomCrop': padded,
        'Resize': dict(scale=side),
        'BatchRandomCrop': padded,
        'BatchResize': dict(scale=side),
    }


def fill_in(
    cfg: Config, before: Mapping[str, Any] | None = None, options: Collection[str] = ()
) -> None:
    """Fill in what follows from the keys at the top of a config.

    Args:
        cfg (Config): The config, which is changed.
        before (Mapping, optional): The values of :data:`KEYS` before options were set: entries that
            followed from them follow the new ones. Defaults to none.
        options (Collection[str]): The keys that an option has set. Defaults to none.

    Raises:
        UserError: An option among them would change nothing.
    """
    before = {key: (before or {}).get(key) for key in KEYS}
    options = [key for key in KEYS if key in options]
    changed = {
        **{key: _fill_sets(cfg, key, before, options) for key in OF_SETS},
        'image_size': False,
        'num_classes': False,
    }
    if cfg.get('default_scope') != 'mmdet':
        changed['image_size'] = _fill_sizes(cfg, before, options)
        changed['num_classes'] = _fill_classes(cfg, before, options)
    for key in options:
        if not changed[key] and cfg.get(key) != before[key]:
            raise UserError(f'--cfg-options: {_why_nothing(cfg, key, before[key])}')


def _why_nothing(cfg: Config, key: str, before: Any) -> str:
    names = [f'{name}.dataset' for name in LOADERS if cfg.get(name)]
    nothing = f'{key} would change nothing:'
    kinds = ', '.join(sorted({str(source.get('type')) for source in sources(cfg)}))
    if key in OF_SETS:
        return f'{nothing} the data sets ({kinds}) write their own, or take none'
    if key in OF_CLASSIFIERS and cfg.get('default_scope') == 'mmdet':
        return f'{nothing} detectors write their own'
    if cfg.get(key) is None:
        counted = f'; the classes of {kinds} are not counted' if key == 'num_classes' else ''
        return f'{key} must be a number, such as the {before} of the config, but is None{counted}'
    if key == 'image_size':
        places = ', '.join(names)
        return f'{nothing} the config writes the sizes of its pipelines: set them in {places}'
    places = 'model.head.num_classes and data_preprocessor.num_classes'
    return f'{nothing} the config writes {places}: set those'


# Data sets


def sources(cfg: Config) -> Iterator[ConfigDict]:
    """The innermost data sets of a config's loaders, as dicts that can be changed."""
    loaders = [cfg.get(name) for name in LOADERS]
    hook = (cfg.get('default_hooks') or {}).get('architect') or {}
    loaders.append(hook.get('arch_dataloader') if isinstance(hook, dict) else None)
    for loader in loaders:
        if isinstance(loader, dict):
            yield from (source for _, source in innermost(loader.get('dataset')))


def class_of(cfg: Config, entry: Mapping[str, Any], registry: Registry) -> Any:
    """The class of an entry of a config; None where it is not known."""
    kind = entry.get('type')
    if not isinstance(kind, str):
        return kind
    try:
        with registry.switch_scope_and_registry(cfg.get('default_scope')) as scoped:
            return scoped.get(kind)
    except (ImportError, KeyError, RuntimeError):
        return None


def _is_ours(kind: Any) -> bool:
    bases = inspect.getmro(kind) if inspect.isclass(kind) else ()
    return any(base.__module__.startswith('rdarts.') for base in bases)


def _follows(value: Any, old: Any, given: bool) -> bool:
    """Whether an entry is left out, or was what the key's old value made it."""
    return value is None or (given and old is not None and value == old)


def _fill_sets(cfg: Config, key: str, before: Mapping[str, Any], options: Collection[str]) -> bool:
    value = cfg.get(key)
    if value is None and key not in options:
        return False
    changed = False
    for source in sources(cfg):
        kind = class_of(cfg, source, DATASETS)
        argument = _argument(kind, key)
        if argument and _follows(source.get(argument), before[key], key in options):
            source[argument] = value
            changed = True
    if changed and key == 'data_root' and before[key]:
        _move_annotations(cfg, before[key], value)
    return changed


def _argument(kind: Any, key: str) -> str | None:
    """The argument of a data set that is what a key says; None where it has none."""
    # other packages' join a data_root with further folders
    if _is_ours(kind) and takes(kind, key):
        return key
    if key == 'limit' and inspect.isclass(kind) and issubclass(kind, BaseDataset):
        return 'indices'  # a number of them: the first
    return None


def _move_annotations(cfg: Config, old: str, new: str | None) -> None:
    """The evaluators of detection name a file in the folder of the images."""
    for name in ('val_evaluator', 'test_evaluator'):
        given = cfg.get(name)
        for evaluator in given if isinstance(given, (list, tuple)) else [given]:
            path = evaluator.get('ann_file') if isinstance(evaluator, dict) else None
            if isinstance(path, str) and path.startswith(old) and new:
                evaluator['ann_file'] = os.path.join(new, path[len(old) :].lstrip('/'))


# Sizes


def _fill_sizes(cfg: Config, before: Mapping[str, Any], options: Collection[str]) -> bool:
    side = cfg.get('image_size')
    if side is None:
        return False
    given = 'image_size' in options
    sizes, old = _sizes(side), _sizes(before['image_size'] or side)
    said: dict[str, None] = {}
    for source in sources(cfg):
        pipeline = source.get('pipeline')
        if not isinstance(pipeline, list):
            continue
        native = getattr(class_of(cfg, source, DATASETS), 'image_size', None)
        names = [_plain(step) for step in pipeline]
        resized = any('Resize' in name for name in names)
        if isinstance(native, int) and native != side and not resized:
            if _sizes_left_out(pipeline, sizes, old, given):
                batched = any(name.startswith('Batch') for name in names)
                kind = 'rdarts.BatchResize' if batched else 'Resize'
                pipeline.insert(0, ConfigDict(type=kind))
                source['pipeline'] = pipeline
        for step in pipeline:
            name = _plain(step)
            wanted = sizes.get(name)
            if wanted is None or not _left_out(step, wanted, old[name], given):
                continue
            for argument, value in wanted.items():
                if step.get(argument) in (None, old[name][argument]):
                    step[argument] = value
                    said[f'{name}.{argument} {value}'] = None
    if said:
        add_note(cfg, f'images of {side} x {side}: {", ".join(said)}')
    return bool(said)


def _plain(step: Any) -> str:
    kind = step.get('type') if isinstance(step, dict) else None
    return kind.removeprefix('rdarts.') if isinstance(kind, str) else ''


def _left_out(step: Mapping[str, Any], wanted: Mapping, old: Mapping, given: bool) -> bool:
    first = next(iter(wanted))
    # the other way to size a Resize
    return step.get('scale_factor') is None and _follows(step.get(first), old[first], given)


def _sizes_left_out(pipeline: list, sizes: Mapping, old: Mapping, given: bool) -> bool:
    """Whether no step of a pipeline has a size that somebody has written."""
    steps = [(step, _plain(step)) for step in pipeline]
    return all(
        _left_out(step, sizes[name], old[name], given) for step, name in steps if name in sizes
    )


def image_side(cfg: Config) -> int | None:
    """Pixels of a side of the images that the network is trained on, as the pipeline crops them."""
    for source in sources(cfg):
        for step in reversed(source.get('pipeline') or ()):
            if 'Crop' in _plain(step):
                size = step.get('crop_size', step.get('scale'))
                size = min(size) if isinstance(size, (list, tuple)) and size else size
                if isinstance(size, int):
                    return size
        return cfg.get('image_size')
    return cfg.get('image_size')


# Classes


def _fill_classes(cfg: Config, before: Mapping[str, Any], options: Collection[str]) -> bool:
    head = (cfg.get('model') or {}).get('head')
    preprocessor = cfg.get('data_preprocessor')
    old, given = before['num_classes'], 'num_classes' in options
    places = []
    if isinstance(head, dict) and takes(class_of(cfg, head, MODELS), 'num_classes'):
        places.append(('model.head', head))
    if isinstance(preprocessor, dict) and preprocessor.get('type') in (None, 'ClsDataPreprocessor'):
        places.append(('data_preprocessor', preprocessor))
    open_ = [pair for pair in places if _follows(pair[1].get('num_classes'), old, given)]
    if not open_:
        return False
    value, source = cfg.get('num_classes'), ''
    if value is None:
        written = [pair[1]['num_classes'] for pair in places if pair not in open_]
        value, source = (written[0], '') if written else _count_folders(cfg)
    if value is None:
        if not given or not any(_folders(cfg)):
            return False
        for _, entry in open_:
            entry['num_classes'] = None  # the start says where images were looked for
        return True
    if 'num_classes' in cfg:
        cfg.num_classes = value
        open_ += _sets_of_classes(cfg, old, given)
    for _, entry in open_:
        entry['num_classes'] = value
    add_note(
        cfg,
        f'{plural(value, "class")}{source}: {", ".join(dict.fromkeys(name for name, _ in open_))}',
    )
    return True


def _sets_of_classes(cfg: Config, old: Any, given: bool) -> list[tuple[str, ConfigDict]]:
    """Data sets that keep the first classes, of which more or fewer than by default are wanted."""
    found = []
    for source in sources(cfg):
        kind = class_of(cfg, source, DATASETS)
        if not _is_ours(kind) or not _follows(source.get('num_classes'), old, given):
            continue
        argument = inspect.signature(kind).parameters.get('num_classes')
        if argument is not None and (given or argument.default != cfg.num_classes):
            found.append((source['type'], source))
    return found


def _folders(cfg: Config) -> Iterator[tuple[ConfigDict, Any]]:
    """The data sets whose classes can be counted before they are built, each with its class."""
    for source in sources(cfg):
        kind = class_of(cfg, source, DATASETS)
        if hasattr(kind, 'count_classes'):
            yield source, kind


def _count_folders(cfg: Config) -> tuple[int | None, str]:
    """The classes of an image folder, and where they were counted; None without one."""
    for source, kind in _folders(cfg):
        try:
            resolve_data_root(source.get('data_root'), kind.default_folder)
        except UserError:
            return None, ''
        count, folder = kind.count_classes(source.get('data_root'))
        return count or None, f' (folders in {short_path(folder)})'
    return None, ''


def require_classes(cfg: Config) -> None:
    """The number of classes must be known by now.

    Raises:
        UserError: It is not; the line says what to set, or where images were looked for.
    """
    head = (cfg.get('model') or {}).get('head')
    if not isinstance(head, dict) or head.get('num_classes') is not None:
        return
    if not takes(class_of(cfg, head, MODELS), 'num_classes'):
        return
    reason = ''
    for source in sources(cfg):
        kind = class_of(cfg, source, DATASETS)
        if hasattr(kind, 'default_folder'):
            try:
                resolve_data_root(source.get('data_root'), kind.default_folder)
            except UserError as error:
                reason = f', and cannot be counted: {error}'
            break
    raise UserError(f'num_classes is not set{reason}')
