"""Which searches differ in the factor of BER alone, by all else that their configs set."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rdarts.configuration.as_data import type_name
from rdarts.results.search_run import SearchRun

# What of a config a search does not depend on: where and how it runs and what it says, what is
# measured beside it, and variables of the base configs whose values other keys hold
NO_SETTINGS = frozenset((
    'experiment_name', 'launcher', 'log_level', 'log_processor', 'resume', 'visualizer', 'work_dir',
    *(f'{loop}_{part}' for loop in ('val', 'test') for part in ('cfg', 'dataloader', 'evaluator')),
    'data_root', 'image_cache', 'image_size', 'limit', 'loader', 'num_classes', 'schedule_epochs',
    'search_split', 'test_pipeline', 'train_pipeline', 'train_set', 'warmup_epochs',
))  # fmt: skip
LOADING = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')
WATCHING = frozenset((
    'AlphaStatisticsHook', 'AtomicCheckpointHook', 'ExecutionHook', 'IterTimerHook', 'LoggerHook',
    'ReportHook', 'SearchLogHook', 'SplitRecordHook', 'TabularBenchmarkHook', 'TimeToGoHook',
))  # fmt: skip
STOPPING = ('CollapseHook', 'ConvergenceHook')  # if they are told to
ARCHITECTS = ('ArchitectHook', 'BERArchitectHook')


def of_lambda_alone(runs: Sequence[SearchRun]) -> tuple[list[SearchRun], list[str]]:
    """Runs of one constant lambda each, 0 or more, alike in all but lambda, data set and seed.

    Returns:
        tuple: The runs of those settings of which there are most lambdas, none where no run has
        one lambda; names of the others.
    """
    alike: dict[tuple[str, str, str], list[SearchRun]] = {}
    for run in runs:
        if len(set(run.lambdas)) == 1 and run.lambdas[0] >= 0:
            data, settings = _settings(run)
            alike.setdefault((settings, run.dataset, data), []).append(run)
    # of runs on one data set, only those that use it in the same way
    groups: dict[str, dict[str, list[SearchRun]]] = {}
    for (settings, dataset, _), found in alike.items():
        by_dataset = groups.setdefault(settings, {})
        by_dataset[dataset] = max(by_dataset.get(dataset, []), found, key=_num_lambdas)
    joined = [[r for found in group.values() for r in found] for group in groups.values()]
    chosen = max(joined, key=_num_lambdas, default=[])
    return chosen, list(dict.fromkeys(run.method for run in runs if run not in chosen))


def _num_lambdas(runs: Sequence[SearchRun]) -> int:
    return len({run.lambdas[0] for run in runs})


def _settings(run: SearchRun) -> tuple[str, str]:
    """What a search depends on but for lambda and seed: of its data set, and all else."""
    configs = [phase.cfg.to_dict() for phase in run.phases] or [run.config]
    data, settings = zip(*map(_of_config, configs), strict=True)
    begins = [[*phase.start, sorted(phase.goes_on), phase.branches] for phase in run.phases]
    found = (data, (settings, begins, run.config.get('init')))
    return tuple(json.dumps(part, sort_keys=True, default=repr) for part in found)


def _of_config(whole: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Of the config of a search, or of one of its phases."""
    config = copy.deepcopy({k: v for k, v in whole.items() if k not in NO_SETTINGS})
    config['randomness'] = _less(config.get('randomness'), 'seed')
    config['train_cfg'] = _less(config.get('train_cfg'), 'val_interval', 'val_begin')
    hooks = {name: _of_hook(hook) for name, hook in _less(config.get('default_hooks')).items()}
    config['default_hooks'] = {name: hook for name, hook in hooks.items() if hook}
    custom = config.get('custom_hooks')
    hooks = map(_of_hook, custom if isinstance(custom, list) else [custom])
    config['custom_hooks'] = [hook for hook in hooks if hook]
    model = config['model'] = _less(config.get('model'))
    model['backbone'] = _less(model.get('backbone'), 'execution')
    data = [config.pop('data_preprocessor', None), model.pop('data_preprocessor', None)]
    head = model['head'] = _less(model.get('head'))
    data.append(head.pop('num_classes', None))
    for name in ('train_dataloader', 'arch_dataloader'):
        outer = config[name] = _less(config.get(name), *LOADING)
        while isinstance(outer.get('dataset'), dict) and 'dataset' in outer['dataset']:
            outer = outer['dataset']
        dataset = outer.pop('dataset', None)
        # one that was given as an object has a name by chance
        if isinstance(dataset, dict):
            dataset.pop('image_cache', None)  # the images are the same
        data.append(_less(dataset, 'name') if type_name(dataset) == 'Given' else dataset)
    return data, config


def _less(entry: Any, *keys: str) -> dict[str, Any]:
    """An entry without some of its keys; one that should be an object and is none, as one."""
    if not isinstance(entry, Mapping):
        return {} if entry is None else {'': entry}
    return {key: value for key, value in entry.items() if key not in keys}


def _of_hook(entry: Any) -> dict[str, Any]:
    """What of a hook's entry a search depends on."""
    hook = _less(entry)
    kind = type_name(hook)
    if kind in WATCHING or (kind in STOPPING and not hook.get('stop')):
        return {}
    if kind not in ARCHITECTS:
        return hook
    others = {name: spec for name, spec in _less(hook.get('regularizers'), 'ber').items() if spec}
    own = _less(hook, 'type', 'lambda_', 'signed')
    # configs of earlier versions leave start_epoch to its default
    return {'start_epoch': 0, **own, 'type': 'architect', 'regularizers': others}
