"""What keys of different sections of a config have to do with one another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook

from rdarts.configuration.sections import LOADERS, innermost
from rdarts.utils.wording import plural

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
    # what asks trains nothing, and says itself what it needs
    asks = getattr(resolve(cfg.get('runner_type'), 'RUNNERS'), 'asks', False)
    for keys in () if asks else _TOGETHER:
        missing = [key for key in keys if cfg.get(key) is None]
        if missing and len(missing) < len(keys):
            there = next(key for key in keys if key not in missing)
            yield missing[0], f'is missing, which {there} needs: {", ".join(keys)} go together'
    if cfg.get('model') is None and any(cfg.get(keys[1]) is not None for keys in _TOGETHER):
        yield 'model', "is missing: it is a dict with a 'type'"
    model = cfg.get('model') or {}
    if model.get('type') == 'ImageClassifier' and model.get('head') is None:
        yield 'model.head', "is missing, which an ImageClassifier needs: it is a dict with a 'type'"
    inner, outer = model.get('data_preprocessor'), cfg.get('data_preprocessor')
    if inner and outer and inner != outer:
        yield (
            'model.data_preprocessor',
            'takes the place of the other data_preprocessor, which would be ignored: set one of '
            'the two',
        )
    yield from _compile(cfg.get('compile'))
    scale = cfg.get('auto_scale_lr') or {}
    if scale.get('enable') and 'base_batch_size' not in scale:
        yield 'auto_scale_lr.base_batch_size', 'is missing, which auto_scale_lr.enable needs'
    for key in LOADERS:
        if isinstance(cfg.get(key), Mapping):
            yield from _loader(cfg[key], key)
    for path, optimizer in _optimizers(cfg):
        yield from _optimizer(optimizer, path)
    for path, scheduler in _schedulers(cfg):
        yield from _scheduler(scheduler, path)
    yield from _channels(cfg)
    yield from _classes(cfg, resolve)
    yield from _watched(cfg, resolve)
    if cfg.get('train_cfg') is not None:
        yield from _architect(cfg, resolve)


def _compile(given: Any) -> Iterator[tuple[str, str]]:
    backend = given.get('backend') if isinstance(given, Mapping) else None
    if backend is not None:
        import torch._dynamo  # slow

        known = torch._dynamo.list_backends(None)
        if backend not in known:
            yield 'compile.backend', f"must be one of {', '.join(known)}, but is '{backend}'"


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


def _channels(cfg: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the preprocessor gives: mean and deviation are of one channel or of each."""
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    channels = backbone.get('in_channels')
    given = cfg.get('data_preprocessor') or {}
    loss = ((cfg.get('model') or {}).get('head') or {}).get('loss') or {}
    if given.get('to_onehot') and loss.get('type') == 'CrossEntropyLoss':
        if not (loss.get('use_soft') or loss.get('use_sigmoid')):
            yield 'data_preprocessor.to_onehot', 'needs model.head.loss.use_soft=True'
    for key, other in (('mean', 'std'), ('std', 'mean')):
        if given.get(key) is None and given.get(other) is not None:
            yield f'data_preprocessor.{key}', f'is missing: without it {other} would do nothing'
        if isinstance(channels, int) and given.get(key) is not None:
            if len(given[key]) not in (1, channels):
                line = f'must be of 1 or of model.backbone.in_channels, {channels}, but is'
                yield f'data_preprocessor.{key}', f'{line} {list(given[key])}'


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
                        f'is {number}, but {name} ({place}) has {plural(found, "class")}: set it'
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


def _watched(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """When hooks begin, and the metrics that they keep the best checkpoint by, or stop by."""
    hooks = {f'default_hooks.{k}': hook for k, hook in (cfg.get('default_hooks') or {}).items()}
    hooks.update((f'custom_hooks.{i}', h) for i, h in enumerate(cfg.get('custom_hooks') or ()))
    for place, hook in hooks.items():
        target = resolve(hook.get('type'), 'HOOKS') if isinstance(hook, Mapping) else None
        if inspect.isclass(target) and issubclass(target, EMAHook):
            for key, length in (('begin_epoch', 'max_epochs'), ('begin_iter', 'max_iters')):
                most = (cfg.get('train_cfg') or {}).get(length)
                if most is not None and hook.get(key, 0) > most:
                    line = f'must be at most train_cfg.{length}, {most}, but is {hook[key]}'
                    yield f'{place}.{key}', line
        kinds = (CheckpointHook, EarlyStoppingHook)
        if not inspect.isclass(target) or not issubclass(target, kinds):
            continue
        key = 'save_best' if issubclass(target, CheckpointHook) else 'monitor'
        given = hook.get(key)
        names = [given] if isinstance(given, str) else list(given or ())
        metrics = _metrics(cfg, resolve)
        if names and metrics == set():
            yield f'{place}.{key}', 'needs a validation: val_dataloader, val_cfg, val_evaluator'
        for name in names:
            if name == 'auto' and key == 'save_best':
                continue
            if metrics and name not in metrics:
                line = f"is '{name}', but the validation gives {', '.join(sorted(metrics))}"
                yield f'{place}.{key}', line
            elif hook.get('rule') is None and not _has_rule(target, hook, name):
                line = f"is missing, which {key}='{name}' needs: 'greater' or 'less'"
                yield f'{place}.rule', line


def _metrics(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> set[str] | None:
    """The names of what the validation measures; None where they are not known."""
    given = cfg.get('val_evaluator')
    names = set()
    for metric in given if isinstance(given, (list, tuple)) else [given] if given else []:
        target = resolve(metric.get('type'), 'METRICS') if isinstance(metric, Mapping) else None
        if getattr(target, '__name__', None) != 'Accuracy' or metric.get('thrs') is not None:
            return None
        topk = metric.get('topk', 1)
        prefix = metric.get('prefix') or target.default_prefix
        names |= {f'{prefix}/top{k}' for k in ([topk] if isinstance(topk, int) else topk)}
    return names


def _has_rule(target: Any, hook: Mapping[str, Any], name: str) -> bool:
    """Whether mmengine knows if more of a metric is better: it contains one of these words."""
    greater = hook.get('greater_keys') or target._default_greater_keys
    less = hook.get('less_keys') or target._default_less_keys
    return any(word.lower() in name.lower() for word in [*greater, *less])


def _architect(cfg: Mapping[str, Any], resolve: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """An architect takes its data and optimizer from the top of the config, or its own.

    And it moves alpha before the search has ended.
    """
    for name, hook in (cfg.get('default_hooks') or {}).items():
        target = resolve(hook.get('type'), 'HOOKS') if isinstance(hook, Mapping) else None
        if target is None or 'arch_optimizer' not in getattr(target, 'takes_from_config', ()):
            continue
        epochs, rests = cfg['train_cfg'].get('max_epochs'), hook.get('start_epoch', 0)
        if epochs is not None and rests >= epochs:
            yield (
                f'default_hooks.{name}.start_epoch',
                f'must be below train_cfg.max_epochs, {epochs}, but is {rests}: alpha would never '
                'move',
            )
        spec = hook.get('architect')
        kind = spec.get('type') if isinstance(spec, Mapping) else spec
        single_level = kind and getattr(resolve(kind, 'ARCHITECTS'), 'single_level', False)
        for key in target.takes_from_config:
            if key == 'arch_dataloader' and single_level:
                continue  # its hook refuses one
            if hook.get(key) is None and cfg.get(key) is None:
                yield key, f'is missing, which default_hooks.{name} needs'
