"""What keys of different sections of a config have to do with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rdarts.configuration.sections import LOADERS, innermost

# the three keys of each run that mmengine wants together
_TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def relations(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """The path and line of each relation that does not hold.

    Args:
        cfg (dict): A config whose values are each right by themselves.
        resolve (Callable): From a name and a registry's name to the component.
    """
    for keys in _TOGETHER:
        missing = [key for key in keys if cfg.get(key) is None]
        if missing and len(missing) < len(keys):
            there = next(key for key in keys if key not in missing)
            yield missing[0], f'is missing, which {there} needs: {", ".join(keys)} go together'
    for key in LOADERS:
        if isinstance(cfg.get(key), Mapping):
            yield from _loader(cfg[key], key)
    for path, optimizer in _optimizers(cfg):
        yield from _optimizer(optimizer, path)
    for path, scheduler in _schedulers(cfg):
        yield from _scheduler(scheduler, path)
    yield from _classes(cfg, resolve)
    if cfg.get('train_cfg') is not None:
        yield from _architect(cfg, resolve)


def _loader(loader: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if not loader.get('num_workers', 0):
        for key, off in (('persistent_workers', False), ('prefetch_factor', None), ('timeout', 0)):
            if loader.get(key):
                line = f'must be at least 1 with {key}={loader[key]}, but is 0'
                yield f'{path}.num_workers', f'{line}: set {path}.{key}={off}'
    if 'batch_size' not in loader and loader.get('batch_sampler') is None:
        yield f'{path}.batch_size', 'is missing: it is a whole number of at least 1'


def _optimizers(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    wrapper, arch = cfg.get('optim_wrapper') or {}, cfg.get('arch_optimizer')
    if isinstance(wrapper.get('optimizer'), Mapping):
        yield 'optim_wrapper.optimizer', wrapper['optimizer']
    if isinstance(arch, Mapping):
        yield 'arch_optimizer', arch


def _optimizer(optimizer: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if optimizer.get('type') == 'SGD' and optimizer.get('nesterov'):
        if not optimizer.get('momentum') or optimizer.get('dampening'):
            yield f'{path}.nesterov', 'needs a momentum above 0 and no dampening'


def _schedulers(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    given = cfg.get('param_scheduler')
    if isinstance(given, Mapping):
        yield 'param_scheduler', given
    elif isinstance(given, (list, tuple)):
        for index, scheduler in enumerate(given):
            if isinstance(scheduler, Mapping):
                yield f'param_scheduler.{index}', scheduler


def _scheduler(scheduler: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    begin, end = scheduler.get('begin', 0), scheduler.get('end')
    if end is not None and end <= begin:
        yield f'{path}.end', f'must be above begin, which is {begin}, but is {end}'
    steps = list(scheduler.get('milestones') or ())
    if steps != sorted(set(steps)):
        yield f'{path}.milestones', f'must increase, but is {steps}'
    if scheduler.get('convert_to_iter_based') and not scheduler.get('by_epoch', True):
        yield f'{path}.convert_to_iter_based', 'needs by_epoch=True'


def _classes(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """The number of classes of head, preprocessor, data and metrics."""
    model = cfg.get('model') or {}
    path, head = _head(model)
    number = head.get('num_classes')
    if number is None:
        return
    given = (cfg.get('data_preprocessor') or {}).get('num_classes')
    if path == 'model.head' and given is not None and given != number:
        yield (
            'data_preprocessor.num_classes',
            f'is {given}, but {path}.num_classes is {number}: set both to the classes of the data',
        )
    for key in LOADERS:
        loader = cfg.get(key)
        if isinstance(loader, Mapping):
            for place, dataset in innermost(loader.get('dataset'), f'{key}.dataset'):
                found = _number_of_classes(dataset, resolve)
                if found is not None and found != number:
                    name = dataset.get('type')
                    also = ' data_preprocessor.num_classes' if given is not None else ''
                    yield (
                        f'{path}.num_classes',
                        f'is {number}, but {name} ({place}) has {found} classes: set it'
                        + (f' and{also}' if also else '')
                        + f' to {found}',
                    )
    for key in ('val_evaluator', 'test_evaluator'):
        metrics = cfg.get(key)
        many = isinstance(metrics, (list, tuple))
        for index, metric in enumerate(metrics if many else [metrics]):
            topk = metric.get('topk') if isinstance(metric, Mapping) else None
            most = max(topk, default=0) if isinstance(topk, (list, tuple)) else topk
            if most is not None and most > number:
                place = f'{key}.{index}.topk' if many else f'{key}.topk'
                yield (
                    place,
                    f'must be at most the number of classes, {number} ({path}.num_classes), '
                    f'but is {topk}',
                )


def _head(model: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for keys in (('head',), ('bbox_head',), ('roi_head', 'bbox_head')):
        found: Any = model
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and 'num_classes' in found:
            return '.'.join(('model', *keys)), found
    return '', {}


def _number_of_classes(dataset: Mapping[str, Any], resolve: Callable[..., Any]) -> int | None:
    """How many classes a data set has, where that is known without reading it."""
    named = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(named, (list, tuple)):
        return len(named)
    if 'num_classes' in dataset:
        return dataset['num_classes']
    target = resolve(dataset.get('type'), 'DATASETS', dataset.get('_scope_'))
    fixed = getattr(target, 'fixed_classes', None)
    if fixed is None:
        fixed = getattr(target, 'METAINFO', None) or {}
        fixed = len(fixed['classes']) if fixed.get('classes') else None
    return fixed


def _architect(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """An architect takes its data and optimizer from the top of the config, or its own."""
    for name, hook in (cfg.get('default_hooks') or {}).items():
        target = resolve(hook.get('type'), 'HOOKS') if isinstance(hook, Mapping) else None
        if target is None or 'arch_optimizer' not in getattr(target, 'takes_from_config', ()):
            continue
        for key in target.takes_from_config:
            if hook.get(key) is None and cfg.get(key) is None:
                yield key, f'is missing, which default_hooks.{name} needs'
